"""Tell trackers of experiments how a training goes, where the settings name some: MLflow and Weights & Biases.

MLflow is told over its REST API (https://mlflow.org/docs/latest/api_reference/rest-api.html, 2.0), through the guard of outbound fetches.
Weights & Biases has no such thing to rely on, so its own package is asked; without a key it writes into the run's folder, and `wandb sync`
sends that later. A thread of its own tells them, so none of them slows a run, and one that fails is named in the job's log once and told
nothing more: a run never fails for its tracker. A run that goes on is the same run there, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import quote

import msgspec

from yangfan.errors import FetchError
from yangfan.hub.disk import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from yangfan.hub.access import HubAccess
    from yangfan.trainers.base import MetricRow

FILE = "trackers.json"
"""In a run's folder: which run it is there."""

END_SECONDS = 15.0
"""How long the end of a run waits for the last lines to be told."""

MAX_REPLY_BYTES = 1024 * 1024
TIMEOUT_SECONDS = 30.0
STATES = {"done": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
"""How a run ended, in MLflow's words."""


class About(NamedTuple):
    """What a tracker shows of a run besides its curves: a name, and what was set."""

    name: str
    parameters: Mapping[str, Any]


class Tracker(Protocol):
    """One of them."""

    def begin(self, about: About, known: str) -> str:
        """Open the run: the one that is known, or a new one. Its id."""
        ...

    def tell(self, rows: Sequence[MetricRow]) -> None:
        """Add what was measured."""
        ...

    def end(self, outcome: str) -> None:
        """Close the run: done, failed or stopped."""
        ...


def values_of(row: MetricRow) -> dict[str, float]:
    """Numbers of a line by the names that TensorBoard's events have, too."""
    found = {
        "train/loss": row.loss,
        "train/learning_rate": row.learning_rate,
        "train/grad_norm": row.grad_norm,
        "train/tokens_per_second": row.tokens_per_second,
        "train/epoch": row.epoch,
        "eval/loss": row.eval_loss,
        **{f"train/{name}": value for name, value in row.more.items()},
    }
    return {name: value for name, value in found.items() if value is not None}


class Trackers:
    """All that the settings name; a context manager around a run.

    Args:
        access: What the server lets workers know: addresses, keys, the guard's rules.
        folder: Of the run.
        about: What it is.
        log: Told of a tracker that fails.
    """

    def __init__(
        self, access: HubAccess, folder: Path, about: About, log: Callable[[str], None]
    ) -> None:
        self._folder, self._about, self._log = folder, about, log
        self._left: dict[str, Tracker] = {
            name: _MAKERS[name](access, folder) for name in access.trackers
        }
        self._rows: queue.SimpleQueue[MetricRow | None] = queue.SimpleQueue()
        self._outcome = "failed"
        self._thread = threading.Thread(target=self._run, name="trackers", daemon=True)

    def __enter__(self) -> Self:
        """Open the runs."""
        if self._left:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close them, within a while."""
        if self._thread.ident is not None:
            self._rows.put(None)
            self._thread.join(END_SECONDS)

    def tell(self, row: MetricRow) -> None:
        """Add a line; at once for the caller."""
        if self._thread.ident is not None:
            self._rows.put(row)

    def ends(self, outcome: str) -> None:
        """Say how the run ends: done, failed or stopped."""
        self._outcome = outcome

    def _run(self) -> None:
        path = self._folder / FILE
        known: dict[str, str] = {}
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            known = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        begun: dict[str, str] = {}

        def begin(name: str, tracker: Tracker) -> None:
            begun[name] = tracker.begin(self._about, known.get(name, ""))

        self._each(begin)
        write_atomically(path, msgspec.json.encode({**known, **begun}))
        is_over = False
        while not is_over:
            rows = [self._rows.get()]
            while not self._rows.empty():
                rows.append(self._rows.get())
            is_over = rows[-1] is None
            self._tell([row for row in rows if row is not None])
        self._each(lambda _, tracker: tracker.end(self._outcome))

    def _tell(self, rows: list[MetricRow]) -> None:
        if rows:
            self._each(lambda _, tracker: tracker.tell(rows))

    def _each(self, act: Callable[[str, Tracker], None]) -> None:
        for name, tracker in [*self._left.items()]:
            try:
                act(name, tracker)
            except Exception as error:  # noqa: BLE001 - whatever a tracker does, the run goes on
                del self._left[name]
                text = f"{type(error).__name__}: {error}"[:300]
                self._log(f"the tracker {name} is told nothing more: {text}")


class MLflow:
    """A server of MLflow, over its REST API."""

    def __init__(self, access: HubAccess, folder: Path) -> None:
        """Remember where it is."""
        del folder
        told = access.trackers["mlflow"]
        self._egress = access.egress()
        self._uri = str(told["uri"]).rstrip("/")
        self._experiment = str(told.get("experiment") or "yangfan")
        self._token = told.get("token")
        self._run = ""

    def begin(self, about: About, known: str) -> str:
        """Open the run; parameters are told once."""
        if known:
            self._ask("runs/update", run_id=known, status="RUNNING")
            self._run = known
            return known
        made = self._ask(
            "runs/create",
            experiment_id=self._experiment_id(),
            run_name=about.name,
            start_time=_now_ms(),
        )
        self._run = str(made["run"]["info"]["run_id"])
        parameters = [
            {"key": name, "value": str(value)[:500]} for name, value in about.parameters.items()
        ]
        self._ask("runs/log-batch", run_id=self._run, params=parameters[:100])
        return self._run

    def tell(self, rows: Sequence[MetricRow]) -> None:
        """Add lines, at most 1,000 numbers in a call, as the API has it."""
        metrics = [
            {"key": name, "value": value, "timestamp": row.time_ms or _now_ms(), "step": row.step}
            for row in rows
            for name, value in values_of(row).items()
        ]
        for start in range(0, len(metrics), 1000):
            self._ask("runs/log-batch", run_id=self._run, metrics=metrics[start : start + 1000])

    def end(self, outcome: str) -> None:
        """Close the run."""
        self._ask("runs/update", run_id=self._run, status=STATES[outcome], end_time=_now_ms())

    def _experiment_id(self) -> str:
        with contextlib.suppress(LookupError):
            name = quote(self._experiment)
            found = self._ask(f"experiments/get-by-name?experiment_name={name}")
            return str(found["experiment"]["experiment_id"])
        return str(self._ask("experiments/create", name=self._experiment)["experiment_id"])

    def _ask(self, path: str, **body: Any) -> dict[str, Any]:
        return asyncio.run(self._answer(path, body))

    async def _answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"content-type": "application/json"}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        async with self._egress.open(
            f"{self._uri}/api/2.0/mlflow/{path}",
            max_bytes=MAX_REPLY_BYTES,
            headers=headers,
            method="POST" if body else "GET",
            content=msgspec.json.encode(body) if body else None,
            timeout_seconds=TIMEOUT_SECONDS,
        ) as response:
            text = await response.read()
        if response.status == 404:
            raise LookupError(f"{response.name}: there is no such thing")
        if response.status != 200:
            said = text[:200].decode("utf-8", "replace")
            raise FetchError(f"{response.name} answers {response.status}: {said}")
        return msgspec.json.decode(text, type=dict[str, Any]) if text.strip() else {}


class WeightsAndBiases:
    """Its own package."""

    def __init__(self, access: HubAccess, folder: Path) -> None:
        """Remember where to."""
        self._told, self._folder = access.trackers["wandb"], folder
        self._run: Any = None

    def begin(self, about: About, known: str) -> str:
        """Open the run, on its server if there is a key, in the run's folder otherwise."""
        if importlib.util.find_spec("wandb") is None:
            raise ModuleNotFoundError('pip install "yangfan[wandb]" where the server runs')
        wandb: Any = importlib.import_module("wandb")
        key = self._told.get("api_key")
        if key:
            wandb.login(key=key, relogin=True)
        self._run = wandb.init(
            project=self._told.get("project") or "yangfan",
            entity=self._told.get("entity"),
            name=about.name,
            id=known or None,
            resume="allow" if known else None,
            config=dict(about.parameters),
            dir=str(self._folder),
            mode="online" if key else "offline",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_meta=True,
            ),
        )
        return str(self._run.id)

    def tell(self, rows: Sequence[MetricRow]) -> None:
        """Add lines."""
        for row in rows:
            self._run.log(values_of(row), step=row.step)

    def end(self, outcome: str) -> None:
        """Close the run."""
        self._run.finish(exit_code=0 if outcome == "done" else 1)


_MAKERS: dict[str, Any] = {
    "mlflow": MLflow,
    "wandb": WeightsAndBiases,
}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
