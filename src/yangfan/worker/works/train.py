"""Train a model: the work behind `CreateFineTuningTask` (specification D.6).

Spec: `yangfan.trainers.base.TrainOrder`. Result: `TrainResult`. What is saved as a checkpoint names the trainer's own, which lies in the
order's output folder: another attempt looks there for the newest one that is whole, whatever was saved. The note of the progress is the
last line of metrics as JSON. A job that is cancelled or paused writes a checkpoint first, and so does a worker that gets SIGTERM. A run on
several machines has one worker, on the first: it starts the others' parts (`yangfan.worker.nodes`).
"""

from __future__ import annotations

import contextlib
import random
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan import errors
from yangfan.datasets import formats
from yangfan.datasets.shards import read_rows
from yangfan.errors import ConfigurationError, EngineFailed, Invalid, YangfanError
from yangfan.hub import access
from yangfan.hub.disk import full_disk_said_clearly
from yangfan.scorers import base as scorers
from yangfan.trainers.base import (
    MetricRow,
    Reward,
    TrainOrder,
    TrainResult,
    TrainSpec,
    hyper_parameters,
)
from yangfan.trainers.pipeline import answers, libraries, metrics, report
from yangfan.trainers.pipeline.base_folder import lay_out
from yangfan.trainers.pipeline.launch import Machines, Trainer
from yangfan.worker import sources
from yangfan.worker.nodes import LOCK as NODES_LOCK
from yangfan.worker.nodes import Nodes
from yangfan.worker.task import Stopped
from yangfan.worker.trackers import About, Trackers

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from yangfan.datasets.shards import BlobFolder
    from yangfan.trainers.base import RewardModel, Source
    from yangfan.worker.task import Task

STOP_SECONDS = 15.0
"""How long a trainer may take to write its last checkpoint; the server waits a little longer for the worker."""

POLL_SECONDS = 0.2
SAVED_ROWS = 200
"""Most lines of metrics that are saved with a checkpoint."""

SCORES: dict[str, tuple[str, dict[str, str]]] = {
    "bleu_4": ("bleu_4", {}),
    "rouge_1": ("rouge", {"variant": "1"}),
    "rouge_2": ("rouge", {"variant": "2"}),
    "rouge_l": ("rouge", {"variant": "l"}),
}
"""What is told of held-out answers, and the scorer of each."""


class Interrupted(SystemExit):
    """SIGTERM came; the job goes on elsewhere or later."""


def run(task: Task) -> dict[str, Any]:
    """Train.

    Raises:
        Invalid: The order is not of this kind, a hyper-parameter is not allowed, or a row cannot be learnt from.
        ConfigurationError: The base cannot be trained, or memory, disk or the loss gave out; the message says which.
        EngineFailed: The trainer was killed; another attempt goes on.
    """
    try:
        order = msgspec.convert(task.spec, TrainOrder)
    except msgspec.ValidationError as error:
        raise Invalid(f"this is no training: {error}") from error
    hyper = hyper_parameters(order.hyper_parameters)
    if order.reward_model is not None:
        reward = _reward(order.reward_model, order.store, task.folder / "reward")
        hyper = msgspec.structs.replace(hyper, rewards=(*hyper.rewards, reward))
    Path(order.output).mkdir(parents=True, exist_ok=True)
    store = Path(order.store)
    allowed = access.load(store)
    with full_disk_said_clearly(task.folder):
        for source in (*order.train, *order.validation):
            sources.bring(task, source, allowed)
        base = lay_out(order.files, order.store, task.folder / "base", order.base_model)
        train, validation = _rows(order, task.folder / "rows")
    spec = TrainSpec(
        mode=order.mode,
        method=order.method,
        base=str(base),
        adapter=order.adapter,
        train=str(train),
        validation=str(validation) if validation.stat().st_size else "",
        hyper_parameters=hyper,
        output=order.output,
        base_model=order.base_model,
        seed=order.seed,
        dtype=order.dtype,
        threads=order.threads,
    )
    machines = Machines(
        processes=order.processes or max(1, libraries.gpus()),
        nodes=order.nodes,
        rendezvous=allowed.rendezvous,
    )
    nodes = Nodes(
        task,
        spec,
        machines,
        processes=order.processes,
        commands=allowed.nodes,
        lock=store / NODES_LOCK,
    )
    about = About(
        f"{Path(order.output).name} {order.mode} {order.base_model}".strip(),
        {"mode": order.mode, "method": order.method, "base_model": order.base_model}
        | {name: value for name, value in msgspec.to_builtins(hyper).items() if name != "rewards"},
    )
    with nodes, Trackers(allowed, Path(order.output), about, task.log) as trackers:
        result = _scored(spec, _train(task, spec, nodes, trackers))
    return msgspec.to_builtins(result)


def _train(task: Task, spec: TrainSpec, nodes: Nodes, trackers: Trackers) -> TrainResult:
    """Run the trainer to its end."""
    end: dict[str, Any] = {}
    rows: list[MetricRow] = []
    with Trainer(spec, nodes.machines) as trainer, _stopping(task, trainer) as interrupted:
        nodes.end_with(trainer)
        try:
            for event in trainer.events():
                # Of several processes the first to fail tells the cause, the others what followed from it.
                if event.get("event") == "end" and end.get("outcome") != "failed":
                    end = event
                    trackers.ends(str(event.get("outcome")))
                with contextlib.suppress(
                    Stopped
                ):  # the trainer was told, and has a checkpoint to write
                    _tell(task, event, rows, trackers)
        except EngineFailed as error:
            task.check()  # it was killed because it did not stop in time
            if interrupted.is_set():
                raise Interrupted(1) from None
            raise nodes.cause(error) from error
    if end.get("outcome") == "failed":
        raise nodes.cause(_failure(end))
    if end.get("outcome") == "stopped":
        task.check()
        raise Interrupted(1)
    return msgspec.convert(end["result"], TrainResult)


def _tell(task: Task, event: dict[str, Any], rows: list[MetricRow], trackers: Trackers) -> None:
    match event.get("event"):
        case "progress":
            rows.append(msgspec.convert(event["row"], MetricRow))
            trackers.tell(rows[-1])
            note = msgspec.json.encode(event["row"]).decode()
            task.progress(event["step"], event["steps"], "step", note)
        case "log":
            task.log(event["text"])
        case "checkpoint":
            task.log(f"checkpoint {event['name']}, loss {event['loss']}")
            told = {name: event[name] for name in ("step", "loss")}
            seen = metrics.thinned(rows, SAVED_ROWS)
            task.save({"checkpoint": event["name"], **told, "metrics": list(seen)})
        case _:
            pass


@contextlib.contextmanager
def _stopping(task: Task, trainer: Trainer) -> Generator[threading.Event]:
    """Ask the trainer to stop as soon as somebody wants that, however long it is silent; the event says that it was SIGTERM."""
    over, interrupted = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(POLL_SECONDS):
            try:
                task.check()
            except Stopped:
                trainer.stop(STOP_SECONDS)
                return

    def interrupt(*_: object) -> None:
        interrupted.set()
        trainer.stop(STOP_SECONDS)

    thread = threading.Thread(target=watch, name="stopping", daemon=True)
    thread.start()
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGTERM, before)
        over.set()
        thread.join()


def _failure(end: dict[str, Any]) -> Exception:
    kind = getattr(errors, str(end.get("kind")), None)
    message = str(end.get("message"))
    if isinstance(kind, type) and issubclass(kind, YangfanError):
        return kind(message)
    return RuntimeError(message)


def _reward(given: RewardModel, store: str, folder: Path) -> Reward:
    """The model that scores answers, laid out."""
    if not Path(given.trained).is_dir():
        raise ConfigurationError(
            f"the reward model is gone: there is no folder {given.trained}; it was deleted with its run"
        )
    if given.method == "full":
        return Reward(model=given.trained, weight=given.weight)
    lay_out(given.files, store, folder, "the reward model")
    return Reward(model=str(folder), adapter=given.trained, weight=given.weight)


def _rows(order: TrainOrder, folder: Path) -> tuple[Path, Path]:
    """The rows to learn and those to hold out, as files; the same ones at every attempt."""
    folder.mkdir(parents=True, exist_ok=True)
    train, validation = folder / "train.jsonl", folder / "validation.jsonl"
    held_out = set[int]()
    if not order.validation:
        count = sum(sources.manifest_of(one).rows for one in order.train)
        held = round(count * order.split_percent / 100)
        if order.split_percent and count > 1:
            held = min(max(held, 1), count - 1)
        # The same rows whenever the seed and the datasets are the same; nothing secret hangs on it.
        held_out.update(random.Random(order.seed).sample(range(count), held))  # noqa: S311
    with train.open("wb") as learnt, validation.open("wb") as held_file:
        for number, copies, line in _lines(order.train, order.blobs):
            if number in held_out:
                held_file.write(line)
            else:
                for _ in range(copies):
                    learnt.write(line)
        for _, copies, line in _lines(order.validation, order.blobs):
            for _ in range(copies):
                held_file.write(line)
    return train, validation


def _lines(given: tuple[Source, ...], folder: str) -> Iterator[tuple[int, int, bytes]]:
    """Each row's number among all, how often it is taken, and its line."""
    number = 0
    for source in given:
        blobs = sources.blobs_of(source, folder)
        for place, row in enumerate(read_rows(blobs, sources.manifest_of(source))):
            copies = int((place + 1) * source.sampling_rate) - int(place * source.sampling_rate)
            sample = _sample(row.sample, blobs)
            name = f"{source.name} {row.row_id}".strip()
            yield number, copies, msgspec.json.encode({"row_id": name, "sample": sample}) + b"\n"
            number += 1


def _sample(sample: formats.Sample, blobs: BlobFolder) -> Any:
    """A row's sample for a trainer; its pictures are told by the files that hold them."""
    if not sample.images:
        return msgspec.Raw(formats.encode(sample).encode())
    told = msgspec.to_builtins(sample)
    told["images"] = [
        {"name": each.name, "file": str(blobs.path(each.sha256)) if each.sha256 else ""}
        for each in sample.images
    ]
    return told


def _scored(spec: TrainSpec, result: TrainResult) -> TrainResult:
    """The result with the scores of the held-out answers, on its page, too."""
    path = Path(spec.output) / answers.FILE
    if not path.exists():
        return result
    samples = [
        scorers.Sample(told["answer"], (told["reference"],), told["prompt"])
        for told in map(msgspec.json.decode, path.read_bytes().splitlines())
    ]
    scores: dict[str, float] = {}
    for name, (scorer, parameters) in SCORES.items():
        made: Any = scorers.create(scorer, parameters)
        graded = [score for score in map(made.score, samples) if score.value is not None]
        if not graded:
            continue
        if hasattr(made, "over_all"):
            counts = zip(*(score.counts for score in graded), strict=True)
            scores[name] = made.over_all([sum(column) for column in counts])
        else:
            scores[name] = sum(score.value for score in graded) / len(graded)
    result = msgspec.structs.replace(result, scores=scores)
    report.write(Path(spec.output), spec, metrics.read(Path(spec.output)), result)
    return result
