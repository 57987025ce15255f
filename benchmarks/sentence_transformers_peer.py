"""Sentence Transformers, what most programs embed with, in an environment of its own with this environment's PyTorch and Transformers."""

from __future__ import annotations

import importlib
import json
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from peers import run

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = "6.2.0"
FOLDER = Path("~/.cache/yangfan-bench/sentence-transformers").expanduser()
MOST_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Found:
    """Vectors a second for each size of batch, and the vector of the text."""

    per_second: list[float]
    vector: list[float]


def install() -> None:
    """Install it on first use (about 100 MB beside what is here).

    Raises:
        UnavailableError: pip failed, usually because no package index is reachable.
    """
    finished = FOLDER / "version"
    here = sysconfig.get_paths()["purelib"]
    wanted = f"{VERSION} {here}"
    if finished.is_file() and finished.read_text() == wanted:
        return
    print(f"installing Sentence Transformers {VERSION} into {FOLDER}", file=sys.stderr, flush=True)
    run([sys.executable, "-m", "venv", "--clear", str(FOLDER)])
    python = str(FOLDER / "bin/python")
    site = run([python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"])
    (Path(site.strip()) / "platform.pth").write_text(here)
    run([python, "-m", "pip", "install", "--quiet", f"sentence-transformers=={VERSION}"])
    finished.write_text(wanted)


def measure(folder: Path, text: str, batches: Sequence[int], seconds: float) -> Found:
    """Run this file as a program there."""
    asked = json.dumps([str(folder), text, list(batches), seconds])
    printed = run([str(FOLDER / "bin/python"), __file__, asked], MOST_SECONDS)
    return Found(**json.loads(printed.splitlines()[-1]))


def _embed(folder: str, text: str, batches: list[int], seconds: float) -> dict[str, Any]:
    """What runs there: each batch again and again for `seconds`."""
    library: Any = importlib.import_module("sentence_transformers")
    model = library.SentenceTransformer(folder, device="cpu")
    vector = model.encode(text, normalize_embeddings=True).tolist()
    rates: list[float] = []
    for batch in batches:
        texts, done, started = [text] * batch, 0, perf_counter()
        while perf_counter() - started < seconds:
            model.encode(texts, batch_size=batch, normalize_embeddings=True)
            done += batch
        rates.append(done / (perf_counter() - started))
    return {"per_second": rates, "vector": vector}


if __name__ == "__main__":
    print(json.dumps(_embed(*json.loads(sys.argv[1]))))
