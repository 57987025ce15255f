"""What a run leaves in its folder, and what its job tells, read for the API (contract: `yangfan.trainers.base`)."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import msgspec

from yangfan.hub.disk import sha256_of
from yangfan.hub.store import Manifest, StoredFile
from yangfan.server.tuning.types import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from yangfan.hub.store import ModelStore
    from yangfan.server.jobs import Job

MANIFEST = "manifest.json"
MAX_LINES = 20_000


class _Manifest(msgspec.Struct):
    """What a checkpoint's manifest says, as far as the API shows it; without it a checkpoint is not whole."""

    step: int
    loss: float | None = None


def checkpoints(output: Path, result: Mapping[str, Any]) -> tuple[Checkpoint, ...]:
    """The whole checkpoints of a run, and its end, in order of steps."""
    found: dict[int, Checkpoint] = {}
    for manifest in output.glob(f"checkpoints/*/{MANIFEST}"):
        try:
            told = msgspec.json.decode(manifest.read_bytes(), type=_Manifest)
        except (OSError, msgspec.DecodeError):
            continue  # it is being removed
        found[told.step] = Checkpoint(told.step, str(manifest.parent), told.loss)
    steps = result.get("facts", {}).get("steps")
    if isinstance(steps, int) and result.get("final"):
        loss = last_loss(result)
        found[steps] = Checkpoint(steps, str(result["final"]), loss)
    return tuple(found[step] for step in sorted(found))


def last_loss(result: Mapping[str, Any]) -> float | None:
    """The loss that was measured last."""
    for row in reversed(result.get("metrics", ())):
        if "loss" in row:
            return row["loss"]
    return None


def last_row(work: Job | None, result: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured last: of a run that goes on, in the note of its progress."""
    rows = result.get("metrics")
    if rows:
        return dict(rows[-1])
    return {} if work is None else _row(work.progress.note)


def metrics(
    output: Path, result: Mapping[str, Any], last: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Every line that was measured, in order; a step that was computed again after a crash counts once."""
    rows: list[dict[str, Any]] = []
    try:
        with (output / "metrics.jsonl").open(encoding="utf-8") as file:
            for line in file:
                rows.append(_row(line))
                if len(rows) > MAX_LINES:
                    break
    except OSError:
        rows = [*result.get("metrics", ())] or [dict(last)]
    by_step = {row["step"]: row for row in rows if "step" in row}
    return [by_step[step] for step in sorted(by_step)]


def _row(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def keep_files(store: ModelStore, name: str, folder: Path) -> list[dict[str, Any]]:
    """Put the files of a whole model into the store under a name, so that a run can begin from them.

    Args:
        store: The model store.
        name: To forget them by; one that lists of models do not show.
        folder: A whole model in Hugging Face's form.
    """
    found: list[StoredFile] = []
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.name in _NOT_THE_MODEL or path.suffix not in _MODEL_ENDINGS:
            continue
        digest, size_bytes = sha256_of(path), path.stat().st_size
        if not store.has_blob(digest, size_bytes):
            part = store.partial_folder(name) / path.name
            shutil.copyfile(path, part)
            store.adopt(part, digest)
        found.append(StoredFile(path.name, digest, size_bytes))
    store.publish(
        Manifest(
            name=name,
            kind="chat",
            format="safetensors",
            licence="",
            source=f"file:{folder}",
            revision="",
            files=tuple(found),
            created=datetime.now(UTC),
        )
    )
    return [msgspec.to_builtins(file) for file in found]


_NOT_THE_MODEL = frozenset({MANIFEST, "optimizer.safetensors", "state.json"})
_MODEL_ENDINGS = frozenset({".json", ".safetensors", ".model", ".txt", ".jinja"})
