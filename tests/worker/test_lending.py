"""Work that borrows model versions: waits, failures and what is asked under which name, with a server that is played."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from yangfan.errors import Conflict, EngineFailed, Overloaded, RefusedError
from yangfan.protocol.worker import BorrowedModel
from yangfan.worker import lending
from yangfan.worker.lending import Wanted, borrowed
from yangfan.worker.task import Task
from yangfan.worker.works import batch_inference, evaluate, optimise_prompt

VERSION = "amv-0123456789ab"
WANTED: dict[str, Any] = {VERSION: {"version": VERSION, "title": "mine:1", "options": {}}}
READY = BorrowedModel(state="ready", name="loan-secret")


class Played:
    """A task whose server lends as its script says, and answers with the model's name."""

    def __init__(self, folder: Path, spec: Mapping[str, Any], *loans: BorrowedModel) -> None:
        self.folder = folder
        self.spec = spec
        self.state: dict[str, Any] = {}
        self.loans = list(loans) or [READY]
        self.notes: list[str] = []
        self.asked: list[str] = []
        self.returned: list[bool] = []
        self.failures: list[RefusedError | None] = []

    @property
    def task(self) -> Task:
        return cast("Task", self)

    def progress(
        self, done: float, total: float | None = None, unit: str = "", note: str = ""
    ) -> None:
        del done, total, unit
        if note:
            self.notes.append(note)

    def check(self) -> None:
        pass

    def log(self, text: str) -> None:
        self.notes.append(text)

    def save(self, state: Mapping[str, Any]) -> None:
        self.state = dict(state)

    def borrow(self, version: str, options: Mapping[str, Any]) -> BorrowedModel:
        assert (version, options) == (VERSION, {})
        return self.loans.pop(0) if len(self.loans) > 1 else self.loans[0]

    def give_back(self, version: str, options: Mapping[str, Any], *, keep: bool) -> None:
        assert (version, options) == (VERSION, {})
        self.returned.append(keep)

    def ask(self, path: str, body: Any) -> Any:
        assert path == "/v2/chat/completions"
        if self.failures:
            self.asked.append(body["model"])
            if (failure := self.failures.pop(0)) is not None:
                raise failure
            self.asked.pop()
        self.asked.append(body["model"])
        text = "Rewritten {input}" if "Rewrite" in str(body) else body["model"]
        if "response_format" in body:
            text = json.dumps({"reason": "fair", "score": 3})
        return {"choices": [{"message": {"content": text}}]}


def lent(played: Played) -> str:
    wanted = Wanted(version=VERSION, title="mine:1")
    with borrowed(played.task, wanted, played.notes.append) as name:
        return name


def test_it_waits_and_tells_what_for(tmp_path: Path):
    played = Played(
        tmp_path,
        {},
        BorrowedModel(state="waiting", message="no room"),
        BorrowedModel(state="starting"),
        READY,
    )
    assert lent(played) == "loan-secret"
    assert played.notes == [
        "waiting for room for mine:1: no room",
        "starting mine:1 on an engine of its own",
    ]
    assert played.returned == [True]


def test_a_failure_and_a_wait_without_end_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    failed = Played(tmp_path, {}, BorrowedModel(state="failed", message="it is cut off"))
    with pytest.raises(Conflict, match="mine:1 cannot be asked: it is cut off"):
        lent(failed)
    monkeypatch.setattr(lending, "ROOM_SECONDS", 0.0)
    no_room = BorrowedModel(state="waiting", message="stop a service")
    behind_others = Played(tmp_path, {}, BorrowedModel(state="starting"), no_room, READY)
    assert lent(behind_others) == "loan-secret"
    patient = Played(tmp_path, {}, no_room, no_room, no_room, READY)
    with borrowed(
        patient.task, Wanted(version=VERSION), patient.notes.append, room_seconds=60.0
    ) as name:
        assert name == "loan-secret"
    full = Played(tmp_path, {}, no_room)
    with pytest.raises(Conflict, match="found no room within 0 s: stop a service"):
        lent(full)
    monkeypatch.setattr(lending, "START_SECONDS", 0.0)
    slow = Played(tmp_path, {}, BorrowedModel(state="starting"))
    with pytest.raises(Conflict, match="has not started after 0 s"):
        lent(slow)
    assert failed.returned + full.returned + slow.returned == [False] * 3


def evaluated(folder: Path, *, judge: str, model: str) -> Played:
    samples = folder / "samples.jsonl"
    samples.write_text('{"prompt": "a", "response": "a"}\n')
    judged: dict[str, Any] = {"model": judge, "min_score": 0, "max_score": 5}
    spec: dict[str, Any] = {
        "folder": str(folder),
        "samples": str(samples),
        "candidates": [{"id": "x", "name": "x", "model": model}],
        "scorers": [{"name": "judge", "label": "judge", "parameters": judged}],
        "borrowed": WANTED,
    }
    return Played(folder, spec)


def test_a_judge_is_borrowed_while_answers_are_graded(tmp_path: Path):
    played = evaluated(tmp_path, judge=VERSION, model="served")
    found = evaluate.run(played.task)
    assert played.asked == ["served", "loan-secret"]
    assert played.returned == [True]
    assert found["candidates"][0]["figures"]["judge"]["value"] == 3


def test_another_attempt_borrows_nothing_for_what_is_known(tmp_path: Path):
    played = evaluated(tmp_path, judge="served", model=VERSION)
    evaluate.run(played.task)
    assert played.asked == ["loan-secret", "served"]
    with (tmp_path / "said.jsonl").open("ab") as said:
        said.write(b'{"key": "cut o')
    again = evaluated(tmp_path, judge="served", model=VERSION)
    found = evaluate.run(again.task)
    assert (again.asked, again.returned) == ([], [])
    assert found["candidates"][0]["answered"] == 1
    assert again.state["units"] == [{"state": "Done", "message": ""}]


def test_a_version_that_fails_again_and_again_is_asked_no_more(tmp_path: Path):
    samples = tmp_path / "samples.jsonl"
    samples.write_text("".join(f'{{"prompt": "{number}"}}\n' for number in range(9)))
    spec: dict[str, Any] = {
        "folder": str(tmp_path),
        "samples": str(samples),
        "candidates": [{"id": "x", "name": "x", "model": VERSION}],
        "scorers": [{"name": "exact", "label": "exact"}],
        "borrowed": WANTED,
        "at_once": 1,
    }
    played = Played(tmp_path, spec)
    broken = [EngineFailed("it fell over"), Overloaded("it does not run")]
    played.failures = [EngineFailed("one bad question"), None, *broken, Overloaded("the end")]
    found = evaluate.run(played.task)
    assert len(played.asked) == 5
    assert "mine:1 is asked no more: its engine failed 3 questions in a row" in found["message"]
    assert "the last with: the end" in found["message"]
    (candidate,) = found["candidates"]
    assert (candidate["answered"], candidate["failed"]) == (1, 8)


def test_a_batch_gives_up_a_version_that_fails_again_and_again(tmp_path: Path):
    source = tmp_path / "input.jsonl"
    source.write_text("".join(f'{{"id": {number}, "query": "q"}}\n' for number in range(6)))
    spec: dict[str, Any] = {
        "form": "qianfan",
        "folder": str(tmp_path),
        "endpoint": "/v2/chat/completions",
        "model": VERSION,
        "borrowed": WANTED[VERSION],
    }
    played = Played(tmp_path, spec)
    played.failures = [None, *(Overloaded("it does not run") for _ in range(3))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_inference, "NICENESS", 0)
        found = batch_inference.run(played.task)
    assert (found["completed"], found["failed"], len(played.asked)) == (1, 5, 4)
    last = json.loads((tmp_path / "error.jsonl").read_text().splitlines()[-1])
    assert "mine:1 is asked no more" in last["error"]["error_msg"]


def test_a_search_borrows_what_rewrites(tmp_path: Path):
    spec: dict[str, Any] = {
        "content": "Say {input}",
        "operations": {},
        "model": VERSION,
        "borrowed": WANTED,
    }
    played = Played(tmp_path, spec)
    found = optimise_prompt.run(played.task)
    assert (found["content"], played.asked) == ("Rewritten {input}", ["loan-secret"])
    failing = Played(tmp_path, spec, BorrowedModel(state="failed", message="it is cut off"))
    with pytest.raises(Conflict, match="mine:1 cannot be asked: it is cut off"):
        optimise_prompt.run(failing.task)
