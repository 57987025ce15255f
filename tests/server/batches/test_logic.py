"""`Batches` on SQLite and on PostgreSQL: every state in both spellings, the room for tasks, what is kept when a job ends badly."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from yangfan.errors import Conflict, TooManyTasks
from yangfan.server.batches import Batches, store, v2
from yangfan.server.batches.logic import MOST_ACTIVE
from yangfan.server.batches.types import Order
from yangfan.server.db import Database
from yangfan.server.files import Files
from yangfan.server.files.store import FileStore
from yangfan.server.files.types import Adopted
from yangfan.server.http.dialects import ENCODERS
from yangfan.server.jobs import Jobs, Leases
from yangfan.server.jobs.types import JobError
from yangfan.worker.works import batch_inference as work

ORDER = Order(endpoint="/v1/chat/completions", window="24h")
TASK = Order(endpoint="/v2/chat/completions", model="echo", name="t")


async def _as_it_is(name: str, *_: object) -> tuple[str, object]:
    return name, None


class Shop:
    """Batches without anybody who works on them: the tests are the workers."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.jobs = Jobs(database, backoff_seconds=0.0)
        self.leases = Leases(database, self.jobs)
        self.files = Files(FileStore(database), folder / "files")
        self.folder = folder / "batches"
        self.batches = Batches(
            database,
            self.jobs,
            self.files,
            self.folder,
            secrets=folder,
            at_once=2,
            named=_as_it_is,
        )

    async def file(self, folder: Path) -> str:
        """A file of one line."""
        path = folder / "line"
        path.write_bytes(b"{}\n")
        async with self.files.adopting() as adopt:
            adopted: Adopted = await adopt(path, "a.jsonl", "batch")
            async with self.database.write() as connection:
                return await self.files.keep(connection, "app", adopted)

    async def claimed(self) -> tuple[str, int]:
        (job,) = await self.leases.claim("me", 1)
        return job.id, job.fence

    async def states(self, id: str) -> tuple[str, str]:
        """As OpenAI's shape shows it and as Qianfan's does."""
        batch, job = await self.batches.get(id, "app")
        return v2._batch(batch, job).status, v2._run_status(batch, job)  # pyright: ignore[reportPrivateUsage]

    async def finished(self, id: str) -> Any:
        (batch,) = [each for each in await self.waiting() if each.id == id]
        await self.batches._finish(batch)  # pyright: ignore[reportPrivateUsage] - what runs in the background, once
        return (await self.batches.get(id, "app"))[0]

    async def waiting(self) -> Any:
        """Those that the finisher would take up."""
        async with self.database.read() as connection:
            return await store.in_states(connection, ("finalizing",))


@pytest.fixture(name="shop")
async def shop_fixture(database_target: Path | str, tmp_path: Path) -> AsyncGenerator[Shop]:
    database = Database(database_target)
    await database.migrate()
    yield Shop(database, tmp_path)
    await database.close()


async def test_states_of_a_batch_that_goes_well(shop: Shop, tmp_path: Path):
    order = Order(endpoint="/v1/chat/completions", input_file_id=await shop.file(tmp_path))
    id = (await shop.batches.create("app", "openai", order)).id
    assert await shop.states(id) == ("validating", "Queuing")
    key = await shop.claimed()
    assert await shop.states(id) == ("validating", "Running")
    await shop.leases.save(*key, 1, {"total": 2, "completed": 1, "output_bytes": 4})
    assert await shop.states(id) == ("in_progress", "Running")
    await shop.jobs.pause((await shop.batches.get(id, "app"))[0].job_id)
    assert await shop.states(id) == ("in_progress", "Stopping")
    await shop.leases.stop(*key)
    assert await shop.states(id) == ("in_progress", "Stopped")
    await shop.batches.resume(id, "app")
    key = await shop.claimed()
    part = shop.folder / id / "output.jsonl"
    part.write_bytes(b"one\ntwo\nthree cut off")
    await shop.leases.finish(*key, {"total": 2, "completed": 2, "output_bytes": 8})
    assert (await shop.states(id))[0] == "finalizing"
    batch = await shop.finished(id)
    assert await shop.states(id) == ("completed", "Done")
    kept = await shop.files.get(batch.outcome.output_file_id, "app")
    assert shop.files.content(kept.sha256).read_bytes() == b"one\ntwo\n"
    assert not part.parent.exists()
    with pytest.raises(Conflict, match="has completed already"):
        await shop.batches.cancel(id, "app")


async def test_batch_whose_job_fails_keeps_what_was_answered(shop: Shop):
    id = (await shop.batches.create("app", "qianfan", TASK)).id
    key = await shop.claimed()
    (shop.folder / id / "output.jsonl").write_bytes(b"one\ntorn")
    await shop.leases.save(*key, 1, {"total": 2, "completed": 1, "output_bytes": 4})
    await shop.leases.fail(*key, JobError("FetchError", "no such bucket"), retryable=False)
    batch = await shop.finished(id)
    assert await shop.states(id) == ("failed", "Failed")
    assert batch.outcome.refused[0].message == "no such bucket"
    kept = await shop.files.get(batch.outcome.output_file_id, "app")
    assert kept.size_bytes == 4


async def test_batch_that_is_cancelled_or_expires(shop: Shop):
    id = (await shop.batches.create("app", "qianfan", TASK)).id
    key = await shop.claimed()
    await shop.leases.start(*key)
    await shop.batches.cancel(id, "app")
    assert await shop.states(id) == ("cancelling", "Stopping")
    await shop.leases.stop(*key)
    await shop.finished(id)
    assert await shop.states(id) == ("cancelled", "Stopped")
    late = (await shop.batches.create("app", "qianfan", TASK)).id
    key = await shop.claimed()
    await shop.leases.finish(*key, {"total": 2, "failed": 2, "expired": True})
    await shop.finished(late)
    assert await shop.states(late) == ("expired", "Stopped")


async def test_only_so_many_wait_at_a_time(shop: Shop):
    made = [await shop.batches.create("app", "qianfan", TASK) for _ in range(MOST_ACTIVE)]
    with pytest.raises(TooManyTasks, match="20 batches wait") as caught:
        await shop.batches.create("app", "qianfan", TASK)
    refusal = ENCODERS["action"](caught.value, "id")
    assert refusal.status == 400
    assert getattr(refusal.body, "code") == "TaskRunningNumberExceedLimit"  # noqa: B009 - any Struct
    assert len(list(shop.folder.iterdir())) == MOST_ACTIVE
    await shop.batches.create("other", "qianfan", TASK)
    await shop.batches.cancel(made[0].id, "app")
    await shop.finished(made[0].id)
    await shop.batches.create("app", "qianfan", TASK)


def test_requests_expire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.nice", int)

    class Stand:
        """A task that is never asked anything."""

        def __init__(self, spec: dict[str, Any]) -> None:
            self.spec, self.state = spec, dict[str, Any]()

        def check(self) -> None: ...
        def progress(self, *_: Any, **__: Any) -> None: ...
        def save(self, state: Any) -> None:
            self.state = dict(state)

    lines = [
        {"custom_id": str(n), "method": "POST", "url": "/v2/embeddings", "body": {"model": "m"}}
        for n in range(3)
    ]
    (tmp_path / "input.jsonl").write_text("\n".join(map(json.dumps, lines)))
    spec = {"form": "openai", "folder": str(tmp_path), "endpoint": "/v2/embeddings"}
    task: Any = Stand({**spec, "expires_ms": 1})
    result = work.run(task)
    assert (result["expired"], result["failed"], result["total"]) == (True, 3, 3)
    errors = [json.loads(line) for line in (tmp_path / "error.jsonl").read_text().splitlines()]
    assert [error["error"]["code"] for error in errors] == ["batch_expired"] * 3
