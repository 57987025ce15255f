"""What a source of models must be able to do.

A source file offers one name:

    def create(uri: ModelURI, workspace: Workspace) -> Source
        makes the source; ConfigurationError if the address is not one of its own. Nothing is fetched yet.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from yangfan.egress import Egress
from yangfan.errors import ConfigurationError
from yangfan.hub.progress import Report
from yangfan.hub.s3 import S3Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from yangfan.hub.uri import ModelURI


class HubSettings(msgspec.Struct, frozen=True):
    """Where the hubs are and how patiently they are asked.

    Attributes:
        hf_endpoint: Base URL of Hugging Face or a mirror such as https://hf-mirror.com.
        hf_token: Access token for private and gated repositories.
        modelscope_endpoint: Base URL of ModelScope.
        retry_seconds: First pause before another try; it doubles with each.
        s3: An S3-compatible store and its keys.
    """

    hf_endpoint: str = "https://huggingface.co"
    hf_token: str | None = None
    modelscope_endpoint: str = "https://www.modelscope.cn"
    retry_seconds: float = 1.0
    s3: S3Settings = S3Settings()

    def __repr__(self) -> str:
        """Show everything but the token."""
        return (
            f"HubSettings(hf_endpoint={self.hf_endpoint!r}, modelscope_endpoint={self.modelscope_endpoint!r}, "
            f"retry_seconds={self.retry_seconds}, s3={self.s3!r})"
        )


class Workspace(msgspec.Struct, frozen=True):
    """What a source may use.

    Attributes:
        egress: Guard for its fetches.
        scratch: An empty folder of its own, removed after the pull.
        settings: Hubs' addresses and tokens.
        report: Told of work that is no file's download.
    """

    egress: Egress
    scratch: Path
    settings: HubSettings
    report: Report


class RemoteFile(msgspec.Struct, frozen=True):
    """A file that a source has.

    Attributes:
        path: Its path there.
        size_bytes: Its size, if the source tells.
        sha256: Checksum of its content, if the source tells.
        version: Whatever else changes with the content, "" if the source tells nothing.
    """

    path: str
    size_bytes: int | None = None
    sha256: str | None = None
    version: str = ""


class Listing(msgspec.Struct, frozen=True):
    """All files of a source, and the commit or version that they belong to ("" if it has none)."""

    files: tuple[RemoteFile, ...]
    revision: str = ""


class Source(Protocol):
    """One model at one source."""

    async def list(self) -> Listing:
        """Find out which files there are. Called once, before any `fetch`.

        Raises:
            SourceUnavailable: The source did not answer, or has no such model (`yangfan.hub.http.Gone`).
            FetchError: It answered nonsense.
        """
        ...

    async def fetch(self, file: RemoteFile, part: Path, progress: Callable[[int], None]) -> None:
        """Bring one file of the listing into `part`, after the bytes that `part` already has or from the start.

        Args:
            file: A file of `list`.
            part: Where to; it may be missing, or hold the beginning of the same file.
            progress: Told how many bytes `part` has.

        Raises:
            SourceUnavailable: Cut short; what came stays in `part`.
            FetchError: What came cannot be the file.
            ConfigurationError: The disk is full.
        """
        ...


def require_repository(uri: ModelURI) -> str:
    """Return the ``organisation/name`` of a hub address.

    Raises:
        ConfigurationError: The path is something else.
    """
    parts = uri.path.split("/")
    plain = all(part and part.strip(".") and not set(part) - _REPOSITORY_LETTERS for part in parts)
    if len(parts) != 2 or not plain:
        raise ConfigurationError(
            f"{str(uri)!r} names no repository: write {uri.scheme}:organisation/name, with #file for one file of it"
        )
    return uri.path


_REPOSITORY_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
