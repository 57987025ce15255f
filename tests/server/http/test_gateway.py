"""From a request to its answer: over real sockets, behind the real listener."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, MutableMapping
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route as Page
from tests.server.http.conftest import (
    MAX_BODY_BYTES,
    WAIT_SECONDS,
    Answer,
    OpenSite,
    Question,
    allow,
    endpoint,
    repeat,
    streaming,
)

from yangfan import errors
from yangfan.protocol.endpoint import Auth, Dialect
from yangfan.server.http import (
    Call,
    Gateway,
    Metered,
    Principal,
    Reply,
    Route,
    Stream,
    Unmetered,
)


class Target:
    """A model to reserve for."""

    model = "m"
    spellings = ("m",)


def always(meter: Unmetered) -> Callable[[Principal], Unmetered]:
    """The same meter for every call."""

    def give(_principal: Principal) -> Unmetered:
        return meter

    return give


V1_PATH = "/rpc/2.0/ai_custom/v1/wenxinworkshop/ask"


async def test_answer_is_one_line_of_json_with_its_length(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)])
    heard = await site.ask(body='{"text":"你好\\n"}')
    assert heard.status == 200
    assert heard.headers["content-type"] == "application/json"
    assert heard.body == '{"text":"你好\\n"}'.encode()


async def test_several_requests_share_a_connection(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)])
    line = await site.connect()
    for number in range(3):
        line.ask(body=f'{{"text":"{number}"}}')
        assert (await line.hear()).json == {"text": str(number)}


async def test_requests_sent_ahead_are_answered_in_order(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)])
    line = await site.connect()
    for number in range(5):
        line.ask(body=f'{{"text":"{number}"}}')
    assert [(await line.hear()).json["text"] for _ in range(5)] == list("01234")


@pytest.mark.parametrize("name", ["Request_id", "request_id", "Request-Id", "X-Request-Id"])
async def test_request_id_is_echoed(open_site: OpenSite, name: str):
    site = await open_site([Route(endpoint(), repeat)])
    heard = await site.ask(headers={name: "sdk-py-0.4.12-abc"})
    assert heard.headers["x-baidu-request-id"] == "sdk-py-0.4.12-abc"


@pytest.mark.parametrize("value", ["a b", "a" * 129, "", "é", "a\tb"])
async def test_harmful_request_id_is_replaced(open_site: OpenSite, value: str):
    site = await open_site([Route(endpoint(), repeat)])
    heard = await site.ask(headers={"Request_id": value})
    assert heard.headers["x-baidu-request-id"].startswith("req-")


async def test_every_answer_has_a_new_id_when_none_was_given(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)])
    ids = {(await site.ask(path)).headers["x-baidu-request-id"] for path in ("/v2/ask", "/v2/no")}
    assert len(ids) == 2


async def test_offline_work_without_a_turn_has_a_code_of_its_own(open_site: OpenSite):
    async def full(_call: Call[Question]) -> Reply:
        raise errors.PreemptibleLimited("try without preemptible", retry_after_seconds=3)

    def job(_scope: object, _auth: Auth) -> Principal:
        return Principal("key", "app", "job")

    routes = [Route(endpoint(auth="inference"), full)]
    refused = await (await open_site(routes, authenticate=job)).ask()
    error = refused.json["error"]
    assert (refused.status, error["code"]) == (429, "Offline_batch_reasoning_refused")
    assert "until its batch expires" in error["message"]
    assert refused.headers["retry-after"] == "3"
    refused = await (await open_site(routes)).ask()
    assert refused.json["error"]["code"] == "preemptible_rate_limit_exceeded"


async def test_authentication_gets_the_head_and_what_the_endpoint_needs(open_site: OpenSite):
    asked: list[tuple[str, str]] = []

    def authenticate(scope: Any, needs: Auth) -> Principal:
        asked.append((scope["path"], needs))
        return Principal("key-1", "app-1", "bearer")

    async def who(call: Call[Question]) -> Reply:
        return Reply(Answer(call.principal.key_id))

    routes = [
        Route(endpoint("/v2/signed", auth="signature"), who),
        Route(endpoint("/v2/open", auth="none"), who),
    ]
    site = await open_site(routes, authenticate=authenticate)
    assert (await site.ask("/v2/signed")).json == {"text": "key-1"}
    assert (await site.ask("/v2/open")).json == {"text": ""}
    assert asked == [("/v2/signed", "signature")]


async def test_stranger_is_refused_before_the_body_is_read(open_site: OpenSite):
    def authenticate(scope: object, needs: Auth) -> Principal:
        raise errors.BearerInvalid("who?")

    site = await open_site([Route(endpoint(auth="inference"), repeat)], authenticate=authenticate)
    line = await site.connect()
    line.send("POST /v2/ask HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    assert (await line.hear()).status == 401


async def test_inference_answers_carry_the_rate_limit_headers_even_when_refused(
    open_site: OpenSite,
):
    meter = Unmetered(((b"X-Ratelimit-Limit-Requests", b"100"),))
    routes = [Route(endpoint(auth="inference"), repeat), Route(endpoint("/v2/open"), repeat)]
    site = await open_site(routes, meter=always(meter))
    assert (await site.ask()).headers["x-ratelimit-limit-requests"] == "100"
    assert (await site.ask(body="{")).headers["x-ratelimit-limit-requests"] == "100"
    assert "x-ratelimit-limit-requests" not in (await site.ask("/v2/open")).headers


class Watched(Unmetered):
    """A meter that remembers what happened to it."""

    __slots__ = ("closed", "reserved")

    def __init__(self) -> None:
        super().__init__()
        self.reserved = False
        self.closed = 0

    def reserve(self, target: Metered, tokens: int) -> None:
        self.reserved = True

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("ending", ["answer", "stream", "refusal", "defect", "bad body"])
async def test_meter_is_closed_however_the_call_ends(open_site: OpenSite, ending: str):
    meter = Watched()

    async def handle(call: Call[Question]) -> Reply | Stream:
        call.meter.reserve(Target(), 1)
        if ending == "refusal":
            raise errors.Overloaded("no room")
        if ending == "defect":
            raise ZeroDivisionError
        return Stream(events()) if ending == "stream" else Reply(Answer("a"))

    async def events() -> AsyncGenerator[Answer]:
        yield Answer("a")

    route = Route(endpoint(auth="inference"), handle)
    site = await open_site([route], meter=always(meter))
    heard = await site.ask(body="{" if ending == "bad body" else "{}")
    status = {"refusal": 429, "defect": 500, "bad body": 400}.get(ending, 200)
    assert (heard.status, meter.closed) == (status, 1)


@pytest.mark.parametrize("streamed", [False, True])
async def test_answer_for_which_nothing_was_reserved_is_a_defect(
    open_site: OpenSite, streamed: bool
):
    async def handle(_call: Call[Question]) -> Reply | Stream:
        return Stream(events()) if streamed else Reply(Answer("a"))

    async def events() -> AsyncGenerator[Answer]:
        yield Answer("a")

    route = Route(endpoint(auth="inference"), handle)
    site = await open_site([route], meter=always(Watched()))
    assert (await site.ask()).status == 500


async def test_body_of_exactly_the_limit_is_read(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)])
    body = '{"text":"%s"}' % ("a" * (MAX_BODY_BYTES - 11))
    assert len(body) == MAX_BODY_BYTES
    assert (await site.ask(body=body)).status == 200
    heard = await site.ask(body=body + " ")
    assert (heard.status, heard.json["error"]["code"]) == (413, "characters_too_long")


async def test_body_in_chunks_is_joined_and_counted(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)])
    line = await site.connect()
    head = "POST /v2/ask HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    line.send(head + '6\r\n{"text\r\n5\r\n":"a"\r\n1\r\n}\r\n0\r\n\r\n')
    assert (await line.hear()).json == {"text": "a"}
    line.send(head + f"{MAX_BODY_BYTES:x}\r\n{' ' * MAX_BODY_BYTES}\r\n2\r\n{{}}\r\n")
    assert (await line.hear()).status == 413


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "GET", "DELETE"])
async def test_other_methods_are_told_which_is_right(open_site: OpenSite, method: str):
    site = await open_site([Route(endpoint(), repeat)])
    heard = await site.ask(method=method)
    assert (heard.status, heard.headers["allow"]) == (405, "POST")
    if method != "HEAD":
        assert heard.json["error"]["message"] == f"Only POST requests are accepted, got {method}"


async def test_pages_get_what_no_route_knows_and_only_to_read(open_site: OpenSite):
    async def page(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("page")

    pages = Starlette(routes=[Page("/docs", page)])
    site = await open_site([Route(endpoint(), repeat)], pages=pages, page_paths=["/docs"])
    assert (await site.ask("/docs", method="GET")).body == b"page"
    heard = await site.ask("/docs")
    assert (heard.status, heard.headers["allow"]) == (405, "GET, HEAD")
    heard = await site.ask("/elsewhere", method="GET")
    assert (heard.status, heard.json["error"]["code"]) == (404, "path_not_found")


@pytest.mark.parametrize("path", ["/v2/ask", V1_PATH])
async def test_defect_is_told_by_its_id_and_logged_in_full(
    open_site: OpenSite, caplog: pytest.LogCaptureFixture, path: str
):
    async def fail(call: Call[Question]) -> Reply:
        raise RuntimeError("secret detail")

    dialect: Dialect = "v1" if path == V1_PATH else "v2"
    site = await open_site([Route(endpoint(path, dialect=dialect), fail)])
    with caplog.at_level(logging.ERROR):
        heard = await site.ask(path, headers={"Request_id": "my-id"})
    assert b"secret detail" not in heard.body
    text = "Internal error; the server's log has it under my-id"
    if dialect == "v1":
        assert (heard.status, heard.json["error_code"]) == (200, 336000)
        assert heard.json["error_msg"] == text
    else:
        assert (heard.status, heard.json["error"]["code"]) == (500, "internal_error")
        assert heard.json["error"]["message"] == text
    assert (await site.ask("/v2/nothing")).status == 404


# Streams


async def two_events() -> AsyncGenerator[Answer]:
    yield Answer("an event")
    yield Answer("the end")


async def test_v2_stream_ends_with_done(open_site: OpenSite):
    site = await open_site([Route(endpoint(), streaming(two_events))])
    heard = await site.ask()
    assert heard.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert heard.headers["cache-control"] == "no-cache"
    assert (
        heard.body == b'data: {"text":"an event"}\n\ndata: {"text":"the end"}\n\ndata: [DONE]\n\n'
    )


async def test_v1_stream_has_no_done_and_hides_the_word_event(open_site: OpenSite):
    site = await open_site([Route(endpoint(V1_PATH, dialect="v1"), streaming(two_events))])
    body = (await site.ask(V1_PATH)).body
    assert b"event" not in body
    events = [json.loads(part.removeprefix(b"data: ")) for part in body.split(b"\n\n") if part]
    assert events == [{"text": "an event"}, {"text": "the end"}]


@pytest.mark.parametrize(("path", "status"), [("/v2/ask", 429), (V1_PATH, 200)])
async def test_error_before_the_first_event_is_plain_json(
    open_site: OpenSite, path: str, status: int
):
    async def events() -> AsyncGenerator[Answer]:
        raise errors.Overloaded("later", retry_after_seconds=2)
        yield Answer("never")

    dialect: Dialect = "v1" if path == V1_PATH else "v2"
    site = await open_site([Route(endpoint(path, dialect=dialect), streaming(events))])
    heard = await site.ask(path)
    assert heard.status == status
    assert heard.headers["content-type"] == "application/json"
    assert b"later" in heard.body
    assert b"\n" not in heard.body


@pytest.mark.parametrize(
    ("error", "code", "v1_code"),
    [
        (errors.EngineFailed("gone"), "dispatch_internal_error", 336100),
        (RuntimeError("defect"), "internal_error", 336000),
    ],
)
@pytest.mark.parametrize("path", ["/v2/ask", V1_PATH])
async def test_error_inside_a_stream_is_its_last_event(
    open_site: OpenSite, path: str, error: Exception, code: str, v1_code: int
):
    closed = asyncio.Event()

    async def events() -> AsyncGenerator[Answer]:
        try:
            yield Answer("a")
            raise error
        finally:
            closed.set()

    dialect: Dialect = "v1" if path == V1_PATH else "v2"
    site = await open_site([Route(endpoint(path, dialect=dialect), streaming(events))])
    line = await site.connect()
    line.ask(path)
    heard = await line.hear()
    first, last = (json.loads(e.removeprefix(b"data: ")) for e in heard.body.split(b"\n\n") if e)
    assert first == {"text": "a"}
    found = last["error_code"] if dialect == "v1" else last["error"]["code"]
    assert found == (v1_code if dialect == "v1" else code)
    assert b"defect" not in heard.body
    assert closed.is_set()
    line.ask("/v2/nothing")
    assert (await line.hear()).status == 404, "the connection is still usable"


async def test_event_is_sent_as_soon_as_it_is_there(open_site: OpenSite):
    more = asyncio.Event()

    async def events() -> AsyncGenerator[Answer]:
        yield Answer("first")
        await more.wait()
        yield Answer("second")

    site = await open_site([Route(endpoint(), streaming(events))])
    line = await site.connect()
    line.ask()
    await line.hear(head_only=True)
    assert await line.chunk() == b'data: {"text":"first"}\n\n'
    more.set()
    assert await line.chunk() == b'data: {"text":"second"}\n\n'


# Clients that leave


@pytest.mark.parametrize("asked", [1, 3])
async def test_client_that_leaves_cancels_its_handler(
    open_site: OpenSite, caplog: pytest.LogCaptureFixture, asked: int
):
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(call: Call[Question]) -> Reply:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError("unreachable")

    site = await open_site([Route(endpoint(), wait)])
    line = await site.connect()
    for _ in range(asked):
        line.ask()
    async with asyncio.timeout(WAIT_SECONDS):
        await started.wait()
        line.writer.close()
        await cancelled.wait()
    assert (await site.ask("/v2/nothing")).status == 404
    assert caplog.records == [], "a client that leaves is no error"


async def test_client_that_leaves_a_stream_closes_its_source(open_site: OpenSite):
    closed = asyncio.Event()

    async def events() -> AsyncGenerator[Answer]:
        try:
            yield Answer("first")
            await asyncio.Event().wait()
        finally:
            closed.set()

    site = await open_site([Route(endpoint(), streaming(events))])
    line = await site.connect()
    line.ask()
    await line.hear(head_only=True)
    await line.chunk()
    async with asyncio.timeout(WAIT_SECONDS):
        line.writer.close()
        await closed.wait()


async def test_client_that_resets_a_stream_closes_its_source_too(open_site: OpenSite):
    closed = asyncio.Event()

    async def events() -> AsyncGenerator[Answer]:
        try:
            while True:
                yield Answer("more" * 1000)
                await asyncio.sleep(0)
        finally:
            closed.set()

    site = await open_site([Route(endpoint(), streaming(events))])
    line = await site.connect()
    line.ask()
    await line.hear(head_only=True)
    async with asyncio.timeout(WAIT_SECONDS):
        line.writer.transport.abort()
        await closed.wait()


async def test_finished_request_is_not_cancelled_by_a_later_leave(open_site: OpenSite):
    seen: list[str] = []

    async def note(call: Call[Question]) -> Reply:
        seen.append("begun")
        await asyncio.sleep(0)
        seen.append("done")
        return Reply(Answer(""))

    site = await open_site([Route(endpoint(), note)])
    line = await site.connect()
    line.ask()
    await line.hear()
    line.writer.close()
    await line.writer.wait_closed()
    assert (await site.ask()).status == 200
    assert seen == ["begun", "done"] * 2


def http_scope() -> MutableMapping[str, Any]:
    """A request as any ASGI server presents it."""
    return {
        "type": "http",
        "method": "POST",
        "path": "/v2/ask",
        "raw_path": b"/v2/ask",
        "query_string": b"",
        "headers": [],
    }


async def test_other_asgi_servers_disconnect_cancels_the_handler_too():
    cancelled = asyncio.Event()

    async def wait(call: Call[Question]) -> Reply:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError("unreachable")

    messages = iter([{"type": "http.request", "body": b"{}"}, {"type": "http.disconnect"}])

    async def receive() -> MutableMapping[str, Any]:
        return dict(next(messages))

    async def send(message: MutableMapping[str, Any]) -> None:
        raise AssertionError("nobody listens")

    gateway = Gateway([Route(endpoint(), wait)], authenticate=allow, max_body_bytes=100)
    async with asyncio.timeout(WAIT_SECONDS):
        await gateway(http_scope(), receive, send)
    assert cancelled.is_set()


async def test_client_gone_in_the_middle_of_its_body_is_no_error():
    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        raise AssertionError("nobody listens")

    gateway = Gateway([Route(endpoint(), repeat)], authenticate=allow, max_body_bytes=100)
    await gateway(http_scope(), receive, send)


async def test_cancelling_the_server_is_not_swallowed():
    started = asyncio.Event()

    async def wait(call: Call[Question]) -> Reply:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def receive() -> MutableMapping[str, Any]:
        if not started.is_set():
            return {"type": "http.request", "body": b"{}"}
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def send(message: MutableMapping[str, Any]) -> None:
        raise AssertionError("nothing to say")

    gateway = Gateway([Route(endpoint(), wait)], authenticate=allow, max_body_bytes=100)
    task = asyncio.create_task(gateway(http_scope(), receive, send))  # pyright: ignore[reportArgumentType] - a coroutine
    async with asyncio.timeout(WAIT_SECONDS):
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_scopes_that_are_not_http_are_ignored():
    async def never(*_: object) -> Any:
        raise AssertionError("not for us")

    gateway = Gateway([], authenticate=allow, max_body_bytes=100)
    await gateway({"type": "websocket"}, never, never)


@pytest.mark.parametrize("path", ["/v2/ask/", "//v2/ask", "/v2//ask", "//v2///ask//"])
async def test_slashes_too_many_do_no_harm(open_site: OpenSite, path: str):
    site = await open_site([Route(endpoint(), repeat)])
    heard = await site.ask(path, '{"text":"a"}')
    assert (heard.status, heard.json) == (200, {"text": "a"})


async def test_head_is_answered_as_get_without_its_body(open_site: OpenSite):
    async def answer(_call: Call[Question]) -> Reply:
        return Reply(Answer("there"))

    site = await open_site([Route(endpoint(method="GET"), answer)])
    line = await site.connect()
    for _ in range(2):
        line.ask(method="HEAD")
        heard = await line.hear(head_only=True)
        assert (heard.status, heard.headers["content-length"]) == (200, "16")
