# Generated from _async by scripts/unasync.py; edit there.
"""`client.datasets`: files into datasets and out of them (Yangfan servers)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from yangfan import errors
from yangfan.client import replies
from yangfan.client._sync.models import Models
from yangfan.client.dataset_transfers import export_of, import_of, is_address, place, reading
from yangfan.client.exchange import Request
from yangfan.client.types import WorkProgress
from yangfan.protocol.v2 import dataset_transfers as wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from yangfan.client._sync.session import Session
    from yangfan.client.dataset_transfers import DatasetExport, DatasetImport
    from yangfan.client.types import JSON
    from yangfan.protocol.dataset_files import FileFormat
    from yangfan.protocol.endpoint import Endpoint

POLL_SECONDS = 0.5


class DatasetTransfers:
    """Imports and exports. Every call is signed: the client needs access_key and secret_access_key."""

    _session: Session

    def import_files(  # noqa: PLR0913 -- how a file is to be read is said in many words
        self,
        reference: str,
        *sources: str | Path,
        columns: Mapping[str, str] | None = None,
        format: FileFormat | None = None,
        encoding: str | None = None,
        delimiter: str | None = None,
        sheet: str | None = None,
        whole_files: bool = False,
        wait: bool = True,
        progress: Callable[[WorkProgress], None] | None = None,
    ) -> DatasetImport:
        """Import files into a version: jsonl, json, csv, tsv, xlsx, parquet, txt, and zip archives of them.

        Rows that are not of the version's data format are refused, counted and kept with their line and a reason.

        Args:
            reference: ``ds-…``, ``NAME:VERSION``, or a name for its newest version.
            sources: Files of this machine, which are sent; or ``https://…``, ``s3:bucket/path``, ``bos:/bucket/path``, ``file-…``,
                ``upload:…``, ``file:/path/of/the/server``.
            columns: Which column or key holds a field, by the field: ``{"prompt": "question"}``.
            format: Of files whose names do not say it.
            encoding: Of text files: utf-8, gbk, gb18030, utf-16; found out by default.
            delimiter: Between the fields of a csv file.
            sheet: Of an xlsx file; the first by default.
            whole_files: Whether a txt file is one text, and not one a line.
            wait: Until it has ended; otherwise `get_import` tells how far it is.
            progress: Told how many bytes are sent.

        Raises:
            NotFound: There is no such version or file.
            Conflict: The version is published, or something else changes it now.
            Invalid: A source is none.
        """
        addresses: list[str] = []
        for source in sources:
            if isinstance(source, str) and is_address(source):
                addresses.append(source)
            else:
                addresses.append(Models(self._session).upload(source, progress=progress))
        body: JSON = {"versionId": reference, "files": addresses}
        body |= reading(columns, format, encoding, delimiter, sheet, whole_files=whole_files)
        made: wire.CreatedTransfer = self._ask(wire.CREATE_IMPORT, body)
        found = self.get_import(made.taskId)
        while wait and found.state in {"waiting", "running"}:
            self._session.transport.sleep(POLL_SECONDS)
            found = self.get_import(made.taskId)
        return found

    def get_import(self, task: str) -> DatasetImport:
        """An import as it is now.

        Raises:
            NotFound: There is none of that id.
        """
        return import_of(self._ask(wire.DESCRIBE_IMPORT, {"taskId": task}))

    def export(
        self,
        reference: str,
        *,
        format: FileFormat | None = None,
        archive: bool = True,
        annotations: bool = True,
        bucket: str = "",
        wait: bool = True,
    ) -> DatasetExport:
        """Write the rows of a version to a file on the server.

        Args:
            reference: Which version.
            format: Of the file; JSON lines by default, .txt for texts.
            archive: Whether to pack it as a zip archive; pictures are in archives alone.
            annotations: Whether responses and labels come along.
            bucket: ``s3:bucket/dir/`` or ``bos:/bucket/dir/``, to put the file there as well.
            wait: Until it has ended; otherwise `get_export` tells how far it is.

        Raises:
            NotFound: There is no such version.
            Conflict: It has no rows, or is exported already.
            Invalid: The format does not hold its rows.
        """
        body: JSON = {
            "versionId": reference,
            "storageType": "BOS" if bucket else "sysStorage",
            "archive": archive,
            "withAnnotations": annotations,
        }
        if bucket:
            body["storagePath"] = bucket
        if format is not None:
            body["format"] = format
        made: wire.CreatedTransfer = self._ask(wire.CREATE_EXPORT, body)
        found = self.get_export(made.taskId)
        while wait and found.state in {"waiting", "running"}:
            self._session.transport.sleep(POLL_SECONDS)
            found = self.get_export(made.taskId)
        return found

    def get_export(self, task: str) -> DatasetExport:
        """An export as it is now.

        Raises:
            NotFound: There is none of that id.
        """
        return export_of(self._ask(wire.DESCRIBE_EXPORT, {"taskId": task}))

    def download(
        self,
        what: DatasetExport | DatasetImport,
        path: str | Path,
        *,
        progress: Callable[[WorkProgress], None] | None = None,
    ) -> Path:
        """Fetch the file of an export, or the rows that an import refused.

        Args:
            what: One that has ended.
            path: File to write.
            progress: Told how many bytes are here.

        Raises:
            Conflict: There is no file, or its time is over.
            BadReply: What came is not what was exported.
        """
        url = getattr(what, "url", "") or getattr(what, "refused_url", "")
        if not url:
            raise errors.Conflict(f"{what.id} has no file to download: {what.error or what.state}")
        target = place(path)
        part = target.with_name(f"{target.name}.part")
        digest, done = hashlib.sha256(), 0
        timeout_seconds = self._session.settings.timeout_seconds
        # The address is the key; no other one is sent.
        incoming = self._session.transport.open(
            Request("GET", url), timeout_seconds=timeout_seconds
        )
        try:
            if incoming.status != 200:
                replies.checked(incoming.read())
            with part.open("wb") as out:
                while chunk := incoming.chunk():
                    out.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    if progress is not None:
                        progress(WorkProgress(done, None, "bytes", target.name))
        finally:
            incoming.close()
        wanted = getattr(what, "sha256", "")
        if wanted and digest.hexdigest() != wanted:
            part.unlink()
            raise errors.BadReply(
                f"{done} bytes came, and they are not what was exported; try again"
            )
        part.replace(target)
        return target

    def _ask(self, endpoint: Endpoint[Any, Any], body: JSON) -> Any:
        call = self._session.management_call(endpoint, body)
        return (self._session.fetch(call, endpoint.reply)).result
