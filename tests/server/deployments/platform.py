"""Services without a server: a database, and engines that note what they are asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
from tests.server.services.conftest import Scripted, ask

from yangfan.engines.base import Answer, ChatReply, ChatRequest, EngineSpec, Finish, Usage
from yangfan.errors import NotFound
from yangfan.protocol import presets
from yangfan.server.db import Database
from yangfan.server.deployments import Deployments, Placement, Planned
from yangfan.server.deployments.logic import New
from yangfan.server.deployments.store import DeploymentStore
from yangfan.server.models import Plan
from yangfan.server.services import ServicePolicy, Services

if TYPE_CHECKING:
    from yangfan.engines.base import Engine

WAIT_SECONDS = 20.0


class Base(Scripted):
    """Says which adapter answered, and which ones it knows."""

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__()
        self.spec = spec

    async def chat(self, request: ChatRequest) -> ChatReply:
        text = f"{request.adapter} of {','.join(sorted(self.spec.adapters))}"
        return ChatReply((Answer(text, Finish.NATURAL),), Usage())


class Planner:
    """Knows the model ``base`` and any ``base:ADAPTER``."""

    def __init__(self) -> None:
        self.engines: list[Base] = []

    async def plan(self, reference: str, options: Mapping[str, Any]) -> Planned:
        name, _, adapter = reference.partition(":")
        if name != "base":
            raise NotFound("no such model")
        spec = EngineSpec("base", slots=2, options=options)
        if adapter:
            spec = msgspec.structs.replace(spec, adapters={adapter: f"/{adapter}"})
        return Planned(Plan("base", "scripted", spec), reference, adapter=adapter or None)

    def engine(self, plan: Plan, workdir: Path) -> Engine:
        del workdir
        engine = Base(plan.spec)
        self.engines.append(engine)
        return cast("Engine", engine)

    @property
    def running(self) -> list[Base]:
        """Engines that run now."""
        return [engine for engine in self.engines if engine.running]


class Platform:
    """Services without a server."""

    def __init__(self, deployments: Deployments, services: Services, planner: Planner) -> None:
        self.deployments = deployments
        self.services = services
        self.planner = planner

    async def publish(self, reference: str, suffix: str, **more: Any) -> None:
        """Make a service and wait until it serves."""
        await self.deployments.create(New(reference, suffix=suffix, **more))
        await until(lambda: self.services.resolve(suffix).service.ready)

    async def says(self, suffix: str) -> str:
        """What it answers."""
        reply = await self.services.resolve(suffix).service.chat(ask("hi"))
        return reply.answers[0].text


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def without_a_server(
    tmp_path: Path, *, limit_bytes: int | None = None, jobs: Any = None
) -> AsyncGenerator[Platform]:
    """A platform with a new database; everything ends with the block."""
    database = Database(tmp_path / "db")
    await database.migrate()
    services, planner = Services([], presets.load(), {}), Planner()
    deployments = Deployments(
        DeploymentStore(database),
        services,
        planner,
        ServicePolicy(5.0, 64),
        Placement(limit_bytes, lambda: None),
        workdir=lambda name: tmp_path / name,
        jobs=jobs,
    )
    await deployments.start()
    yield Platform(deployments, services, planner)
    await deployments.stop()
    await database.close()
