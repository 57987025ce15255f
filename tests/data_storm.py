"""A storm of kill -9 over the workers of imports, cleanings and exports: what is left is compared with what undisturbed ones leave.

    python -m tests.data_storm --kills 20

Jobs run under a real server. A worker is killed at a random moment of the time that an undisturbed one takes, again and again, until so
many were killed; then the last one may end. Equal shards are equal rows, ids and order included, for shards are named by their content; a cleaning ends a shard wherever it saves
its place, so its rows are compared one by one, with its counts and its files of reasons.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from tests.conftest import serving, wait_until
from tests.server.jobs.conftest import Desk, workers

from yangfan.datasets.formats import DataFormat
from yangfan.datasets.manifest import Manifest
from yangfan.datasets.shards import BlobFolder, read_rows
from yangfan.operators.pipeline import recipe as recipes
from yangfan.server.datasets import Datasets
from yangfan.server.db import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ATTEMPTS = 1_000_000
SIGNS = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳云腾致雨露结为霜"
"""What answers are made of: rows that are not near one another, so that most stay."""
END_SECONDS = 900.0
"""Longest wait for the end of a job: a cleaning with every operator takes its time, beside other work as well."""


@dataclass
class Account:
    """What happened."""

    kind: str
    kills: int = 0
    jobs: int = 0
    rows: int = 0
    bad_rows: int = 0
    equal: bool = True
    seconds: float = 0.0

    def __str__(self) -> str:
        """In one line."""
        word = (
            "equal to the undisturbed one" if self.equal else "DIFFERENT from the undisturbed one"
        )
        return f"{self.kind}: {self.kills} kills over {self.jobs} jobs, {self.rows} rows, {self.bad_rows} not in it, each {word}; {self.seconds:.0f} s"


def write_rows(file: Path, rows: int) -> None:
    """Ragged JSON lines, one in a hundred of them no row."""
    generator = random.Random(17)
    with file.open("w", encoding="utf-8") as out:
        for number in range(rows):
            if generator.random() < 0.01:
                out.write("no json\n")
            turn: dict[str, Any] = {
                "prompt": f"问题 {number}",
                "response": [["".join(generator.choices(SIGNS, k=generator.randrange(250)))]],
            }
            if generator.random() < 0.1:
                turn["score"] = generator.choice([1, 0.5, "high", None])
            out.write(json.dumps([turn], ensure_ascii=False) + "\n")


class Storm:
    """Jobs of one server."""

    def __init__(self, desk: Desk, folder: Path, seed: int) -> None:
        self.desk, self.folder = desk, folder
        self.generator = random.Random(seed)
        self.blobs = folder / "blobs"
        self.versions = self.killed = 0

    def import_spec(self, file: Path) -> dict[str, Any]:
        """Always the same one, so that equal rows are equal shards."""
        return {
            "store": str(self.folder / "models"),
            "blobs": str(self.blobs),
            "refused": str(self.folder / "refused.jsonl"),
            "sources": [f"file:{file}"],
            "data_format": "PromptResponse",
            "row_prefix": "storm",
            "created_ms": 1,
        }

    def export_spec(self, manifest: Any, kind: str) -> dict[str, Any]:
        """To a zip archive."""
        return {
            "store": str(self.folder / "models"),
            "blobs": str(self.blobs),
            "target": str(self.folder / f"out-{kind}.zip"),
            "manifest": manifest,
            "format": kind,
        }

    def clean_spec(self, manifest: Any) -> dict[str, Any]:
        """Operators of every stage; the place is saved five times a second."""
        everything = recipes.everything().operations
        # Ratios and models take the time of a run and add nothing to a storm.
        number = [recipes.Step("filter_check_number_words", {"number_words_min_cutoff": 3})]
        stages = msgspec.structs.replace(everything, filter=number)
        return {
            "blobs": str(self.blobs),
            "manifest": manifest,
            "recipe": msgspec.to_builtins(recipes.Recipe(stages)),
            "out": str(self.folder),
            "save_seconds": 0.2,
        }

    def run(
        self, kind: str, spec: dict[str, Any], kills: int = 0, within: float = 0.0
    ) -> dict[str, Any]:
        """The result of a job whose workers are killed so often."""
        version = asyncio.run(self._version()) if kind == "import_dataset" else ""
        job = self.desk.ask("submit", kind, spec, subject=version, max_attempts=MAX_ATTEMPTS)
        id = job.id
        done = 0
        while done < kills:
            deadline = time.monotonic() + 60.0
            while not (found := workers(id)):
                if self.desk.ask("get", id).final or time.monotonic() > deadline:
                    break
                time.sleep(0.005)
            if not found:
                break
            time.sleep(self.generator.random() * within)
            for pid in workers(id):
                os.kill(pid, signal.SIGKILL)
                done += 1
        self.killed = done
        wait_until(lambda: self.desk.ask("get", id).final, "the end of a job", END_SECONDS)
        job = self.desk.ask("get", id)
        assert job.state == "succeeded", job
        assert job.result is not None
        return dict(job.result)

    async def _version(self) -> str:
        """A version that gets the rows."""
        database = Database(self.desk.server.home / "yangfan.db")
        datasets = Datasets(database, self.blobs)
        self.versions += 1
        try:
            made = await datasets.create(f"storm {self.versions}", DataFormat.PROMPT_RESPONSE)
        finally:
            await database.close()
        return made.id

    def storm(self, kind: str, spec: dict[str, Any], kills: int) -> Account:
        """Compare killed jobs with an undisturbed one."""
        begun = time.monotonic()
        result = self.run(kind, spec)
        undisturbed = time.monotonic() - begun
        rows, bad = result.get("rows", 0), result.get("bad_rows", 0)
        if kind == "clean_dataset":
            rows = result["report"]["remaining_entity"]
            bad = result["report"]["entity_count"] - rows
        account = Account(kind, rows=rows, bad_rows=bad)
        wanted, refused = self.left(result), self.refused()
        while account.kills < kills:
            found = self.run(kind, spec, min(kills - account.kills, 4), undisturbed)
            account.kills += self.killed
            if not self.killed:
                # It was over before: the machine has less to do than at the first run.
                undisturbed /= 2
            account.jobs += 1
            account.equal &= self.left(found) == wanted and self.refused() == refused
        account.seconds = time.monotonic() - begun
        return account

    def left(self, result: dict[str, Any]) -> Any:
        """What must be equal of a result."""
        if "report" not in result:
            return result
        manifest = msgspec.convert(result["manifest"], Manifest)
        rows = hashlib.sha256()
        for row in read_rows(BlobFolder(self.blobs), manifest):
            rows.update(repr(row).encode())
        reasons = [(self.folder / result[name]).read_bytes() for name in ("dropped", "changed")]
        return rows.hexdigest(), result["report"] | {"seconds": 0}, reasons

    def refused(self) -> bytes:
        """The file of refused rows."""
        file = self.folder / "refused.jsonl"
        return file.read_bytes() if file.exists() else b""


def storm(
    folder: Path, *, kills: int, export_kills: int, rows: int, seed: int, clean_kills: int = 0
) -> Iterator[Account]:
    """Kill imports, exports and cleanings, and say after each what happened."""
    file = folder / "rows.jsonl"
    write_rows(file, rows)
    with serving(folder / "home") as server:
        storm = Storm(Desk(server), folder, seed)
        yield storm.storm("import_dataset", storm.import_spec(file), kills)
        manifest = storm.run("import_dataset", storm.import_spec(file))["manifest"]
        yield storm.storm("export_dataset", storm.export_spec(manifest, "jsonl"), export_kills)
        if clean_kills:
            yield storm.storm("clean_dataset", storm.clean_spec(manifest), clean_kills)


def main() -> None:
    """Run it and print the account."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    args = parser.parse_args()
    print(f"seed {args.seed}")
    with tempfile.TemporaryDirectory(prefix="yangfan-data-storm-") as folder:
        accounts: list[Account] = []
        for account in storm(
            Path(folder),
            kills=args.kills,
            export_kills=args.kills,
            clean_kills=args.kills,
            rows=args.rows,
            seed=args.seed,
        ):
            print(account, flush=True)
            accounts.append(account)
    if not all(account.equal and account.kills >= args.kills for account in accounts):
        raise SystemExit("what is left is not what must be")


if __name__ == "__main__":
    main()
