"""Rewriting and grading prompts (specification D.13) on a real server, and the measured search with a model that can be led."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import pytest
from tests.conftest import Server, serving, wait_until
from tests.server.conftest import Caller

import yangfan
from yangfan import errors
from yangfan.protocol import templates
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
    assert [tried["value"] for tried in found["search"]] == [1.0]
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

    def progress(self, done: float, total: float, *_: Any) -> None:
        assert done <= total

    def save(self, state: Any) -> None:
        self.state = dict(state)


def samples(folder: Path, count: int) -> str:
    words = ["sail", "mast", "keel", "rudder", "anchor", "deck", "bow", "stern", "hull", "rope"]
    lines = [{"prompt": f"Name {word}", "response": word} for word in words[:count]]
    path = folder / "samples.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


def test_measured_search_raises_the_score_and_asks_nothing_twice(tmp_path: Path):
    spec = {
        "content": "{input}",
        "operations": {"1": 1, "3": 2},
        "model": "m",
        "samples": samples(tmp_path, 3),
        "scorer": "exact",
    }
    task: Any = Led(tmp_path / "scratch", spec)
    result = work.run(task)
    assert (result["content"], result["measured"]) == ("Be short. {input}", True)
    given, closed, rewritten = result["search"]
    assert (given["value"], rewritten["value"], rewritten["parent"]) == (0.0, 1.0, 0)
    assert (closed["change"], closed["value"]) == ("form", 0.0)
    assert closed["content"] == "{input}\n\nAnswer in at most 1 word, without explanation."
    assert rewritten["low"] < 1.0 == rewritten["high"]
    assert result["answers"] == len(task.asked) - 1 == 9
    assert len(task.asked) == len(set(task.asked))
    again: Any = Led(tmp_path / "scratch", spec)
    again.state = task.state
    assert work.run(again) == result
    assert again.asked == []


class Killed(BaseException): ...


class Obstinate(Led):
    """It rewrites into nothing, and where it is shown how answers right what is not four letters long."""

    saves = 0

    def ask(self, path: str, body: Any) -> Any:
        *shown, last = body["messages"]
        self.asked.append(json.dumps(body))
        word = last["content"].partition("\n")[0].rpartition(" ")[2]
        said = word if shown and len(word) != 4 else "no"
        said = "" if last["content"].startswith("Rewrite") else said
        return {"choices": [{"message": {"content": said}}], "usage": {}}

    def save(self, state: Any) -> None:
        super().save(state)
        self.saves += 1
        if self.saves == 1:
            raise Killed


def obstinate_spec(folder: Path, **fields: Any) -> dict[str, Any]:
    return {
        "content": "Say {input}",
        "operations": {"3": 9},
        "model": "m",
        "samples": samples(folder, 10),
        "scorer": "exact",
        "seed": 7,
        **fields,
    }


def test_examples_and_closing_lines_are_measured_before_anything_is_rewritten(tmp_path: Path):
    task: Any = Obstinate(tmp_path / "one", obstinate_spec(tmp_path))
    task.saves = 1
    found = work.run(task)
    changes = [tried.get("change", "") for tried in found["search"]]
    swept = ["examples", "form", "examples", "form", "form", "examples and form"]
    assert changes[:7] == ["", *swept]
    assert all("value" in tried for tried in found["search"][:7])
    given, shown = found["search"][:2]
    assert given["value"] == 0.0
    assert 0.0 < shown["value"] < 1.0
    assert found["content"] == shown["content"]
    *examples, last = templates.turns_of(shown["content"])
    assert last == ("user", "Say {input}")
    learned = {text for role, text in examples if role == "assistant"}
    assert [text for role, text in examples if role == "user"] == [
        f"Say Name {text}" for role, text in examples if role == "assistant"
    ]
    assert len(learned) == 4
    # Nobody is shown what decides.
    given_first = [json.loads(each)["messages"][0]["content"] for each in task.asked[:5]]
    decided = {each.removeprefix("Say Name ") for each in given_first}
    assert len(decided) == 5
    assert not learned & decided


def test_examples_are_turns_before_what_a_sample_says_itself(tmp_path: Path):
    """A prompt that spells out turns gets no worked examples; it is asked in its turns, behind the system's word."""
    rows = [{"system": "Be brief.", "prompt": "one", "response": "1"}] * 12
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    content = "=== user ===\nSay two\n=== assistant ===\n2\n=== user ===\nSay {input}"
    spec = obstinate_spec(tmp_path, content=content, samples=str(path))
    task: Any = Obstinate(tmp_path / "one", spec)
    task.saves = 1
    found = work.run(task)
    assert {tried.get("change", "") for tried in found["search"]} == {"", "form", "instruction"}
    assert json.loads(task.asked[0])["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Say two"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "Say one"},
    ]


@pytest.mark.parametrize("prompt", ["Name {word}", "Name\n=== user ===\n"])
def test_samples_that_would_be_read_as_variables_or_turns_are_no_examples(
    tmp_path: Path, prompt: str
):
    path = tmp_path / "rows.jsonl"
    lines = [{"prompt": f"{prompt}{n}", "response": f"{n}"} for n in range(12)]
    path.write_text("\n".join(map(json.dumps, lines)))
    task: Any = Obstinate(tmp_path / "one", obstinate_spec(tmp_path, samples=str(path)))
    task.saves = 1
    search = work.run(task)["search"]
    assert not any(templates.spells_turns(tried["content"]) for tried in search)


def test_search_that_is_killed_anywhere_comes_to_the_same_end(tmp_path: Path):
    """The worker dies at every checkpoint in turn."""
    spec = obstinate_spec(tmp_path)
    undisturbed: Any = Obstinate(tmp_path / "one", spec)
    undisturbed.saves = 1
    wanted = work.run(undisturbed)
    assert {"", "it is empty"} <= {tried["wrong"] for tried in wanted["search"]}
    asked: list[str] = []
    state: dict[str, Any] = {}
    result = None
    while result is None:
        task: Any = Obstinate(tmp_path / "two", spec)
        task.state = state
        with contextlib.suppress(Killed):
            result = work.run(task)
        state, asked = task.state, asked + task.asked
    assert result == wanted
    assert sorted(asked) == sorted(undisturbed.asked)


def test_budget_is_kept_and_must_do_for_one_prompt(tmp_path: Path):
    spec: dict[str, Any] = {
        "content": "{input}",
        "operations": {"3": 9},
        "model": "m",
        "samples": samples(tmp_path, 9),
        "scorer": "exact",
        "budget": 20,
    }
    task: Any = Led(tmp_path, spec)
    assert work.run(task)["answers"] <= 20
    with pytest.raises(errors.Invalid, match="takes 9 answers, and the budget is 5"):
        work.run(cast("Any", Led(tmp_path, {**spec, "budget": 5})))


def test_rewriting_that_loses_a_variable_is_not_used(tmp_path: Path):
    spec: dict[str, Any] = {"content": "Name {input}", "operations": {}, "model": "m"}
    task: Any = Led(tmp_path, spec)
    result = work.run(task)
    assert (result["content"], result["measured"]) == ("Name {input}", False)
    assert result["search"][1]["wrong"] == "it lost {input}"


@pytest.fixture(scope="module", name="client")
def client_fixture(server: Server) -> Generator[yangfan.Client]:
    with yangfan.Client(
        server.base_url,
        bearer=server.bearer,
        access_key=server.access_key,
        secret_access_key=server.secret_access_key,
    ) as client:
        yield client


def test_sdk_searches_on_a_dataset_version(client: yangfan.Client):
    pytest.importorskip("pyarrow", reason="the extra `data` is not installed")
    client.datasets.create("cities", "PromptResponse")
    client.datasets.add("cities", [{"prompt": f"{n}", "response": f"say {n}"} for n in range(12)])
    client.datasets.publish("cities")
    made = client.prompts.optimize(
        "{input}", model="echo", dataset="cities:1", scorer="f1", rounds=3, seed=3
    )
    found = client.prompts.wait_optimization(made.id, poll_seconds=0.1, timeout_seconds=60)
    assert (found.state, found.measured, found.content) == ("done", True, "{input}"), found
    given, *tried = found.search
    assert given.value == pytest.approx(2 / 3)
    assert given.low is not None
    assert [each.change for each in tried] == ["examples", "form", "instruction"]
    assert found.answers <= 6 + 3 * (2 * 3 + 6)
    assert client.jobs.get(found.job_id).state == "succeeded"
    with pytest.raises(errors.NotFound, match="cities:9"):
        client.prompts.optimize("{input}", model="echo", dataset="cities:9")
    with pytest.raises(errors.NotFound, match="no optimisation"):
        client.prompts.optimization("task-1")


def test_optimisation_that_fails_or_is_stopped_says_so(client: yangfan.Client):
    empty = client.files.upload(b"\n", "evals", name="e.jsonl").id
    failed = client.prompts.optimize("{input}", model="echo", dataset=empty)
    found = client.prompts.wait_optimization(failed.id, poll_seconds=0.1, timeout_seconds=60)
    assert (found.state, found.optimized) == ("failed", "")
    assert "no samples that can be asked" in found.message
    with pytest.raises(errors.Conflict):
        client.prompts.stop_optimization(failed.id)
    many = b"\n".join(b'{"prompt": "%d", "response": "x"}' % n for n in range(200))
    file = client.files.upload(many, "evals", name="m.jsonl").id
    made = client.prompts.optimize("{input}", model="echo", dataset=file, rounds=10)
    client.prompts.stop_optimization(made.id)
    stopped = client.prompts.wait_optimization(made.id, poll_seconds=0.1, timeout_seconds=60)
    assert stopped.state == "failed"
