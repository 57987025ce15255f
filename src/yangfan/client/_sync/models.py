# Generated from _async by scripts/unasync.py; edit there.
"""`client.models`: which names there are, and the registry of models: sets, versions, imports, exports, compressions."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec import UNSET

from yangfan import errors
from yangfan.client import models as read
from yangfan.client import replies
from yangfan.protocol.v2 import registry as wire
from yangfan.protocol.v2.models import MODEL, MODELS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from yangfan.client._sync.session import Session
    from yangfan.client.types import (
        JSON,
        Compression,
        Model,
        ModelExport,
        ModelSet,
        ModelVersion,
        WorkProgress,
    )
    from yangfan.protocol.endpoint import Endpoint


class Models:
    """The names that calls may use as `model`, and the registry of models.

    `list` and `get` need what inference needs; every other call is signed: it needs access_key and secret_access_key. A version is meant by
    ``amv-…``, ``SET:VERSION``, ``SET@label``, or the name of a set, which means its newest version that is ready.
    """

    def __init__(self, session: Session) -> None:
        """Made by the client."""
        self._session = session

    def list(self) -> tuple[Model, ...]:
        """All names."""
        call = self._session.inference_call(MODELS, 2)
        reply = self._session.fetch(call, MODELS.reply)
        return tuple(read.name_of(item) for item in reply.data)

    def get(self, name: str) -> Model:
        """One name.

        Raises:
            ModelNotFound: There is no such name.
        """
        path = MODEL.path.replace("{model}", quote(name, safe=""))
        call = self._session.inference_call(MODEL, 2, path=path)
        return read.name_of(self._session.fetch(call, MODEL.reply))

    # Sets

    def create_set(
        self,
        name: str,
        type: wire.SetType = "Text2Text",
        *,
        tags: Sequence[str] = (),
        description: str = "",
    ) -> ModelSet:
        """Make an empty model set.

        Args:
            name: 1 to 64 letters, digits, dots, dashes and underscores.
            type: What its models are for: Text2Text, Text2Image, TextRepresentation, ImageUnderstanding, Industry.
            tags: Words to find it by.
            description: For people, at most 300 characters.

        Raises:
            Conflict: There is a set of that name.
            Invalid: The name is not usable.
        """
        body: JSON = {"modelSetName": name, "modelType": type, "description": description}
        if tags:
            body["labels"] = [*tags]
        made = self._call(wire.CREATE_SET, **body)
        return self.get_set(made.modelSetId)

    def sets(self, *, presets: bool = False) -> tuple[ModelSet, ...]:
        """Every set of the user's, or of the platform, oldest first."""
        if presets:
            pages = self._pages(wire.SYSTEM_SETS, "systemModelSetList")
            return tuple(read.listed_set(item, "PlatformPreset") for item in pages)
        pages = self._pages(wire.CUSTOM_SETS, "customModelSetList")
        return tuple(read.listed_set(item, "UserCreate") for item in pages)

    def get_set(self, name: str) -> ModelSet:
        """A set by its id or name.

        Raises:
            NotFound: There is none.
        """
        return read.shown_set(self._call(wire.SHOW_SET, modelSetId=name))

    def delete_set(self, name: str) -> None:
        """Delete a set with all its versions.

        Raises:
            NotFound: There is none.
            Conflict: A version of it is in use, or is being made.
        """
        self._call(wire.DELETE_SET, modelSetId=name)

    # Versions

    def versions(self, set: str, *, status: str | None = None) -> tuple[ModelVersion, ...]:
        """The versions of a set, oldest first, without what only `version` tells.

        Args:
            set: Its id or name.
            status: Only those that are Ready, Creating or Fail.

        Raises:
            NotFound: There is no such set.
        """
        body: JSON = {"modelSetId": set}
        if status is not None:
            body["status"] = status
        return tuple(map(read.listed_version, self._pages(wire.LIST, "modelList", **body)))

    def version(self, reference: str) -> ModelVersion:
        """A version with everything that is known of it.

        Raises:
            NotFound: There is none.
        """
        return read.shown_version(self._call(wire.SHOW, modelId=reference))

    def describe(self, reference: str, description: str) -> None:
        """Say something else about a version; nothing else of it changes.

        Raises:
            NotFound: There is none.
        """
        self._call(wire.MODIFY, modelId=reference, description=description)

    def delete(self, reference: str) -> None:
        """Delete a version; files that no other version has go with it.

        Raises:
            NotFound: There is none.
            Conflict: A service uses it, a task reads it, or it is being made; the message says which.
        """
        self._call(wire.DELETE, modelId=reference)

    def import_(
        self,
        set: str,
        source: str,
        *,
        application: wire.Application | None = None,
        format: str | None = None,
        revision: str | None = None,
        base: str | None = None,
        description: str = "",
        idempotency_key: str = "",
    ) -> ModelVersion:
        """Begin to import a version; `wait` waits for it.

        Args:
            set: Id or name of the set that gets it.
            source: ``hf:OWNER/NAME``, ``modelscope:OWNER/NAME``, ``https://…``, ``s3:BUCKET/PATH``, ``pypi:…``, what `upload` returned, or an
                absolute path of the server.
            application: What it is for: chat, completion, embedding, reranker, Text-to-Image, Image-to-Text; read from its files by default.
            format: HuggingFace.Transformers, Safetensors or GGUF, where nothing else will do.
            revision: Branch, tag or commit.
            base: The model version that a LoRA adapter changes.
            description: For people, at most 300 characters.
            idempotency_key: A second call with the same key returns what the first one made.

        Raises:
            NotFound: There is no such set or upload.
            Invalid: The source is no address.
        """
        meta: JSON = {"source": source}
        wanted = {"modelApplicationType": application, "modelFormat": format, "revision": revision}
        wanted["baseModel"] = base
        meta.update((name, value) for name, value in wanted.items() if value is not None)
        made = self._call(
            wire.CREATE,
            modelSetId=set,
            sourceType="Import",
            description=description,
            importMeta=meta,
            idempotencyKey=idempotency_key,
        )
        return self.version(made.modelId)

    def publish_trained(
        self,
        set: str,
        task_id: str,
        *,
        step: int | None = None,
        description: str = "",
        format: wire.TrainedFormat | None = None,
        quantization: wire.TrainedQuantization | None = None,
    ) -> ModelVersion:
        """Begin to make what a training task left a version; `wait` waits for it.

        Args:
            set: Id or name of the set that gets it.
            task_id: The task, ``task-…``.
            step: Which checkpoint; the last by default.
            description: For people, at most 300 characters.
            format: gguf (default where the embedded engine can serve it), safetensors, or adapter for what LoRA learnt without its base.
            quantization: Q8_0 or Q4_K_M, to make a gguf smaller.

        Raises:
            NotFound: There is no such set, or no such task that ended well.
        """
        meta: JSON = {"taskId": task_id}
        chosen = {
            "checkpointStep": step,
            "format": format,
            "quantization": quantization,
        }
        meta.update((name, value) for name, value in chosen.items() if value is not None)
        made = self._call(
            wire.CREATE,
            modelSetId=set,
            sourceType="Train",
            description=description,
            trainMeta=meta,
        )
        return self.version(made.modelId)

    def wait(
        self,
        reference: str,
        *,
        progress: Callable[[WorkProgress], None] | None = None,
        poll_seconds: float = read.POLL_SECONDS,
    ) -> ModelVersion:
        """Wait until a version is ready, however long that takes.

        Args:
            reference: The version, best by its id.
            progress: Told how far it is.
            poll_seconds: How often to ask.

        Raises:
            NotFound: There is none.
            Conflict: It could not be made; the message says why.
        """
        while True:
            version = self.version(reference)
            if version.status != "Creating":
                read.require_made(version)
                return version
            if progress is not None and version.progress is not None:
                progress(version.progress)
            self._session.transport.sleep(poll_seconds)

    # Labels

    def set_label(self, set: str, label: str, reference: str) -> None:
        """Have a label, such as ``production``, point to a version of a set; it leaves the one that had it.

        Raises:
            NotFound: There is no such set or version.
            Invalid: The label is not usable, or the version belongs to another set.
            Conflict: The version is not ready.
        """
        self._call(wire.SET_LABEL, modelSetId=set, label=label, modelId=reference)

    def delete_label(self, set: str, label: str) -> None:
        """Forget a label.

        Raises:
            NotFound: There is no such set or label.
        """
        self._call(wire.DELETE_LABEL, modelSetId=set, label=label)

    # Sending files

    def upload(
        self, path: str | Path, *, progress: Callable[[WorkProgress], None] | None = None
    ) -> str:
        """Send a model file, an archive, or everything in a folder; returns the source for `import_`.

        Args:
            path: On this machine.
            progress: Told how many bytes are sent.

        Raises:
            ConfigurationError: There is nothing at that path.
            BodyTooLarge: It is more than the server takes.
        """
        files = _files_below(path)
        total = sum(size for _, _, size in files)
        made: wire.Upload = self._call(wire.CREATE_UPLOAD)
        sent = 0
        for name, file, _ in files:
            with file.open("rb") as opened:
                offset = 0
                while True:
                    piece = opened.read(read.UPLOAD_PIECE_BYTES)
                    if not piece and offset:
                        break
                    offset = self._send(made.uploadId, name, offset, piece)
                    sent += len(piece)
                    if progress is not None:
                        progress(read.WorkProgress(sent, total, "bytes", name))
                    if not piece:
                        break
        return f"upload:{made.uploadId}"

    def get_upload(self, source: str) -> dict[str, int]:
        """Path and bytes of every file of an upload so far.

        Raises:
            NotFound: There is no such upload.
        """
        upload_id = source.removeprefix("upload:")
        found: wire.Upload = self._call(wire.SHOW_UPLOAD, uploadId=upload_id)
        return {file.path: file.sizeBytes for file in found.files}

    def delete_upload(self, source: str) -> None:
        """Throw an upload away.

        Raises:
            NotFound: There is no such upload.
        """
        self._call(wire.DELETE_UPLOAD, uploadId=source.removeprefix("upload:"))

    def send_file(self, source: str, path: str, content: bytes, *, offset: int = 0) -> int:
        """Add to one file of an upload; how many bytes it has now.

        Args:
            source: What `upload` returned.
            path: Of the file within the model, ``config.json``.
            content: What to add.
            offset: How many bytes of the file are there already.

        Raises:
            NotFound: There is no such upload.
            Conflict: The file has another size; the message says which.
        """
        return self._send(source.removeprefix("upload:"), path, offset, content)

    def _send(self, upload_id: str, path: str, offset: int, content: bytes) -> int:
        address = wire.SEND_FILE.path.replace("{upload}", upload_id)
        call = self._session.file_call(
            wire.SEND_FILE, address, content, path=path, offset=str(offset)
        )
        return (self._session.fetch(call, wire.SEND_FILE.reply)).result.sizeBytes

    # Compression

    def compress(
        self,
        reference: str,
        *,
        weight: str = "W4A16C16",
        set: str | None = None,
        name: str = "compression",
        description: str = "",
        idempotency_key: str = "",
    ) -> Compression:
        """Begin to make a smaller version; `wait_compression` waits for it.

        Args:
            reference: The version; it stays.
            weight: INT8-PTQ or W8A16C16 (8 bits a weight), W4A16C16 (4 bits).
            set: Id or name of the set that gets the new one; that of the version by default.
            name: Of the compression.
            description: For people, at most 300 characters.
            idempotency_key: A second call with the same key returns what the first one began.

        Raises:
            NotFound: There is no such version or set.
            Conflict: The version cannot be compressed; the message says why.
            Invalid: The weight is not offered.
        """
        source = self.version(reference)
        task_id = self._call(
            wire.CREATE_COMP,
            name=name,
            sourceModelId=source.id,
            modelSetId=set or source.set_id,
            config={"strategy": "Quantization", "weight": weight},
            description=description,
            idempotencyKey=idempotency_key,
        )
        return self.compression(task_id)

    def compression(self, task_id: str) -> Compression:
        """A compression.

        Raises:
            NotFound: There is none of that id.
        """
        return read.compression(self._call(wire.SHOW_COMP, modelCompTaskId=task_id))

    def compressions(self, reference: str | None = None) -> tuple[Compression, ...]:
        """Every compression of a version, by its id, or of all, oldest first."""
        body: JSON = {} if reference is None else {"sourceModelId": reference}
        pages = self._pages(wire.LIST_COMPS, "modelCompTaskList", **body)
        return tuple(map(read.compression, pages))

    def cancel_compression(self, task_id: str) -> None:
        """Stop a compression.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has ended.
        """
        self._call(wire.CANCEL_COMP, modelCompTaskId=task_id)

    def delete_compression(self, task_id: str) -> None:
        """Forget a compression that has ended; the version that it made stays.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has not ended.
        """
        self._call(wire.DELETE_COMP, modelCompTaskId=task_id)

    def wait_compression(
        self,
        task_id: str,
        *,
        progress: Callable[[WorkProgress], None] | None = None,
        poll_seconds: float = read.POLL_SECONDS,
    ) -> Compression:
        """Wait until a compression has succeeded, however long that takes.

        Raises:
            NotFound: There is none of that id.
            Conflict: It failed or was stopped; the message says why.
        """
        while True:
            task = self.compression(task_id)
            if task.status not in read.UNDER_WAY:
                read.require_done(task.id, task.status, task.error)
                return task
            if progress is not None and task.progress is not None:
                progress(task.progress)
            self._session.transport.sleep(poll_seconds)

    # Export

    def export(self, reference: str, *, form: str = "zip", target: str = "") -> ModelExport:
        """Begin to export a version; `wait_export` waits for it.

        Args:
            reference: The version.
            form: zip, folder or s3.
            target: Name within the server's folder of exports, or ``s3:BUCKET/PATH``; a name of its own by default.

        Raises:
            NotFound: There is no such version.
            Conflict: It is not ready, or belongs to the platform.
        """
        body: JSON = {"modelId": reference, "form": form, "target": target}
        return read.export(self._call(wire.CREATE_EXPORT, **body))

    def last_export(self, reference: str) -> ModelExport:
        """The newest export of a version that did not fail.

        Raises:
            NotFound: There is no such version, or no export.
        """
        return read.export(self._call(wire.SHOW_EXPORT, modelId=reference))

    def wait_export(
        self,
        reference: str,
        *,
        progress: Callable[[WorkProgress], None] | None = None,
        poll_seconds: float = read.POLL_SECONDS,
    ) -> ModelExport:
        """Wait until the newest export of a version is done, however long that takes.

        Raises:
            NotFound: There is none, or it failed; the message says why.
        """
        while True:
            found = self.last_export(reference)
            if found.status not in read.UNDER_WAY:
                return found
            if progress is not None and found.progress is not None:
                progress(found.progress)
            self._session.transport.sleep(poll_seconds)

    def download(
        self,
        export: ModelExport,
        path: str | Path,
        *,
        progress: Callable[[WorkProgress], None] | None = None,
    ) -> Path:
        """Fetch the zip file of an export.

        Args:
            export: One that is done.
            path: File to write.
            progress: Told how many bytes are here.

        Raises:
            BadReply: What came is not what was exported.
            Conflict: The export is no zip file that is done.
        """
        address = wire.DOWNLOAD.path.replace("{task}", export.id)
        request = self._session.file_call(wire.DOWNLOAD, address)
        target = _place(path)
        part = target.with_name(f"{target.name}.part")
        digest, done = hashlib.sha256(), 0
        incoming = self._session.open(request)
        try:
            if incoming.status != 200:
                replies.checked(incoming.read())
            with part.open("wb") as out:
                while chunk := incoming.chunk():
                    out.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    if progress is not None:
                        progress(read.WorkProgress(done, export.size_bytes, "bytes", target.name))
        finally:
            incoming.close()
        if export.sha256 and digest.hexdigest() != export.sha256:
            part.unlink()
            raise errors.BadReply(
                f"{done} bytes came, and they are not what was exported; try again"
            )
        part.replace(target)
        return target

    # What the server can run

    def advanced_conf(
        self, application: wire.Application = "chat", format: str = "HuggingFace.Transformers"
    ) -> JSON:
        """Versions of libraries and engines on the server that can run such a model, as the wire has them."""
        return self._document(
            wire.SYSTEM_CONF, modelApplicationType=application, modelFormat=format
        )

    def custom_conf(self, reference: str) -> JSON:
        """What was said when a version was imported, as the wire has it.

        Raises:
            NotFound: There is none.
        """
        return self._document(wire.CUSTOM_CONF, modelId=reference)

    def system_version(self, reference: str) -> ModelVersion:
        """A version of a model of the platform.

        Raises:
            NotFound: There is none.
        """
        return read.shown_version(self._call(wire.SHOW_SYSTEM, modelId=reference))

    def _call(self, endpoint: Endpoint[Any, Any], **body: Any) -> Any:
        call = self._session.management_call(endpoint, body)
        return (self._session.fetch(call, endpoint.reply)).result

    def _document(self, endpoint: Endpoint[Any, Any], **body: Any) -> JSON:
        answer = self._session.send(self._session.management_call(endpoint, body))
        found: Any = answer.document["result"]
        return found

    def _pages(
        self, endpoint: Endpoint[Any, Any], field: str, **body: Any
    ) -> tuple[Any, ...]:
        """Every item of every page."""
        found: tuple[Any, ...] = ()
        body["maxKeys"] = 100
        while True:
            page = self._call(endpoint, **body)
            found = (*found, *getattr(page, field))
            marker = page.pageInfo.nextMarker
            if not page.pageInfo.isTruncated or marker is UNSET:
                return found
            body["marker"] = marker


def _place(path: str | Path) -> Path:
    return Path(path).expanduser()


def _files_below(path: str | Path) -> list[tuple[str, Path, int]]:
    """Name, place and size of every file to send."""
    root = _place(path)
    if root.is_file():
        return [(root.name, root, root.stat().st_size)]
    files = [file for file in sorted(root.rglob("*")) if file.is_file()]
    names = {file.relative_to(root).as_posix(): file for file in files}
    seen = {name: file for name, file in names.items() if not f"/{name}".count("/.")}
    if not seen:
        raise errors.ConfigurationError(f"there is no file at {root}")
    return [(name, file, file.stat().st_size) for name, file in seen.items()]
