"""`client.batches`: files of requests that are worked on when the platform has time (v2)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec

from yangfan import errors
from yangfan.client.batches import batch_of, result_of
from yangfan.client.retry import Retry
from yangfan.protocol.v2 import batches as wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.client._async.files import AsyncFiles
    from yangfan.client._async.session import AsyncSession
    from yangfan.client.batches import Batch, BatchResult
    from yangfan.client.call import Call
    from yangfan.protocol.endpoint import Endpoint
    from yangfan.protocol.v2.batches import BatchEndpoint


class AsyncBatches:
    """Batches of the caller's application. They cost less than calls that are answered at once, and wait for all of those."""

    def __init__(self, session: AsyncSession, files: AsyncFiles) -> None:
        """Made by the client."""
        self._session = session
        self._files = files

    async def create(
        self,
        requests: Path | bytes | str,
        *,
        endpoint: BatchEndpoint = "/v2/chat/completions",
        window: str = "24h",
        metadata: Mapping[str, str] | None = None,
    ) -> Batch:
        """Have a file of requests worked on.

        Args:
            requests: JSON lines `{custom_id, method, url, body}`: a file here, what it holds, or the id of one that was sent.
            endpoint: Where every request goes.
            window: Hours (``24h``) or days (``7d``) after which what has no answer is given up.
            metadata: Up to 16 words of one's own.

        Raises:
            Invalid: There is no such file or endpoint.
        """
        if isinstance(requests, Path):
            file_id = (await self._files.upload(requests, "batch")).id
        elif isinstance(requests, bytes):
            file_id = (await self._files.upload(requests, "batch", name="requests.jsonl")).id
        else:
            file_id = requests
        body: dict[str, Any] = {
            "input_file_id": file_id,
            "endpoint": endpoint,
            "completion_window": window,
        }
        if metadata is not None:
            body["metadata"] = dict(metadata)
        call = self._call(wire.CREATE, body=body)
        # Sent once only: a second time would be a second batch.
        return batch_of(await self._session.fetch(replace(call, retry=Retry(0)), wire.Batch))

    async def list(self, *, limit: int = 100) -> tuple[Batch, ...]:
        """Batches, the newest first, at most so many."""
        found: list[Batch] = []
        query = {"limit": str(min(limit, wire.MAX_LISTED))}
        while len(found) < limit:
            page = await self._session.fetch(self._call(wire.LIST, query=query), wire.BatchList)
            found += map(batch_of, page.data)
            if not page.has_more or page.last_id is None:
                break
            query["after"] = page.last_id
        return tuple(found[:limit])

    async def get(self, id: str) -> Batch:
        """A batch as it is now.

        Raises:
            Invalid: There is none of that id.
        """
        return batch_of(await self._session.fetch(self._call(wire.SHOW, id), wire.Batch))

    async def cancel(self, id: str) -> Batch:
        """End it; what has been answered is kept.

        Raises:
            Invalid: There is none of that id, or it has ended otherwise.
        """
        return batch_of(await self._session.fetch(self._call(wire.CANCEL, id), wire.Batch))

    async def wait(
        self, id: str, *, poll_seconds: float = 2.0, timeout_seconds: float | None = None
    ) -> Batch:
        """Wait until it has ended.

        Args:
            id: Of the batch.
            poll_seconds: Between two looks.
            timeout_seconds: How long at most; for ever if None.

        Raises:
            Invalid: There is none of that id.
            DeadlineExceeded: It has not ended in time.
        """
        waited = 0.0
        while not (batch := await self.get(id)).final:
            if timeout_seconds is not None and waited >= timeout_seconds:
                raise errors.DeadlineExceeded(f"batch {id} has not ended after {waited:g} s")
            await self._session.transport.sleep(poll_seconds)
            waited += poll_seconds
        return batch

    async def results(self, id: str) -> tuple[BatchResult, ...]:
        """What became of each request, the answers first; empty while the batch has not ended.

        Raises:
            Invalid: There is none of that id.
        """
        batch = await self.get(id)
        found: list[BatchResult] = []
        for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
            content = await self._files.download(file_id)
            found += [result_of(msgspec.json.decode(line)) for line in content.splitlines()]
        return tuple(found)

    def _call(
        self,
        endpoint: Endpoint[Any, Any],
        id: str = "",
        *,
        query: Mapping[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> Call:
        path = endpoint.path.replace("{batch_id}", quote(id, safe="") or "-")
        if query:
            path += f"?{urlencode(query)}"
        return self._session.inference_call(endpoint, 2, path=path, body=body)
