"""What the tests of trainers share: runs within this process, which spares each its imports."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from yangfan.trainers.base import TrainResult, TrainSpec, hyper_parameters
from yangfan.trainers.pipeline import libraries
from yangfan.trainers.pipeline.events import Channel, Stopped
from yangfan.trainers.pipeline.run import Run

Sample = dict[str, Any]

TALKS: list[Sample] = [
    {"turns": [{"prompt": f"Say {n} " + "word " * (n % 5), "responses": [f"yes {n}"]}]}
    for n in range(12)
]
TEXTS: list[Sample] = [{"text": "hello word " * (5 + n)} for n in range(10)]
PAIRS: list[Sample] = [
    {"turns": [{"prompt": f"Say {n}"}], "chosen": f"yes {n}", "rejected": f"no no {n}"}
    for n in range(12)
]
JUDGED: list[Sample] = [
    {"turns": [{"prompt": f"Say {n}"}], "chosen" if n % 2 else "rejected": f"yes {n}"}
    for n in range(12)
]


class Ear(Channel):
    """Hears events in this process, and asks for a stop behind a step."""

    def __init__(self, stop_behind: int | None = None) -> None:  # pyright: ignore[reportMissingSuperCall]
        self.events: list[dict[str, Any]] = []
        self.stop_wanted = False
        self._stop_behind = stop_behind

    def _tell(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if event["event"] == "progress" and event["step"] == self._stop_behind:
            self.stop_wanted = True

    @property
    def losses(self) -> list[float]:
        """Of each logged step."""
        return [event["row"]["loss"] for event in self.events if event["event"] == "progress"]


class Bench:
    """Runs small trainings in a folder."""

    def __init__(self, base: Path, folder: Path) -> None:
        self.base, self.folder = base, folder

    def spec(
        self,
        mode: Any,
        method: Any,
        samples: Sequence[Sample],
        name: str = "run",
        held_out: Sequence[Sample] = (),
        **hyper: Any,
    ) -> TrainSpec:
        """An order of 3 epochs of 3 steps."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        settings = {"epoch": 3, "batch_size": 4, "learning_rate": 5e-3, "checkpoint_interval": 3}
        return TrainSpec(
            mode=mode,
            method=method,
            base=str(self.base),
            base_model="tiny-chat",
            train=_lines(folder / "train.jsonl", samples),
            validation=_lines(folder / "held.jsonl", held_out) if held_out else "",
            hyper_parameters=hyper_parameters({**settings, **hyper}),
            output=str(folder / "out"),
            dtype="float32",
            threads=1,
        )

    def run(self, spec: TrainSpec, ear: Ear | None = None) -> TrainResult:
        """Run it to its end."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries: a trainer's log is theirs
            return Run(spec, ear or Ear()).run()

    def run_stopped(self, spec: TrainSpec, behind: int) -> None:
        """Run it until behind a step, where it writes a checkpoint."""
        with pytest.raises(Stopped):
            self.run(spec, Ear(behind))


def _lines(path: Path, samples: Sequence[Sample]) -> str:
    lines = (json.dumps({"row_id": f"r{n}", "sample": one}) for n, one in enumerate(samples))
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return str(path)


@pytest.fixture
def bench(tiny_chat_folder: Path, tmp_path: Path) -> Generator[Bench]:
    """Runs of the small model, and PyTorch left as it was."""
    if libraries.missing() is not None:
        pytest.skip(str(libraries.missing()))
    torch: Any = importlib.import_module("torch")
    threads = torch.get_num_threads()
    yield Bench(tiny_chat_folder, tmp_path)
    torch.use_deterministic_algorithms(mode=False)
    torch.set_num_threads(threads)
