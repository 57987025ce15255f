"""Rewriting and grading prompts (specification D.13) on a real server, and the measured search with a model that can be led."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Server, serving, wait_until
from tests.server.conftest import Caller

import yangfan
from yangfan.worker.works import optimise_prompt as work

WAIT_SECONDS = 60.0


@pytest.fixture(scope="module", name="server")
def server_fixture(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with serving(tmp_path_factory.mktemp("prompts") / "home") as server:
        yield server


def ask(server: Server, path: str, **body: Any) -> Any:
    caller, path = Caller(server), f"/wenxinworkshop/prompt/{path}"
    return caller.ask("POST", path, body, caller.signed("POST", path)).json


def test_prompt_is_rewritten_and_says_that_nobody_measured(server: Server):
    made = ask(
        server,
        "singleOptimize/create",
        content="Answer {question}",
        operations=[{"opType": 1, "payload": 1}, {"opType": 3, "payload": 1}],
        serviceName="echo",
    )["result"]["id"]
    assert made.startswith("task-")

    def shown() -> Any:
        return ask(server, "singleOptimize/info", id=made)["result"]

    wait_until(lambda: shown()["processStatus"] != 1, "the end", WAIT_SECONDS)
    found = shown()
    assert (found["processStatus"], found["measured"]) == (2, False)
    assert "Answer {question}" in found["optimizeContent"]
    assert [tried["wrong"] for tried in found["search"]] == ["", ""]
    missing = ask(server, "singleOptimize/info", id="task-0000000000000000")
    assert (missing["success"], "no optimisation" in missing["message"]["global"]) == (False, True)


def test_prompt_is_measured_on_a_dataset(server: Server):
    with yangfan.Client(server.base_url, bearer=server.bearer) as client:
        lines = b'{"prompt": "a", "response": "a"}\n{"prompt": "b", "response": "b"}\n'
        file = client.files.upload(lines, "evals", name="s.jsonl").id
    made = ask(
        server,
        "singleOptimize/create",
        content="{input}",
        serviceName="echo",
        datasetId=file,
        scorer="exact",
    )["result"]["id"]

    def shown() -> Any:
        return ask(server, "singleOptimize/info", id=made)["result"]

    wait_until(lambda: shown()["processStatus"] != 1, "the end", WAIT_SECONDS)
    found = shown()
    assert (found["measured"], found["optimizeContent"]) == (True, "{input}")
    assert [tried["value"] for tried in found["search"]] == [1.0, 0.0]
    wrong = ask(server, "singleOptimize/create", content="x", serviceName="echo", scorer="vibes")
    assert "scorer must be one of" in wrong["message"]["global"]


def test_answers_are_graded_by_meaning_expression_and_exactly(server: Server):
    data = [{"scene": "上海", "response_list": ["上海", "北京"]}]
    for kind in (1, 2, 3):
        scores = ask(server, "evaluate/predict", type=kind, data=data)["result"]["scores"]
        assert scores[0][0] == pytest.approx(1.0)
        assert scores[0][1] < 1.0
    bad = ask(server, "evaluate/predict", type=2, data=[{"scene": "(", "response_list": ["x"]}])
    assert bad["result"]["scores"] == [[None]]
    scene: dict[str, Any] = {
        "expected_target": "上海",
        "response": "上海",
        "new_prompt": "?",
        "variables": {},
    }
    summed: list[Any] = [
        {"prompt": "p", "scenes": [scene]},
        {"prompt": "q", "scene": [scene]},
        {"prompt": "r"},
    ]
    found = ask(server, "evaluate/summary", data=summed)["result"]["responses"]
    assert [each["errorCode"] for each in found] == [0, 0, 0]
    assert "1 of 1 exactly as expected" in found[0]["response"]
    assert found[0]["response"] == found[1]["response"]
    assert "without an expected answer" in found[2]["response"]


class Led:
    """A task on a platform whose model answers well once it is told to be short, and rewrites so when asked."""

    def __init__(self, folder: Path, spec: dict[str, Any]) -> None:
        self.folder, self.spec, self.state = folder, spec, dict[str, Any]()
        self.asked: list[str] = []

    def ask(self, path: str, body: Any) -> Any:
        text = body["messages"][-1]["content"]
        self.asked.append(text)
        if text.startswith("Rewrite"):
            said = "Be short. {input}" if "these answers were wrong" in text else "lost"
        else:
            word = text.rpartition(" ")[2]
            said = word if text.startswith("Be short.") else f"The answer is {word}"
        return {"choices": [{"message": {"content": said}}], "usage": {}}

    def progress(self, *_: Any, **__: Any) -> None: ...

    def save(self, state: Any) -> None:
        self.state = dict(state)


def test_measured_search_raises_the_score_and_asks_nothing_twice(tmp_path: Path):
    samples = tmp_path / "samples.jsonl"
    lines = [{"prompt": f"Name {word}", "response": word} for word in ("sail", "mast", "keel")]
    samples.write_text("\n".join(map(json.dumps, lines)))
    spec = {
        "content": "{input}",
        "operations": {"1": 1, "3": 2},
        "model": "m",
        "samples": str(samples),
        "scorer": "exact",
    }
    task: Any = Led(tmp_path / "scratch", spec)
    result = work.run(task)
    assert (result["content"], result["measured"]) == ("Be short. {input}", True)
    assert [tried["value"] for tried in result["search"][:2]] == [0.0, 1.0]
    assert len(task.asked) == len(set(task.asked))
    again: Any = Led(tmp_path / "scratch", spec)
    again.state = task.state
    assert work.run(again) == result
    assert again.asked == []


def test_rewriting_that_loses_a_variable_is_not_used(tmp_path: Path):
    spec: dict[str, Any] = {"content": "Name {input}", "operations": {}, "model": "m"}
    task: Any = Led(tmp_path, spec)
    result = work.run(task)
    assert (result["content"], result["measured"]) == ("Name {input}", False)
    assert result["search"][1]["wrong"] == "it lost {input}"
