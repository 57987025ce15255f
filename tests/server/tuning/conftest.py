"""Tuning on a real database, with a model that is here and datasets that the test makes up; the test is the worker."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.server.models.conftest import Shop, shop
from tests.small_models import llama_folder

from yangfan.errors import NotFound
from yangfan.server.http import Call, Download, Principal, Reply, Route, Stream
from yangfan.server.jobs import Job, JobError, Jobs, Leases, Progress
from yangfan.server.models import Version
from yangfan.server.models.types import Facts
from yangfan.server.tuning import Folders, TrainingData, Tuning, v1, v2
from yangfan.server.tuning.store import TuningStore

__all__ = ["shop"]

TRAINERS = ("sft", "post_pretrain", "dpo", "kto", "reward", "grpo", "text_to_image")
CONTEXT_TOKENS = 256


@dataclass
class Gym:
    """Tuning whose runs are done by the test."""

    shop: Shop
    tuning: Tuning
    jobs: Jobs
    leases: Leases
    data: dict[str, TrainingData] = field(default_factory=dict[str, TrainingData])
    lacking: str | None = None

    async def add_model(
        self, name: str = "mine", *, kind: str = "chat", form: str = "safetensors"
    ) -> Version:
        """A version that can be trained, as an import leaves it."""
        folder = llama_folder(self.shop.files.root / "made")
        content = {path.name: path.read_bytes() for path in folder.iterdir()}
        version = await self.shop.add(name, content)
        async with self.shop.registry.store.write() as connection:
            facts = Facts(architecture="LlamaForCausalLM", context_tokens=CONTEXT_TOKENS)
            await self.shop.registry.store.change_version(
                connection, version.number, format=form, kind=kind, application="chat", facts=facts
            )
        return await self.shop.registry.version(version.id)

    def add_data(self, name: str = "ds-1", **more: Any) -> None:
        """A dataset version."""
        values: dict[str, Any] = {
            "id": name,
            "name": f"faq:{len(self.data) + 1}",
            "data_format": "PromptResponse",
            "is_published": True,
            "rows": 3,
            "manifest": {"shards": []},
        }
        self.data[name] = TrainingData(**{**values, **more})

    async def act(self, action: str, **body: Any) -> Any:
        """The result of an Action, as the wire has it."""
        for route in v2.routes(self.tuning):
            if route.endpoint.action == action:
                return (await self._ask(route, body))["result"]
        raise AssertionError(action)

    async def v1(self, path: str, **body: Any) -> Any:
        """The result of a v1 call."""
        for route in v1.routes(self.tuning):
            if route.endpoint.path.endswith(f"/{path}"):
                return (await self._ask(route, body))["result"]
        raise AssertionError(path)

    async def events(self, task_id: str) -> AsyncGenerator[Any]:
        """What a watcher of a run is told."""
        route = next(
            route
            for route in v2.routes(self.tuning)
            if route.endpoint.action == "WatchFineTuningTask"
        )
        reply = await route.handler(self._call(route, {"taskId": task_id}))
        assert isinstance(reply, Stream)
        async for event in reply.events:
            yield msgspec.to_builtins(event)["task"]

    async def report(self, task_id: str) -> Download:
        """The report of a run."""
        route = next(route for route in v2.routes(self.tuning) if route.endpoint.method == "GET")
        call = self._call(route, None, {"task": task_id})
        found = await route.handler(call)
        assert isinstance(found, Download)
        return found

    async def _ask(self, route: Route, body: dict[str, Any]) -> Any:
        reply = await route.handler(self._call(route, body))
        assert isinstance(reply, Reply)
        # What the listener writes, and what a client reads of it.
        written = msgspec.json.encode(reply.body)
        msgspec.json.decode(written, type=route.endpoint.reply)
        return msgspec.json.decode(written)

    def _call(
        self, route: Route, body: dict[str, Any] | None, params: dict[str, str] | None = None
    ) -> Call[Any]:
        request = None if body is None else msgspec.convert(body, route.endpoint.request)
        scope = {"headers": [(b"host", b"here:8000")], "scheme": "http", "query_string": b""}
        meter: Any = SimpleNamespace()
        return Call(
            scope, request, Principal("k", "app-1", "signature"), params or {}, "r-1", meter
        )

    async def begin(
        self, *, hyper: dict[str, Any] | None = None, mode: str = "SFT", **more: Any
    ) -> str:
        """Make a job and a run of it; the run's id. The model and the data are there by then."""
        job = await self.act("CreateFineTuningJob", name="n", model="mine", trainMode=mode)
        wanted: dict[str, Any] = {
            "jobId": job["jobId"],
            "parameterScale": "LoRA",
            "hyperParameterConfig": hyper or {},
            "datasetConfig": {
                "sourceType": "Platform",
                "versions": [{"versionId": "ds-1"}],
                "splitRatio": 20,
            },
        }
        return (await self.act("CreateFineTuningTask", **{**wanted, **more}))["taskId"]

    async def show(self, task_id: str) -> Any:
        """A run."""
        return await self.act("DescribeFineTuningTask", taskId=task_id)

    # The worker's part

    async def claim(self) -> Job:
        """Be the worker that takes the next job."""
        (job,) = await self.leases.claim("here", 1)
        await self.leases.start(job.id, job.fence)
        return job

    async def progress(self, job: Job, step: int, steps: int, **row: Any) -> None:
        """Tell how far it is."""
        note = msgspec.json.encode({"step": step, "epoch": 1.0, **row}).decode()
        await self.leases.beat(job.id, job.fence, Progress(step, steps, "step", note), [])

    def checkpoint(self, task_id: str, step: int, loss: float) -> None:
        """Leave a checkpoint, as trainers do."""
        folder = self.tuning.output(task_id) / "checkpoints" / f"step-{step:08}"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(f'{{"step": {step}, "loss": {loss}, "files": []}}')

    async def finish(self, job: Job, steps: int = 10) -> None:
        """Be the worker whose run is done."""
        result = {
            "checkpoints": [],
            "final": str(self.tuning.output(job.subject) / "final"),
            "method": "lora",
            "metrics": [
                {"step": 5, "epoch": 1.0, "loss": 2.0},
                {"step": steps, "epoch": 2.0, "loss": 1.5},
            ],
            "scores": {"bleu_4": 0.1656, "rouge_1": 0.5, "rouge_2": 0.25, "rouge_l": 1.0},
            "facts": {"steps": steps},
        }
        await self.leases.finish(job.id, job.fence, result)

    async def fail(self, job: Job, message: str) -> None:
        """Be the worker whose run failed for good."""
        await self.leases.fail(job.id, job.fence, JobError("Diverged", message), retryable=False)


@pytest.fixture
def database_target(tmp_path: Path) -> Path:
    """One database is enough here: what is kept is plain rows."""
    return tmp_path / "yangfan.db"


@pytest.fixture
async def gym(shop: Shop, tmp_path: Path) -> Gym:
    """Tuning with nothing to tune yet."""
    jobs = Jobs(shop.database, backoff_seconds=0.0)
    data: dict[str, TrainingData] = {}

    async def data_of(reference: str) -> TrainingData:
        if reference not in data:
            raise NotFound(f"there is no dataset version {reference!r}")
        return data[reference]

    tuning = Tuning(
        TuningStore(shop.database),
        jobs,
        shop.registry,
        Folders(tmp_path / "tuning", tmp_path / "blobs"),
        data_of=data_of,
        machines=2,
        missing=lambda: made.lacking,
        trainers=TRAINERS,
    )
    made = Gym(shop, tuning, jobs, Leases(shop.database, jobs), data)
    return made


@pytest.fixture
async def ready(gym: Gym) -> Gym:
    """Tuning with a model and a dataset."""
    await gym.add_model()
    gym.add_data()
    return gym
