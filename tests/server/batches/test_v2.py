"""`/v2/batches` (specification C.5) and `/v2/batchinference` (D.12) on a real server with real workers: OpenAI's own client and Qianfan's."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import openai
import pytest
from tests.conftest import Server, serving, wait_until
from tests.hub.s3_server import KEY_ID, SECRET, Store
from tests.hub.s3_server import serving as storing
from tests.server.conftest import Caller
from tests.server.drawing import data_uri, png

import yangfan
from yangfan import errors
from yangfan.server.completions import v2 as completions_v2
from yangfan.server.embeddings import v2 as embeddings_v2
from yangfan.server.images import v2 as images_v2
from yangfan.server.rerank import v2 as rerank_v2

WAIT_SECONDS = 60.0


@pytest.fixture(scope="module", name="server")
def server_fixture(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Generator[Server]:
    home = tmp_path_factory.mktemp("batches") / "home"
    environ = {
        "YANGFAN_FILES_QUOTA_BYTES": "200000",
        "YANGFAN_BATCH_AT_ONCE": "4",
        "YANGFAN_EGRESS_ALLOW": "127.0.0.1",
        "YANGFAN_S3_ENDPOINT": store.settings.endpoint,
        "YANGFAN_S3_REGION": store.settings.region,
        "YANGFAN_S3_ACCESS_KEY_ID": KEY_ID,
        "YANGFAN_S3_SECRET_ACCESS_KEY": SECRET,
    }
    with serving(home, environ=environ) as server:
        yield server


@pytest.fixture(scope="module", name="store")
def store_fixture() -> Generator[Store]:
    with storing() as store:
        yield store


@pytest.fixture(scope="module", name="ai")
def ai_fixture(server: Server) -> Generator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.base_url}/v2", api_key=server.bearer) as client:
        yield client


@pytest.fixture(scope="module", name="client")
def client_fixture(server: Server) -> Generator[yangfan.Client]:
    with yangfan.Client(
        server.base_url,
        bearer=server.bearer,
        access_key=server.access_key,
        secret_access_key=server.secret_access_key,
    ) as client:
        yield client


def request(number: int, text: str = "", **body: Any) -> bytes:
    line = {
        "custom_id": f"r{number}",
        "method": "POST",
        "url": "/v2/chat/completions",
        "body": {
            "model": "echo",
            "messages": [{"role": "user", "content": text or f"line {number}"}],
            **body,
        },
    }
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


def sent(ai: openai.OpenAI, content: bytes) -> str:
    return ai.files.create(file=("requests.jsonl", content), purpose="batch").id


def begun(ai: openai.OpenAI, content: bytes, **more: Any) -> str:
    more = {"endpoint": "/v1/chat/completions", "completion_window": "24h", **more}
    return ai.batches.create(input_file_id=sent(ai, content), **more).id


def until(found: Callable[[], bool], what: str) -> None:
    wait_until(found, what, WAIT_SECONDS)


def ended(ai: openai.OpenAI, id: str) -> Any:
    until(
        lambda: ai.batches.retrieve(id).status in {"completed", "failed", "expired", "cancelled"},
        f"batch {id} to end",
    )
    return ai.batches.retrieve(id)


def lines(ai: openai.OpenAI, file_id: str | None) -> list[Any]:
    assert file_id is not None
    return [json.loads(line) for line in ai.files.content(file_id).read().splitlines()]


def test_batch_answers_each_line_and_books_it_apart(
    ai: openai.OpenAI, client: yangfan.Client, server: Server
):
    content = b"".join(request(number, f"第 {number} 行") for number in range(20))
    content += request(90, model="nobody") + b"\n" + request(91, temperature=9.0)
    before = time.time()
    made = ai.batches.create(
        input_file_id=sent(ai, content),
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"for": "测试"},
    )
    assert (made.object, made.status, made.endpoint) == (
        "batch",
        "validating",
        "/v2/chat/completions",
    )
    assert made.expires_at is not None
    assert abs(made.expires_at - before - 86_400) < 60
    batch = ended(ai, made.id)
    assert (batch.status, batch.metadata) == ("completed", {"for": "测试"})
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (22, 20, 2)
    answers = lines(ai, batch.output_file_id)
    assert [answer["custom_id"] for answer in answers] == [f"r{number}" for number in range(20)]
    first = answers[0]
    assert first["error"] is None
    assert first["response"]["status_code"] == 200
    assert first["response"]["body"]["choices"][0]["message"]["content"] == "第 0 行"
    wrong = {line["custom_id"]: line for line in lines(ai, batch.error_file_id)}
    assert wrong["r90"]["response"]["status_code"] == 401
    assert "nobody" in wrong["r90"]["response"]["body"]["error"]["message"]
    assert wrong["r91"]["response"]["status_code"] == 400
    times = (batch.created_at, batch.in_progress_at, batch.finalizing_at, batch.completed_at)
    assert list(times) == sorted(times)
    assert ai.files.retrieve(batch.output_file_id).purpose == "batch_output"
    rows = [row for row in client.usage.list() if row.key_id.startswith("batches-of-")]
    assert sum(row.requests for row in rows) >= 20
    assert {row.price_share for row in rows} == {0.4}
    until(lambda: not list((server.home / "batches").glob("*")), "the folder to be gone")


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"{}\n", "invalid_json_line", 1),
        (request(1) + request(1), "duplicate_custom_id", 2),
        (request(1).replace(b"POST", b"GET"), "invalid_method", 1),
        (request(1).replace(b"chat/completions", b"embeddings"), "mismatched_endpoint", 1),
        (request(1, stream=True), "invalid_request", 1),
        (request(1, model=""), "missing_required_parameter", 1),
        (request(1).replace(b'"r1"', b'""'), "invalid_custom_id", 1),
        (b"\n\n", "empty_file", None),
    ],
)
def test_file_that_cannot_be_worked_on_says_where(
    ai: openai.OpenAI, content: bytes, code: str, line: int | None
):
    batch = ended(ai, begun(ai, content))
    assert batch.status == "failed"
    found = batch.errors.data[0]
    assert (found.code, found.line) == (code, line)
    assert batch.output_file_id is None


def test_batches_are_listed_and_belong_to_their_application(
    ai: openai.OpenAI, client: yangfan.Client, server: Server
):
    ids = [begun(ai, request(number)) for number in range(3)]
    found = [batch.id for batch in ai.batches.list(limit=2)]
    assert [id for id in found if id in ids] == ids[::-1]
    app = client.apps.create("other")
    other = client.keys.create(name="other", app_id=app.id)
    with openai.OpenAI(base_url=f"{server.base_url}/v2", api_key=other.secret) as stranger:
        assert not stranger.batches.list().data
        with pytest.raises(openai.BadRequestError, match="no batch"):
            stranger.batches.retrieve(ids[0])
        with pytest.raises(openai.BadRequestError, match="no file"):
            stranger.batches.create(
                input_file_id=sent(ai, request(1)),
                endpoint="/v1/chat/completions",
                completion_window="24h",
            )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"endpoint": "/v2/models"}, "endpoint must be one of"),
        ({"completion_window": "soon"}, "completion_window"),
        ({"metadata": {"x" * 65: "y"}}, "metadata has keys of at most 64"),
        (
            {"extra_body": {"output_expires_after": {"anchor": "created_at", "seconds": 1}}},
            "must be in",
        ),
    ],
)
def test_order_that_is_wrong_is_refused(ai: openai.OpenAI, wrong: dict[str, Any], message: str):
    with pytest.raises(openai.BadRequestError, match=message):
        begun(ai, request(1), **wrong)


def test_files_of_other_purposes_and_too_many_files_are_refused(ai: openai.OpenAI):
    other = ai.files.create(file=("a.jsonl", request(1)), purpose="user_data").id
    with pytest.raises(openai.BadRequestError, match="send it with purpose batch"):
        ai.batches.create(
            input_file_id=other, endpoint="/v1/chat/completions", completion_window="24h"
        )
    with pytest.raises(openai.PermissionDeniedError, match="may have 200000 bytes together"):
        ai.files.create(file=("large.bin", b"x" * 200_001), purpose="user_data")
    kept = ai.files.create(
        file=("a.txt", b"x"),
        purpose="user_data",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert kept.expires_at is not None
    assert kept.expires_at - kept.created_at == 3600
    with pytest.raises(openai.BadRequestError, match="seconds must be in"):
        ai.files.create(
            file=("a.txt", b"x"),
            purpose="user_data",
            expires_after={"anchor": "created_at", "seconds": 60},
        )


def slow(number: int) -> bytes:
    """A line of a few hundred tokens, for a server whose echo takes its time."""
    return request(number, "词" * 200)


def test_batch_is_paused_resumed_and_cancelled(tmp_path: Path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home/yangfan.toml").write_text("[options.echo]\ndelay_seconds = 0.001\n")
    with (
        serving(tmp_path / "home") as server,
        openai.OpenAI(base_url=f"{server.base_url}/v2", api_key=server.bearer) as ai,
        yangfan.Client(
            server.base_url,
            bearer=server.bearer,
            access_key=server.access_key,
            secret_access_key=server.secret_access_key,
        ) as client,
    ):
        id = begun(ai, b"".join(map(slow, range(300))))

        def completed() -> int:
            return client.batches.get(id).completed

        until(lambda: completed() > 0, "the first answers")
        job = client.batches.get(id).job_id
        client.jobs.pause(job)
        until(lambda: client.jobs.get(job).state == "paused", "the pause")
        rest = completed()
        assert 0 < rest < 300
        client.jobs.resume(job)
        until(lambda: completed() > rest, "more answers")
        cancelled = ai.batches.cancel(id)
        assert cancelled.status in {"cancelling", "in_progress", "cancelled"}
        batch = ended(ai, id)
        assert batch.status == "cancelled"
        answers = lines(ai, batch.output_file_id)
        assert len(answers) == completed() < 300
        assert max(Counter(answer["custom_id"] for answer in answers).values()) == 1
        assert ai.batches.cancel(id).status == "cancelled"


def test_task_of_qianfan_is_created_stopped_and_shown(
    ai: openai.OpenAI, client: yangfan.Client, caller: Caller
):
    queries = [
        {"id": str(number), "query": f"问题 {number}"}
        if number % 2
        else {"id": number, "query": [{"role": "user", "content": f"问题 {number}"}]}
        for number in range(6)
    ]
    content = b"\n".join(json.dumps(query).encode() for query in queries)
    file = client.files.upload(content, "batch", name="queries.jsonl")

    def act(action: str, **body: Any) -> Any:
        path = f"/v2/batchinference?Action={action}"
        return caller.ask("POST", path, body, caller.signed("POST", path))

    made = act(
        "CreateBatchInferenceTask",
        name="t",
        modelId="echo",
        inferenceParams={"temperature": 0.5, "system": "说中文", "max_output_tokens": 50},
        inputFileId=file.id,
    )
    id = made.json["result"]["taskId"]
    assert id.startswith("infer-")

    def task() -> Any:
        return act("DescribeBatchInferenceTask", taskId=id).json

    until(lambda: task()["runStatus"] in {"Done", "Failed"}, "the task to end")
    shown = task()
    assert (shown["runStatus"], shown["progress"]) == ("Done", 6)
    result = shown["result"]
    assert (result["runStatus"], result["inputTokenUsage"] > 0) == ("Done", True)
    assert result["inferenceParams"]["temperature"] == 0.5
    answers = lines(ai, result["outputFileId"])
    assert {str(answer["id"]) for answer in answers} == {str(number) for number in range(6)}
    assert answers[1]["output"]["result"] == "问题 1"
    assert answers[1]["output"]["finish_reason"] == "normal"
    listed = act("DescribeBatchInferenceTasks", runStatus=["Done"], pageReverse=True).json["result"]
    assert listed["taskList"][0]["taskId"] == id
    assert act("DescribeBatchInferenceTasks", runStatus=["Nope"]).status == 400
    afs = act("CreateBatchInferenceTask", name="t", modelId="echo", afsConfig={"userName": "me"})
    assert (afs.status, afs.json["code"]) == (400, "InappropriateJSON")
    assert "param[userName]" in afs.json["message"]
    nobody = act("CreateBatchInferenceTask", name="t", modelId="amv-nobody", inputFileId=file.id)
    assert nobody.status == 404
    assert act("StopBatchInferenceTask", taskId=id).json["code"] == "OperationNotAllowed"


def test_model_version_runs_on_an_engine_of_its_own_while_it_is_asked(
    ai: openai.OpenAI, client: yangfan.Client, caller: Caller
):
    def act(action: str, **body: Any) -> Any:
        path = f"/v2/batchinference?Action={action}"
        return caller.ask("POST", path, body, caller.signed("POST", path))

    version = client.models.version("echo").id
    content = b'{"id": "1", "query": "sail"}\n{"id": "2", "query": "mast"}\n'
    task: dict[str, Any] = {
        "name": "own",
        "modelId": version,
        "inputFileId": client.files.upload(content, "batch", name="queries.jsonl").id,
    }

    def ran(**options: Any) -> Any:
        made = act("CreateBatchInferenceTask", **task, engineOptions=options)
        id = made.json["result"]["taskId"]

        def shown() -> Any:
            return act("DescribeBatchInferenceTask", taskId=id).json["result"]

        until(lambda: shown()["runStatus"] in {"Done", "Failed"}, "the task to end")
        return shown()

    done = ran(prefix="own ")
    assert (done["runStatus"], done["modelId"]) == ("Done", version)
    answers = [each["output"]["result"] for each in lines(ai, done["outputFileId"])]
    assert answers == ["own sail", "own mast"]
    failed = ran(start_fails=True)
    assert (failed["runStatus"], failed["progress"]) == ("Failed", 0)
    assert "echo:1 cannot be asked: " in failed["message"]
    refused = act("CreateBatchInferenceTask", **task, engineOptions={"slots": 0})
    assert (refused.status, "slots must be from 1" in refused.json["message"]) == (400, True)
    # In OpenAI's form the requests name it.
    batch = ended(ai, begun(ai, request(1, model=version) + request(2, model="echo")))
    assert (batch.status, batch.request_counts.completed) == ("completed", 2)
    two = ended(ai, begun(ai, request(1, model="amv-a") + request(2, model="amv-b")))
    assert two.status == "failed"
    assert two.errors.data[0].code == "several_model_versions"
    some = ended(ai, begun(ai, request(1, model="amv-nobody") + request(2)))
    assert (some.status, some.request_counts.completed) == ("completed", 1)
    (refused_line,) = lines(ai, some.error_file_id)
    message = refused_line["response"]["body"]["error"]["message"]
    assert "no model 'amv-nobody' can be deployed" in message


@pytest.fixture(scope="module", name="caller")
def caller_fixture(server: Server) -> Caller:
    return Caller(server)


def test_results_and_refusals_reach_the_sdk(client: yangfan.Client, tmp_path: Path):
    path = tmp_path / "requests.jsonl"
    path.write_bytes(request(1) + request(2))
    batch = client.batches.create(path, endpoint="/v2/chat/completions", metadata={"a": "b"})
    batch = client.batches.wait(batch.id, poll_seconds=0.1, timeout_seconds=WAIT_SECONDS)
    assert (batch.state, batch.total, batch.completed) == ("completed", 2, 2)
    results = {result.custom_id: result for result in client.batches.results(batch.id)}
    body = results["r1"].body
    assert body is not None
    assert body["choices"][0]["message"]["content"] == "line 1"
    assert batch.id in [each.id for each in client.batches.list()]
    with pytest.raises(errors.Invalid, match="no batch"):
        client.batches.get("batch_0")
    with pytest.raises(errors.Invalid, match="cannot be cancelled"):
        client.batches.cancel(batch.id)


@pytest.mark.parametrize(
    ("endpoint", "body", "part"),
    [
        ("completions", {"prompt": "go on"}, "choices"),
        ("embeddings", {"input": ["a", "b"]}, "data"),
        ("rerank", {"query": "a", "documents": ["b", "a"]}, "results"),
        ("images/generations", {"prompt": "a sail"}, "data"),
        ("images/edits", {"prompt": "a sail", "image": data_uri(png(128, 128))}, "data"),
    ],
)
def test_batch_of_anything_that_models_do(
    ai: openai.OpenAI, endpoint: str, body: dict[str, Any], part: str
):
    line = {"method": "POST", "url": f"/v1/{endpoint}", "body": {"model": "echo", **body}}
    content = "".join(json.dumps({"custom_id": f"r{n}", **line}) + "\n" for n in range(2))
    batch = ended(ai, begun(ai, content.encode(), endpoint=f"/v1/{endpoint}"))
    assert batch.status == "completed"
    assert batch.request_counts.completed == 2, lines(ai, batch.error_file_id)
    for answer in lines(ai, batch.output_file_id):
        assert answer["response"]["body"][part]


def _image_routes(logic: Any) -> Any:
    return images_v2.routes(logic, cast("Any", None))


ROUTES: list[tuple[Any, dict[str, Any]]] = [
    (completions_v2.routes, {"prompt": "a"}),
    (embeddings_v2.routes, {"input": "a"}),
    (rerank_v2.routes, {"query": "a", "documents": ["b"]}),
    (_image_routes, {"prompt": "a"}),
]


class Asked(BaseException):
    """A call came this far."""


@pytest.mark.parametrize(("routes", "wire"), ROUTES)
async def test_calls_of_jobs_wait_for_all_others(routes: Any, wire: dict[str, Any]):
    lanes: list[bool] = []

    class Logic:
        def target(self, name: str) -> str:
            return name

        async def answer(self, *_: Any, low: bool = False, **__: Any) -> Any:
            lanes.append(low)
            raise Asked

    (route, *_) = routes(Logic())
    body = msgspec.convert({"model": "echo", **wire}, route.endpoint.request)
    for kind in ("job", "key"):
        call = SimpleNamespace(request=body, meter=None, principal=SimpleNamespace(kind=kind))
        with pytest.raises(Asked):
            await route.handler(call)
    assert lanes == [True, False]


def test_task_of_qianfan_reads_from_a_bucket_and_writes_to_it(caller: Caller, store: Store):
    def act(action: str, **body: Any) -> Any:
        path = f"/v2/batchinference?Action={action}"
        return caller.ask("POST", path, body, caller.signed("POST", path)).json

    store.objects["in/1.jsonl"] = b'{"id": "1", "query": "sail"}\n{"id": "2", "query": "mast"}'
    store.objects["in/2.jsonl"] = b'{"id": "3", "query": "keel"}\n'
    store.objects["in/readme.md"] = b"not a request"
    store.failures = [503]
    task = {"modelId": "echo", "outputBosUri": "bos:/models/out"}
    id = act("CreateBatchInferenceTask", name="b", inputBosUri="bos:/models/in", **task)["result"][
        "taskId"
    ]

    def shown() -> Any:
        return act("DescribeBatchInferenceTask", taskId=id)["result"]

    until(lambda: shown()["runStatus"] in {"Done", "Failed"}, "the task to end")
    assert (shown()["runStatus"], shown()["progress"]) == ("Done", 3)
    assert shown()["outputDir"]
    written = store.objects[f"out/{id}/output.jsonl"].splitlines()
    answers = {row["id"]: row["output"]["result"] for row in map(json.loads, written)}
    assert answers == {"1": "sail", "2": "mast", "3": "keel"}
    assert f"out/{id}/error.jsonl" not in store.objects
    nothing = act("CreateBatchInferenceTask", name="b", inputBosUri="bos:/models/none", **task)
    id = nothing["result"]["taskId"]
    until(lambda: shown()["runStatus"] in {"Done", "Failed"}, "the task to end")
    assert shown()["runStatus"] == "Failed"
