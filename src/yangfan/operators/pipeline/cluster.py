"""A chain's operators on a Ray cluster: batches go there as tasks, and their answers come back in order.

What is done to a batch is what `hands` has processes of this machine do, byte for byte; reading, deciding about duplicates and writing
stay in one process here. A task is a batch and not a whole shard, so that a run keeps its place inside of a shard, a node that dies costs
a second of work (Ray gives its batches to another), and nodes need no disk in common. Every node needs Yangfan of this version with the
extras `data` and `ray`; operators that are one file are sent along.
"""

# Ray has no types of its own that are strict enough: everything unknown to the checker stays in here.
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import tempfile
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import ConfigurationError, OperatorFailed, YangfanError
from yangfan.operators import base
from yangfan.operators.pipeline import frames, trace
from yangfan.operators.pipeline.hands import AHEAD, answered, asked, unpacked
from yangfan.operators.pipeline.recipe import Recipe
from yangfan.operators.pipeline.steps import operators_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from yangfan.operators.pipeline.rows import Batch


class Order(msgspec.Struct, frozen=True):
    """What every task is told.

    Attributes:
        version: Of Yangfan, here.
        recipe: What to do.
        files: Sources of the operators that are one file, by name.
    """

    version: str
    recipe: Recipe
    files: dict[str, str] = {}


class Cluster:
    """Tasks on a cluster; stands where `Hands` stands.

    Args:
        recipe: What to do.
        operators: Folder of operators that are one file.
        address: Where the cluster is: ``HOST:PORT``, ``ray://HOST:PORT``, or auto for the one that this machine belongs to.

    Raises:
        ConfigurationError: Ray is not installed, or there is no cluster.
    """

    def __init__(self, recipe: Recipe, operators: Path | None, address: str) -> None:
        try:
            self._ray: Any = importlib.import_module("ray")
        except ImportError:
            raise ConfigurationError('a cluster needs Ray: pip install "yangfan[ray]"') from None
        self._mine = not self._ray.is_initialized()
        if self._mine:
            try:
                self._ray.init(
                    address=address,
                    log_to_driver=False,
                    logging_level="error",
                )
            except (ConnectionError, OSError, ValueError, RuntimeError) as error:
                raise ConfigurationError(
                    f"there is no Ray cluster at {address}: {str(error).splitlines()[0]}"
                ) from None
        order = Order(_version(), recipe, _sources(recipe, operators))
        # Once for all tasks: what is put is sent to each node once.
        self._order = self._ray.put(msgspec.msgpack.encode(order))
        self._task = self._ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(work)
        self._at_once = AHEAD * max(int(self._ray.cluster_resources().get("CPU", 1)), 1)
        self._ahead: deque[tuple[Batch, Any]] = deque()

    def over(self, batches: Iterable[Batch], group: int) -> Iterator[tuple[Batch, trace.Trace]]:
        """Every batch and what became of it, in order; a few are worked on ahead.

        Raises:
            OperatorFailed: A task failed, or the cluster has gone.
        """
        for batch in batches:
            question = msgspec.msgpack.encode(asked(batch))
            self._ahead.append((batch, self._task.remote(self._order, question)))
            if len(self._ahead) >= self._at_once + group:
                yield self._next()
        while self._ahead:
            yield self._next()

    def close(self) -> None:
        """Let go of what is still worked on, and of the cluster."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            for _, answer in self._ahead:
                self._ray.cancel(answer, force=False)
        self._ahead.clear()
        if self._mine:
            self._ray.shutdown()

    def _next(self) -> tuple[Batch, trace.Trace]:
        batch, running = self._ahead.popleft()
        try:
            said = self._ray.get(running)
        except self._ray.exceptions.RayError as error:
            raise OperatorFailed(
                f"the cluster failed: {str(error).strip().splitlines()[-1]};"
                " the same call goes on from the last saved place"
            ) from None
        answer = msgspec.msgpack.decode(said, type=frames.Answer)
        if answer.error:
            raise OperatorFailed(answer.error)
        assert answer.traced is not None
        return batch, unpacked(answer.traced, batch)


def work(order: bytes, question: bytes) -> bytes:
    """A task: what becomes of a batch."""
    try:
        steps, language = _begun(order)
        ask = msgspec.msgpack.decode(question, type=frames.Ask)
        answer = answered(ask, steps, language)
    except YangfanError as error:
        answer = frames.Answer(error=error.message)
    return msgspec.msgpack.encode(answer)


@functools.lru_cache(maxsize=1)
def _begun(order: bytes) -> tuple[list[trace.Step], str]:
    """The operators of an order; a process of the cluster makes them once and works on many batches."""
    told = msgspec.msgpack.decode(order, type=Order)
    if told.version != _version():
        raise ConfigurationError(
            f"a node of the cluster has Yangfan {_version()}, this is {told.version}; install the same on all"
        )
    folder = None
    if told.files:
        folder = Path(tempfile.mkdtemp(prefix="yangfan-operators-"))
        for name, source in told.files.items():
            (folder / f"{name}.py").write_text(source, "utf-8")
    steps = [(stage, operator) for _, stage, operator in operators_of(told.recipe, None, folder)]
    return steps, told.recipe.language


def _version() -> str:
    return importlib.metadata.version("yangfan")


def _sources(recipe: Recipe, operators: Path | None) -> dict[str, str]:
    """The files of operators that a recipe names."""
    found: dict[str, str] = {}
    for _, step in recipe.steps():
        place = base.foreign(step.name, operators)
        if place is not None and place.file is not None:
            found[step.name] = place.file.read_text("utf-8")
    return found
