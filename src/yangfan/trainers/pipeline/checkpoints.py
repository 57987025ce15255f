"""Checkpoints: written so that a kill at any moment leaves either a whole one or none, and read only if they are whole.

    checkpoints/step-00000050/
        adapter_model.safetensors, adapter_config.json      or a whole Hugging Face folder: the weights, exactly
        optimizer.safetensors                               first and second moments of what is learnt, by name
        state.json                                          step, loss so far, position in the data, how random numbers are drawn
        manifest.json                                       size and SHA-256 of each file; written last

All is written into a folder with another name, put on the disk, and renamed. No file is a pickle.
"""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

import msgspec

from yangfan.hub.disk import sha256_of, sync, write_atomically
from yangfan.trainers.base import CheckpointFacts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FOLDER = "checkpoints"
MANIFEST = "manifest.json"
STATE = "state.json"
OPTIMIZER = "optimizer.safetensors"
_NEW = ".new-"


class Entry(msgspec.Struct, frozen=True):
    """A file of a checkpoint."""

    sha256: str
    size_bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint holds.

    Attributes:
        step: Steps of the optimiser that are done.
        loss: Of the last of them.
        run: Digest of what was ordered: another order does not go on from here.
        files: Its files.
    """

    step: int
    loss: float | None
    run: str
    files: dict[str, Entry]


class State(msgspec.Struct, kw_only=True):
    """Where a run stands, apart from its weights.

    Attributes:
        step: Steps of the optimiser that are done.
        position: Items of the data that are done: epoch, and place in it.
        random: How random numbers are drawn: everything is seeded anew for each step from the run's seed and the step, so there is no
            state to keep.
        steps_of_optimizer: Of AdamW's bias correction.
        sums: What has been added up since the last line of metrics.
        tokens: Tokens that were read.
        learnt_tokens: Those that were learnt.
        seconds: How long it took so far.
        loss: Of the last step.
    """

    step: int
    position: tuple[int, int]
    random: dict[str, int | str]
    steps_of_optimizer: int
    sums: dict[str, float]
    tokens: int
    learnt_tokens: int
    seconds: float
    loss: float | None


def name_of(step: int) -> str:
    """Name of a checkpoint's folder."""
    return f"step-{step:08d}"


def digest(ordered: bytes) -> str:
    """Digest of what was ordered."""
    return hashlib.sha256(ordered).hexdigest()


def write(
    output: Path, state: State, run: str, save: Callable[[Path], None], *, keep: int
) -> CheckpointFacts:
    """Write a checkpoint and remove the oldest ones.

    Args:
        output: Folder of the run.
        state: Where it stands.
        run: Digest of what was ordered.
        save: Writes weights and optimiser into a folder.
        keep: How many checkpoints stay.
    """
    parent = output / FOLDER
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{_NEW}*"):
        shutil.rmtree(left, ignore_errors=True)
    final = parent / name_of(state.step)
    new = parent / f"{_NEW}{state.step}"
    try:
        new.mkdir()
        save(new)
        (new / STATE).write_bytes(msgspec.json.encode(state))
        files = {
            path.relative_to(new).as_posix(): path
            for path in sorted(new.rglob("*"))
            if path.is_file()
        }
        for path in files.values():
            sync(path)
        manifest = Manifest(
            step=state.step,
            loss=state.loss,
            run=run,
            files={
                name: Entry(sha256_of(path), path.stat().st_size) for name, path in files.items()
            },
        )
        write_atomically(new / MANIFEST, msgspec.json.encode(manifest))
        shutil.rmtree(final, ignore_errors=True)
        new.replace(final)
        sync(parent)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    for old in _names(output)[:-keep]:
        shutil.rmtree(parent / old, ignore_errors=True)
    return _facts(final, manifest)


def whole(output: Path, run: str = "") -> list[CheckpointFacts]:
    """The checkpoints of a run that are whole, oldest first.

    Args:
        output: Folder of the run.
        run: Only those of this order; "" for all.
    """
    found: list[CheckpointFacts] = []
    for name in _names(output):
        folder = output / FOLDER / name
        manifest = verified(folder)
        if manifest is not None and run in {"", manifest.run}:
            found.append(_facts(folder, manifest))
    return found


def last(output: Path, run: str) -> Path | None:
    """The newest checkpoint of an order that is whole, looked for from the newest on."""
    for name in reversed(_names(output)):
        folder = output / FOLDER / name
        manifest = verified(folder)
        if manifest is not None and manifest.run == run:
            return folder
    return None


def verified(folder: Path) -> Manifest | None:
    """A checkpoint's manifest if every file is what it says; None otherwise."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
        if name_of(manifest.step) != folder.name:
            return None
        for name, entry in manifest.files.items():
            path = folder / name
            if path.stat().st_size != entry.size_bytes or sha256_of(path) != entry.sha256:
                return None
    except (OSError, msgspec.MsgspecError):
        return None
    return manifest


def state_of(folder: Path) -> State:
    """Where the run of a checkpoint stands."""
    return msgspec.json.decode((folder / STATE).read_bytes(), type=State)


def _names(output: Path) -> list[str]:
    return sorted(path.name for path in (output / FOLDER).glob("step-*"))


def _facts(folder: Path, manifest: Manifest) -> CheckpointFacts:
    return CheckpointFacts(
        name=folder.name,
        step=manifest.step,
        folder=str(folder),
        sha256s={name: entry.sha256 for name, entry in manifest.files.items()},
        loss=manifest.loss,
    )
