"""What a worker needs to fetch models as the server would: hubs' addresses and secrets, and the rules of the guard.

Jobs are rows that people can read, so no secret is in them. The server writes this file beside its models, readable by its owner
alone, and a worker on the same machine reads it.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

import msgspec

from yangfan.egress import Egress
from yangfan.errors import ConfigurationError
from yangfan.hub.disk import sync
from yangfan.hub.sources.base import HubSettings

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "access.json"


class HubAccess(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds.

    Attributes:
        hubs: Where hubs are, with tokens and keys.
        egress_allow: Private hosts and networks that may be fetched from.
        egress_proxy: Proxy for outbound fetches.
        trackers: Where training runs are told of, by the tracker's name, with keys.
        nodes: Commands that start the parts of training runs on other machines.
        rendezvous: ``host:port`` of this machine, where the processes of such a run meet.
    """

    hubs: HubSettings = HubSettings()
    egress_allow: tuple[str, ...] = ()
    egress_proxy: str | None = None
    trackers: dict[str, dict[str, str]] = {}
    nodes: tuple[str, ...] = ()
    rendezvous: str = ""

    def egress(self) -> Egress:
        """The guard with these rules."""
        return Egress(allow=self.egress_allow, proxy=self.egress_proxy)

    def __repr__(self) -> str:
        """No proxy, whose address may hold a password, and no trackers, which have keys."""
        return f"HubAccess({self.hubs!r}, egress_allow={self.egress_allow!r})"


def save(root: Path, access: HubAccess) -> None:
    """Write the file below the folder of a model store, for its owner alone.

    Raises:
        ConfigurationError: The folder cannot be written.
    """
    new = root / f".{FILE}.{os.getpid()}.new"
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(access))
        sync(new)
        new.replace(root / FILE)
    except OSError as error:
        raise ConfigurationError(f"cannot write {root / FILE}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            new.unlink()


def load(root: Path) -> HubAccess:
    """Read it; what a plain installation has where there is none.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        return msgspec.json.decode((root / FILE).read_bytes(), type=HubAccess)
    except FileNotFoundError:
        return HubAccess()
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(
            f"{root / FILE} cannot be read; start the server once to write it again"
        ) from error
