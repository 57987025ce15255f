"""`yangfan worker node`: the part of a training run that is done on another machine than the first (decision 0024).

The first machine's worker starts this by a command of the setting `tuning_nodes`, mostly over ssh, and the two talk on its standard
streams:

    here → there    `Hello`                             who is here
    there → here    `Part`                              what to do
    here → there    {"needed": ["base/model.safetensors", …]}
    there → here    the content of those files, one behind the other
    here → there    {"ready": true}                     all is here, and the first machine can be reached
    there → here    an empty line                       all machines are ready: begin
    here → there    {"failed": {"event": "end", …}}     what a trainer's process here failed at, if it did
    here → there    {"ended": 0}

A {"refused": "…"} ends it sooner. Standard input stays open meanwhile: when it ends, the first machine's worker is gone, or done with this
part, and the trainer is ended. Files of the base stay in the folder for the next run, until nobody has used them for a month.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from yangfan.client.version import package_version
from yangfan.errors import ConfigurationError, EngineFailed, Invalid, YangfanError
from yangfan.hub.disk import require_free
from yangfan.hub.lock import try_lock
from yangfan.trainers.base import TrainSpec
from yangfan.trainers.pipeline import checkpoints, libraries
from yangfan.trainers.pipeline.launch import Machines, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from typing import BinaryIO

FILES, LOCK = "files", "lock"
_RUN = "run-"
KEEP_SECONDS = 30 * 24 * 3600.0
SURELY_LOCKED_SECONDS = 3600.0
"""A run's folder that is younger may be about to be locked."""

CHUNK_BYTES = 1 << 20
REACH_SECONDS = 20.0


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """Who is here.

    Attributes:
        version: Of Yangfan.
        gpus: How many a trainer can use.
        missing: How to install what training needs; "" if it is there.
    """

    version: str
    gpus: int = 0
    missing: str = ""


class PartFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a part reads, by its path in the part's folder."""

    path: str
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Meta(ge=0)]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What to do.

    Attributes:
        spec: What the first machine's trainer is given; where its files lie there means nothing here.
        files: Copies of them.
        processes: Of this machine; 0 for one on each GPU.
        nodes: Machines of the run.
        node_rank: Which of them this is.
        rendezvous: ``host:port`` of the first.
    """

    spec: TrainSpec
    files: tuple[PartFile, ...]
    processes: int
    nodes: int
    node_rank: int
    rendezvous: str


class Word(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is told behind the `Hello`."""

    needed: tuple[str, ...] | None = None
    ready: bool = False
    refused: str = ""
    failed: dict[str, Any] | None = None
    ended: int | None = None
    printed: str = ""


def hello() -> Hello:
    """Who is here."""
    return Hello(
        version=package_version(),
        gpus=libraries.gpus() if libraries.missing() is None else 0,
        missing=libraries.missing() or "",
    )


def named_files(spec: TrainSpec) -> Iterator[tuple[str, Path]]:
    """What a trainer reads, by its path in a part's folder: rows, models, and what earlier attempts left to go on from."""
    here = moved(spec, Path())
    yield here.train, Path(spec.train)
    if spec.validation:
        yield here.validation, Path(spec.validation)
    pairs = [(here.base, spec.base), (here.adapter, spec.adapter)]
    for ours, theirs in zip(
        here.hyper_parameters.rewards, spec.hyper_parameters.rewards, strict=True
    ):
        pairs += [(ours.model, theirs.model), (ours.adapter, theirs.adapter)]
    for name, folder in pairs:
        if folder:
            yield from _below(name, Path(folder))
    output = Path(spec.output)
    for checkpoint in checkpoints.whole(output):
        yield from _below(
            f"{here.output}/{checkpoints.FOLDER}/{checkpoint.name}", Path(checkpoint.folder)
        )
    for file in sorted(output.glob("*reference.safetensors")):
        yield f"{here.output}/{file.name}", file


def _below(name: str, folder: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield f"{name}/{file.relative_to(folder).as_posix()}", file


def moved(spec: TrainSpec, folder: Path) -> TrainSpec:
    """The same order where all that it names lies in one folder."""

    def there(name: str, before: str) -> str:
        return (folder / name).as_posix() if before else ""

    rewards = tuple(
        msgspec.structs.replace(
            reward,
            model=there(f"rewards/{number}/model", reward.model),
            adapter=there(f"rewards/{number}/adapter", reward.adapter),
        )
        for number, reward in enumerate(spec.hyper_parameters.rewards)
    )
    return msgspec.structs.replace(
        spec,
        base=there("base", spec.base),
        adapter=there("adapter", spec.adapter),
        train=there("train.jsonl", spec.train),
        validation=there("validation.jsonl", spec.validation),
        output=there("output", spec.output),
        hyper_parameters=msgspec.structs.replace(spec.hyper_parameters, rewards=rewards),
    )


def run(folder: Path) -> int:
    """Do a part of a run; the exit status.

    Args:
        folder: Where copies of files are put.
    """
    mouth = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print is no word of ours

    def say(word: Hello | Word) -> None:
        with contextlib.suppress(BrokenPipeError):  # the end of standard input says the same
            mouth.write(msgspec.json.encode(word) + b"\n")

    say(hello())
    ear = sys.stdin.buffer
    line = ear.readline()
    if not line.endswith(b"\n"):
        return 0  # somebody looked whether this answers
    try:
        part = msgspec.json.decode(line, type=Part)
        with _place(folder) as place:
            needed = _needed(part.files, folder / FILES)
            require_free(place, sum(file.size_bytes for file in needed))
            say(Word(needed=tuple(file.path for file in needed)))
            _receive(part.files, needed, folder / FILES, place, ear)
            _reach(part.rendezvous)
            say(Word(ready=True))
            if not ear.readline().endswith(b"\n"):
                return 0
            say(_trained(part, place, say))
    except msgspec.MsgspecError as error:
        say(Word(refused=f"this is no part of a run: {error}"))
    except YangfanError as error:
        say(Word(refused=error.message))
    except OSError as error:
        say(Word(refused=f"{folder}: {error}"))
    return 0


@contextlib.contextmanager
def _place(folder: Path) -> Generator[Path]:
    """A folder for one run; those of runs that were killed are removed, and files of bases that nobody has used for long."""
    (folder / FILES).mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_RUN}*"):
        with contextlib.suppress(OSError):
            if left.stat().st_mtime < time.time() - SURELY_LOCKED_SECONDS:
                with try_lock(left / LOCK) as is_free:
                    if is_free:
                        shutil.rmtree(left, ignore_errors=True)
    for file in (folder / FILES).iterdir():
        with contextlib.suppress(OSError):
            if file.stat().st_mtime < time.time() - KEEP_SECONDS:
                file.unlink()
    with (
        tempfile.TemporaryDirectory(prefix=_RUN, dir=folder, ignore_cleanup_errors=True) as name,
        try_lock(Path(name) / LOCK),
    ):
        yield Path(name)


def _is_kept(file: PartFile) -> bool:
    return PurePosixPath(file.path).parts[0] == "base"


def _needed(files: Sequence[PartFile], kept: Path) -> list[PartFile]:
    for file in files:
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise Invalid(f"a part of a run has no file {file.path!r}")
    return [file for file in files if not (_is_kept(file) and (kept / file.sha256).is_file())]


def _receive(
    files: Sequence[PartFile], needed: Sequence[PartFile], kept: Path, place: Path, ear: BinaryIO
) -> None:
    for file in needed:
        target = place / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        left = file.size_bytes
        with target.open("wb") as out:
            while left:
                data = ear.read(min(left, CHUNK_BYTES))
                if not data:
                    raise SystemExit("the first machine's worker is gone")
                digest.update(data)
                out.write(data)
                left -= len(data)
        if digest.hexdigest() != file.sha256:
            raise ConfigurationError(f"{file.path} arrived damaged; begin again")
        if _is_kept(file):
            target.replace(kept / file.sha256)
    for file in filter(_is_kept, files):
        target = place / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.utime(kept / file.sha256)
        target.hardlink_to(kept / file.sha256)


def _reach(rendezvous: str) -> None:
    """Check that the first machine can be reached where the run's processes will meet.

    Raises:
        ConfigurationError: It cannot.
    """
    host, _, port = rendezvous.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS):
            pass
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{socket.gethostname()} cannot reach {rendezvous} ({error}): tuning_rendezvous must be an address of the first machine that the"
            " others reach, and all ports between the machines must be open"
        ) from error


def _trained(part: Part, place: Path, say: Callable[[Word], None]) -> Word:
    machines = Machines(
        processes=part.processes or max(1, libraries.gpus()),
        nodes=part.nodes,
        node_rank=part.node_rank,
        rendezvous=part.rendezvous,
    )
    with Trainer(moved(part.spec, place), machines) as trainer:

        def end_with_the_first_machine() -> None:
            # Not through the reader: a thread must not hold its buffer when this program ends.
            with contextlib.suppress(OSError):
                while os.read(0, 1):
                    pass
            trainer.kill()

        threading.Thread(target=end_with_the_first_machine, daemon=True).start()
        try:
            for event in trainer.events():
                if event.get("event") == "end" and event.get("outcome") == "failed":
                    say(Word(failed=event))
        except EngineFailed as error:
            return Word(ended=1, printed=error.message)
    return Word(ended=0)
