"""Cleaning and augmenting datasets under a real server with real workers, killed and paused."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from collections.abc import Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import msgspec
import pytest
from tests.conftest import serving, wait_until
from tests.server.jobs.conftest import Desk, workers

from yangfan import Client
from yangfan.datasets.formats import DataFormat, Message, Sample, Turn
from yangfan.datasets.manifest import Manifest, Row
from yangfan.datasets.shards import BlobFolder, ShardWriter, read_rows
from yangfan.server.jobs import Job

KILLED_WITHIN_SECONDS = 1.0
"""A worker is killed so soon after it is seen: less than the rest of its work takes."""

RECIPE: dict[str, Any] = {
    "operationsV2": {
        "clean": ["remove_emoji", "remove_web_identifiers"],
        "filter": ["filter_check_number_words", "filter_check_character_repetition_removal"],
        "deduplication": [{"name": "deduplication_simhash", "args": {"distance": 4}}],
        "desensitization": ["replace_emails"],
    }
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    home = tmp_path_factory.mktemp("dataset-works") / "home"
    with serving(home, environ={"YANGFAN_EGRESS_ALLOW": "127.0.0.1"}) as server:
        yield Desk(server)


@pytest.fixture(scope="module")
def blobs(desk: Desk) -> BlobFolder:
    return BlobFolder(desk.server.home / "blobs" / "datasets")


def made_up(blobs: BlobFolder, rows: int) -> Manifest:
    """Texts of which some go and some change, near-duplicates far apart among them."""
    draw = random.Random(5)
    words = [
        "river",
        "mountain",
        "engine",
        "copper",
        "window",
        "garden",
        "signal",
        "winter",
        "paper",
        "bridge",
    ]
    kept: list[str] = []
    with ShardWriter(blobs, DataFormat.TEXT, rows_per_shard=rows // 3) as writer:
        for row in range(rows):
            text = " ".join(draw.choices(words, k=draw.randrange(20, 60))) + f" {row}"
            chance = draw.random()
            if chance < 0.1 and kept:
                text = draw.choice(kept)
            elif chance < 0.2:
                text += f" <b>user{row}@example.com</b> 😀"
            elif chance < 0.25:
                text = "ha" * 60
            kept.append(text)
            writer.add(f"r{row:06d}", Sample(text=text, extra={"n": row}))
        return writer.finish()


def cleaning(desk: Desk, blobs: BlobFolder, manifest: Manifest, **more: Any) -> str:
    spec = {
        "blobs": str(blobs.root),
        "manifest": msgspec.to_builtins(manifest),
        "recipe": RECIPE,
        "out": str(desk.server.home / "processing"),
        **more,
    }
    return desk.ask("submit", "clean_dataset", spec, max_attempts=50).id


def ended(desk: Desk, id: str) -> Job:
    job = desk.until(id, lambda job: job.final, "the end")
    assert (job.state, job.error) == ("succeeded", None)
    return job


def outcome(desk: Desk, blobs: BlobFolder, job: Job) -> tuple[list[Row], dict[str, Any], list[Any]]:
    """Rows, counts and reasons."""
    assert job.result is not None
    manifest = msgspec.convert(job.result["manifest"], Manifest)
    rows = list(read_rows(blobs, manifest))
    assert manifest.rows == len(rows) == job.result["report"]["remaining_entity"]
    reasons = [
        json.loads(line)
        for name in ("dropped", "changed")
        for line in (desk.server.home / "processing" / job.result[name])
        .read_text("utf-8")
        .splitlines()
    ]
    return rows, job.result["report"]["pipeline_stage_result"], reasons


@pytest.mark.parametrize("processes", [1, 2])
def test_rows_go_and_change_with_their_reasons(
    desk: Desk, blobs: BlobFolder, processes: int
) -> None:
    manifest = made_up(blobs, 600)
    before = {row.row_id: row.sample for row in read_rows(blobs, manifest)}
    id = cleaning(desk, blobs, manifest, processes=processes)
    rows, stages, reasons = outcome(desk, blobs, ended(desk, id))
    dropped = {line["row_id"]: line for line in reasons if "operator" in line}
    changed = {line["row_id"]: line for line in reasons if "operators" in line}
    assert before.keys() == {row.row_id for row in rows} | dropped.keys()
    assert [row.row_id for row in rows] == sorted(row.row_id for row in rows)
    for row in rows:
        if row.row_id in changed:
            assert "@" not in row.sample.text
            assert changed[row.row_id]["operators"] == [
                "remove_emoji",
                "remove_web_identifiers",
                "replace_emails",
            ]
            assert row.sample.extra == before[row.row_id].extra
        else:
            assert row.sample == before[row.row_id]
    for row_id, line in dropped.items():
        assert line["text"] == before[row_id].text
        assert line["reason"]
    counts = {
        item["name"]: item["drop_count"]
        for stage in stages.values()
        for item in stage["each_operator_result"]
    }
    by = [line["operator"] for line in dropped.values()]
    assert {name: count for name, count in counts.items() if count} == {
        name: by.count(name) for name in set(by)
    }
    assert set(by) == {"filter_check_character_repetition_removal", "deduplication_simhash"}


def kill_now_and_then(desk: Desk, id: str, kills: int, seed: int) -> int:
    """Kill a job's worker at random points; how often one was killed."""
    draw = random.Random(seed)
    done = 0
    while done < kills:
        job = desk.ask("get", id)
        if job.final:
            break
        for pid in workers(id):
            time.sleep(draw.random() * KILLED_WITHIN_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                done += 1
        time.sleep(0.02)
    return done


def test_a_cleaning_that_is_killed_ends_like_one_that_was_not(
    desk: Desk, blobs: BlobFolder
) -> None:
    manifest = made_up(blobs, 12_000)
    whole = outcome(desk, blobs, ended(desk, cleaning(desk, blobs, manifest)))
    id = cleaning(desk, blobs, manifest, save_seconds=0.0)
    assert kill_now_and_then(desk, id, 2, seed=11) >= 1
    assert outcome(desk, blobs, ended(desk, id)) == whole


def test_a_cleaning_is_paused_and_goes_on_inside_of_a_shard(desk: Desk, blobs: BlobFolder) -> None:
    rows_before = 24_000  # many groups of batches, so that most are left when the first is saved
    manifest = made_up(blobs, rows_before)
    id = cleaning(desk, blobs, manifest, save_seconds=0.0)
    desk.until(id, lambda job: bool(job.checkpoint), "a saved place")
    desk.ask("pause", id)
    job = desk.until(id, lambda job: job.state in {"paused", "succeeded"}, "a pause")
    if job.state == "paused":
        assert 0 < job.checkpoint["rows"] < rows_before
        wait_until(lambda: not workers(id), "the worker to be gone", 30)
        desk.ask("resume", id)
    rows, _, reasons = outcome(desk, blobs, ended(desk, id))
    assert len(rows) + sum("operator" in line for line in reasons) == rows_before


def test_what_cannot_be_cleaned_fails_with_its_reason(desk: Desk, blobs: BlobFolder) -> None:
    recipe = {"operationsV2": {"clean": ["polish"]}}
    id = cleaning(desk, blobs, made_up(blobs, 9), recipe=recipe)
    job = desk.until(id, lambda job: job.final, "the end")
    assert job.error is not None
    assert "no operators named 'polish'" in job.error.message


def test_every_text_of_a_conversation_is_cleaned_and_the_rest_stays(
    desk: Desk, blobs: BlobFolder
) -> None:
    said = "The garden behind the harbour has an old copper engine."
    with ShardWriter(blobs, DataFormat.ROLE) as writer:
        for row, question in enumerate(("Mail <i>a@b.com</i> 😀", "😀", said, f"{said}!")):
            messages = (
                Message("system", "Be kind."),
                Message("user", question),
                Message("assistant", f"{said} 😀", "Hm 😀", 0.5),
            )
            writer.add(f"c{row}", Sample(messages=messages, extra={"from": "a@b.com"}), ("good",))
        conversations = writer.finish()
    rows, _, reasons = outcome(desk, blobs, ended(desk, cleaning(desk, blobs, conversations)))
    assert [row.row_id for row in rows] == ["c0", "c2"]
    assert rows[0].sample == Sample(
        messages=(
            Message("system", "Be kind."),
            Message("user", "Mail [EMAIL] "),
            Message("assistant", f"{said} ", "Hm ", 0.5),
        ),
        extra={"from": "a@b.com"},
    )
    assert rows[0].labels == ("good",)
    gone = {line["row_id"]: line for line in reasons if "operator" in line}
    assert gone["c1"]["operator"] == "remove_emoji"
    assert gone["c1"]["reason"] == "nothing is left of one of its texts"
    assert gone["c1"]["text"] == f"Be kind.\n😀\nHm 😀\n{said} 😀"
    assert gone["c3"]["operator"] == "deduplication_simhash"


class Scripted(BaseHTTPRequestHandler):
    """A model of somebody else's that makes instructions up."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][-1]["content"]
        type(self).asked.append(question)
        if question.startswith(("You write", "你要为")):
            draw = random.Random(question)
            lines = [
                f"{place}. " + "".join(chr(draw.randrange(0x4E00, 0x9FA5)) for _ in range(14))
                for place in range(1, 6)
            ]
            answer = "\n".join(lines)
        else:
            answer = f"答：{question}"
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": answer},
            "finish_reason": "stop",
        }
        reply = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "scripted",
            "choices": [choice],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
        content = json.dumps(reply).encode()
        time.sleep(0.05)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        content = json.dumps({"object": "list", "data": [{"id": "scripted", "object": "model"}]})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def scripted(desk: Desk) -> Generator[str]:
    """The name of a service that answers by script."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with Client(desk.server.base_url, **desk.pair) as client:
        client.upstreams.create(
            "elsewhere",
            f"http://127.0.0.1:{server.server_port}/v1",
            key="k",
            models=["scripted"],
        )
    yield "scripted"
    server.shutdown()
    server.server_close()
    thread.join()


def seeds(blobs: BlobFolder, data_format: DataFormat) -> Manifest:
    with ShardWriter(blobs, data_format) as writer:
        for row in range(20):
            text = f"{'算写读听画'[row % 5] * 4}{row}{'道篇段首'[row % 4] * 5}"
            sample = Sample(turns=(Turn(text, ("好",)),))
            if data_format is DataFormat.ROLE:
                sample = Sample(messages=(Message("user", text), Message("assistant", "好")))
            writer.add(f"seed{row:02d}", sample)
        return writer.finish()


def augmenting(desk: Desk, blobs: BlobFolder, manifest: Manifest, **more: Any) -> str:
    spec = {
        "blobs": str(blobs.root),
        "manifest": msgspec.to_builtins(manifest),
        "prefix": "made",
        **more,
    }
    return desk.ask("submit", "augment_dataset", spec, max_attempts=50).id


def test_samples_are_made_once_by_a_service_of_the_platform_though_the_worker_is_killed(
    desk: Desk, blobs: BlobFolder, scripted: str
) -> None:
    Scripted.asked.clear()
    manifest = seeds(blobs, DataFormat.PROMPT_RESPONSE)
    id = augmenting(desk, blobs, manifest, model=scripted, number=20, at_once=2)
    wait_until(lambda: len(Scripted.asked) >= 6, "some questions", 60)
    for pid in workers(id):
        os.kill(pid, signal.SIGKILL)
    job = ended(desk, id)
    assert job.result is not None
    rows = list(read_rows(blobs, msgspec.convert(job.result["manifest"], Manifest)))
    assert [row.row_id for row in rows] == [f"made-{number}" for number in range(20)]
    known = {f"seed{row:02d}" for row in range(20)} | {row.row_id for row in rows}
    for row in rows:
        (turn,) = row.sample.turns
        assert turn.responses == (f"答：{turn.prompt}",)
        provenance = row.sample.extra["provenance"]
        assert (provenance["method"], provenance["model"]) == ("self-instruct", "scripted")
        assert provenance["seeds"]
        assert set(provenance["seeds"]) <= known
        assert provenance["similarity"] < 0.7
    # Only what had no answer yet when the worker was killed is asked again: at most what was under way.
    assert len(Scripted.asked) - len(set(Scripted.asked)) <= 2
    assert job.result["counts"]["made"] == 20


def test_prompts_are_evolved_by_the_echo_of_the_platform(desk: Desk, blobs: BlobFolder) -> None:
    manifest = seeds(blobs, DataFormat.ROLE)
    evolution = {"addConstraint": 2, "precondition": 1}
    id = augmenting(
        desk,
        blobs,
        manifest,
        model="echo",
        evolution=evolution,
        similarity_threshold=1.0,
        requests_per_minute=6000,
    )
    job = ended(desk, id)
    assert job.result is not None
    rows = list(read_rows(blobs, msgspec.convert(job.result["manifest"], Manifest)))
    assert [row.sample.extra["provenance"]["method"] for row in rows] == [
        "addConstraint",
        "addConstraint",
        "precondition",
    ]
    assert all(row.sample.messages[1].role == "assistant" for row in rows)


@pytest.mark.parametrize(
    ("data_format", "model", "said"),
    [
        (DataFormat.TEXT, "echo", "datasets of these formats can grow"),
        (DataFormat.PROMPT, "nobody", "nobody"),
    ],
)
def test_what_cannot_grow_fails_with_its_reason(
    desk: Desk, blobs: BlobFolder, data_format: DataFormat, model: str, said: str
) -> None:
    manifest = made_up(blobs, 9) if data_format is DataFormat.TEXT else seeds(blobs, data_format)
    id = augmenting(desk, blobs, manifest, model=model)
    job = desk.until(id, lambda job: job.final, "the end")
    assert job.error is not None
    assert said in job.error.message
