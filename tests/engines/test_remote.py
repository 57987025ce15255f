"""The remote engine over its real child, against the real server of somebody else: our own echo engine's, and one that misbehaves."""

from __future__ import annotations

import asyncio
import base64
import gzip
import ipaddress
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from yangfan.engines import remote
from yangfan.engines._remote_bodies import VLLM_STYLE, chat_body, style_of
from yangfan.engines.base import (
    ChatRequest,
    Delta,
    EngineSpec,
    Finish,
    ImageRequest,
    Message,
    Page,
    Sampling,
    Tool,
    Usage,
    Verdict,
)
from yangfan.engines.wire.trace import CURRENT, Trace
from yangfan.errors import (
    ContentRefused,
    ContextTooLong,
    Invalid,
    InvalidImage,
    ModelNotFound,
    ModelOffline,
    RequestRateLimited,
    UpstreamFailed,
)

pytestmark = pytest.mark.asyncio

SECRET = "sk-canary-0123456789abcdef"
HELLO = ChatRequest((Message("user", "hello 世界"),))


class Upstream:
    """Answers every request with the same bytes and remembers what it was asked."""

    def __init__(self, answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> None:
        self.answer = answer
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.left = asyncio.Event()
        self.connections = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *fields = head.strip().split("\r\n")
                headers = {
                    name.lower(): value
                    for name, _, value in (field.partition(": ") for field in fields)
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                is_form = headers.get("content-type", "").startswith("multipart/")
                read = body if is_form else json.loads(body or b"{}")
                self.requests.append((line, headers, read))
                await self.answer(writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()


def whole(body: Any, status: int = 200, *fields: str) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    head = "".join(f"{field}\r\n" for field in fields)
    return (
        f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n{head}\r\n"
    ).encode() + data


def stream(*events: Any, done: bool = True, end: str = "\n\n") -> bytes:
    lines = "".join(f"data: {json.dumps(event)}{end}" for event in events)
    body = (lines + (f"data: [DONE]{end}" if done else "")).encode()
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        + (b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    )


def piece(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


@asynccontextmanager
async def upstream(
    folder: Path, answer: bytes | Callable[[asyncio.StreamWriter], Awaitable[None]], **options: Any
) -> AsyncGenerator[tuple[remote.RemoteEngine, Upstream]]:
    async def always(writer: asyncio.StreamWriter) -> None:
        assert isinstance(answer, bytes)
        writer.write(answer)

    other = Upstream(always if isinstance(answer, bytes) else answer)
    context: ssl.SSLContext | None = options.pop("context", None)
    server = await asyncio.start_server(other.accept, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    given = {
        "base_url": f"{'https' if context else 'http'}://127.0.0.1:{port}/v2",
        "secret": SECRET,
        "allow": ("127.0.0.1",),
        **options,
    }
    engine = remote.create(EngineSpec("far", options=given), folder)
    assert SECRET not in repr(engine) + repr(engine.spec)
    await engine.start()
    try:
        yield engine, other
    finally:
        await engine.stop()
        server.close()


async def collect(engine: remote.RemoteEngine, request: ChatRequest = HELLO) -> list[Delta]:
    async with aclosing(engine.chat_stream(request)) as deltas:
        return [delta async for delta in deltas]


async def test_a_request_goes_out_in_plain_fields_with_the_key(tmp_path: Path) -> None:
    answer = whole(
        {
            "choices": [
                {
                    "index": 0,
                    "message": {"content": "<think>hm</think>hi"},
                    "finish_reason": "normal",
                }
            ],
            "usage": {
                "prompt_tokens": 5,
                "completion_tokens": 7,
                "prompt_tokens_details": {"cached_tokens": 2},
            },
        }
    )
    request = ChatRequest(
        (Message("user", "hello"),),
        Sampling(
            temperature=0.5, max_output_tokens=9, repetition_penalty=1.1, top_k=3, stop=("x",)
        ),
        tools=(Tool("f"),),
        tool_choice="function:f",
    )
    async with upstream(tmp_path, answer, dialect="qianfan") as (engine, other):
        model = engine.for_model("ernie-4.0-8k", frozenset({"chat"}))
        reply = await model.chat(request)
        await model.chat(request)
    found = reply.answers[0]
    assert (found.text, found.reasoning, found.finish) == ("hi", "hm", Finish.NATURAL)
    assert (
        reply.usage.prompt_tokens,
        reply.usage.completion_tokens,
        reply.usage.cached_tokens,
    ) == (5, 7, 2)
    line, headers, body = other.requests[0]
    assert line == "POST /v2/chat/completions HTTP/1.1"
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert body == {
        "model": "ernie-4.0-8k",
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.5,
        "max_completion_tokens": 9,
        "top_k": 3,
        "penalty_score": 1.1,
        "stop": ["x"],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "f",
                    "description": "",
                    "parameters": {"type": "object", "properties": {}},
                },
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
    }


async def test_a_stream_keeps_its_pieces_and_its_usage(tmp_path: Path) -> None:
    events: tuple[Any, ...] = (
        piece(role="assistant"),
        piece(reasoning_content="hm"),
        piece(content="he"),
        piece(content="llo"),
        piece("stop"),
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}},
    )
    for end in ("\n\n", "\r\n\r\n"):
        async with upstream(tmp_path, stream(*events, end=end)) as (engine, _):
            deltas = await collect(engine)
        assert [delta.text for delta in deltas] == ["", "he", "llo", ""]
        assert deltas[0].reasoning == "hm"
        assert (deltas[-1].finish, deltas[-1].usage) == (Finish.NATURAL, remote.Usage(3, 4))


async def test_calls_come_whole_or_in_fragments(tmp_path: Path) -> None:
    def call(index: int | None, **fields: Any) -> dict[str, Any]:
        return {"index": index, **fields}

    fragments = (
        piece(tool_calls=[call(0, id="a", function={"name": "f", "arguments": ""})]),
        piece(tool_calls=[call(0, function={"arguments": '{"x"'})]),
        piece(tool_calls=[call(0, function={"arguments": ":1}"})]),
        piece(tool_calls=[call(1, id="b", function={"name": "g", "arguments": "{}"})]),
        piece("tool_calls"),
    )
    together = (
        piece(tool_calls=[call(None, id="a", function={"name": "f", "arguments": '{"x":1}'})]),
        piece(tool_calls=[call(None, id="b", function={"name": "g", "arguments": {}})]),
        piece("stop"),
    )
    for events in (fragments, together):
        async with upstream(tmp_path, stream(*events)) as (engine, _):
            last = (await collect(engine))[-1]
        found = [(made.name, made.arguments, made.id) for made in last.function_calls]
        assert found == [("f", '{"x":1}', "a"), ("g", "{}", "b")]
        assert last.finish is Finish.FUNCTION_CALL


async def test_tokens_are_estimated_where_the_upstream_does_not_count(tmp_path: Path) -> None:
    async with upstream(tmp_path, stream(piece(content="你好 you"), piece("stop"))) as (engine, _):
        last = (await collect(engine))[-1]
    assert last.usage == remote.Usage(3, 3, estimated=True)  # hello 世界; 你好 you
    said = whole({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]})
    async with upstream(tmp_path, said) as (engine, _):
        assert (await engine.chat(HELLO)).usage == remote.Usage(3, 1, estimated=True)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (401, {"code": "invalid_iam_token", "message": "IAM Certification failed"}, UpstreamFailed),
        (403, {"code": "account_overdue", "message": "overdue"}, UpstreamFailed),
        (403, {"code": "system_unsafe", "message": "unsafe"}, ContentRefused),
        (401, {"code": "invalid_model", "message": "no such model"}, ModelNotFound),
        (403, {"code": "model_offline", "message": "offline"}, ModelOffline),
        (400, {"code": "invalid_image_url", "message": "too small"}, InvalidImage),
        (400, {"code": "tokens_too_long", "message": "Prompt tokens too long"}, ContextTooLong),
        (400, {"code": "new_code", "message": "maximum context length is 9"}, ContextTooLong),
        (400, {"code": "invalid_argument", "message": "top_p"}, Invalid),
        (429, {"code": "rpm_rate_limit_exceeded", "message": "RPM"}, RequestRateLimited),
        (500, {"code": "internal_error", "message": "boom"}, UpstreamFailed),
    ],
)
async def test_a_refusal_keeps_its_meaning(
    tmp_path: Path, status: int, error: dict[str, str], kind: type[Exception]
) -> None:
    answer = whole(
        {"error": {**error, "message": f"{error['message']} {SECRET}"}}, status, "Retry-After: 7"
    )
    async with upstream(tmp_path, answer) as (engine, _):
        for asking in (engine.chat(HELLO), collect(engine)):
            with pytest.raises(kind) as caught:
                await asking
            assert type(caught.value) is kind
            assert error["message"] in str(caught.value)
            assert SECRET not in str(caught.value)
            if kind is RequestRateLimited:
                assert caught.value.retry_after_seconds == 7  # type: ignore[attr-defined]
            if status in {401, 403} and kind is UpstreamFailed:
                assert "the upstream far failed" in str(caught.value)
                assert "renew the key" in str(caught.value)


CUT = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FIRST = b"data: " + json.dumps(piece(content="he")).encode() + b"\n\n"


@pytest.mark.parametrize(
    "tail",
    [b"", b"zz\r\nnonsense", b"9\r\ndata: {{{\r\n", b"0\r\n\r\n"],
    ids=["cut", "malformed chunk", "wrong json", "early end"],
)
async def test_a_stream_that_breaks_is_never_a_clean_end(tmp_path: Path, tail: bytes) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(CUT + b"%x\r\n%b\r\n" % (len(FIRST), FIRST) + tail)
        await writer.drain()
        writer.close()

    texts: list[str] = []

    async def listen(engine: remote.RemoteEngine) -> None:
        async with aclosing(engine.chat_stream(HELLO)) as deltas:
            async for delta in deltas:
                texts.append(delta.text)  # noqa: PERF401 - what came before the error counts

    async with upstream(tmp_path, answer) as (engine, _):
        with pytest.raises(UpstreamFailed, match="the upstream far failed"):
            await listen(engine)
    assert texts == ["he"]


async def test_silence_ends_at_the_timeout(tmp_path: Path) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(CUT + b"%x\r\n%b\r\n" % (len(FIRST), FIRST))

    async with upstream(tmp_path, answer, idle_timeout_seconds=0.2) as (engine, _):
        with pytest.raises(UpstreamFailed, match="too long"):
            await collect(engine)

    async def nothing(writer: asyncio.StreamWriter) -> None:
        del writer

    async with upstream(tmp_path, nothing, first_byte_timeout_seconds=0.2) as (engine, _):
        with pytest.raises(UpstreamFailed, match="too long"):
            await engine.chat(HELLO)


async def test_leaving_closes_the_upstream_request(tmp_path: Path) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(CUT + b"%x\r\n%b\r\n" % (len(FIRST), FIRST))

    async with upstream(tmp_path, answer) as (engine, other):
        async with aclosing(engine.chat_stream(HELLO)) as deltas:
            await anext(deltas)
        async with asyncio.timeout(10):
            await other.left.wait()


async def test_a_redirect_is_not_followed_and_gzip_is_read(tmp_path: Path) -> None:
    away = whole(b"", 302, "Location: http://169.254.169.254/")
    async with upstream(tmp_path, away) as (engine, other):
        with pytest.raises(UpstreamFailed, match="redirects"):
            await engine.chat(HELLO)
        assert len(other.requests) == 1
    reply = json.dumps({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]})
    zipped = whole(gzip.compress(reply.encode()), 200, "Content-Encoding: gzip")
    async with upstream(tmp_path, zipped) as (engine, _):
        assert (await engine.chat(HELLO)).answers[0].text == "hi"


async def test_private_addresses_and_http_need_to_be_listed(tmp_path: Path) -> None:
    async with upstream(tmp_path, b"", allow=()) as (engine, other):
        with pytest.raises(UpstreamFailed, match="egress_allow"):
            await engine.chat(HELLO)
        assert other.requests == []


async def test_an_upstream_that_is_down_is_named(tmp_path: Path) -> None:
    async with upstream(tmp_path, b"", base_url="http://127.0.0.1:9/v1") as (engine, _):
        with pytest.raises(UpstreamFailed, match=r"the upstream far failed.*cannot be reached"):
            await engine.chat(HELLO)


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS settings under a certificate of its own for 127.0.0.1, and the file that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "upstream")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private, public = folder / "key.pem", folder / "certificate.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, public


async def test_https_verifies_the_certificate_and_keeps_its_connection(tmp_path: Path) -> None:
    context, trusted = certificate(tmp_path)
    answer = whole({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]})
    async with upstream(tmp_path, answer, context=context) as (engine, other):
        with pytest.raises(UpstreamFailed, match="certificate is not trusted"):
            await engine.chat(HELLO)
        assert other.requests == []
    async with upstream(tmp_path, answer, context=context, ca_file=str(trusted)) as (engine, other):
        for _ in range(3):
            assert (await engine.chat(HELLO)).answers[0].text == "hi"
        assert len(other.requests) == 3
        assert other.connections == 1


async def test_an_http_proxy_is_asked_for_a_tunnel(tmp_path: Path) -> None:
    context, trusted = certificate(tmp_path)
    asked: list[bytes] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        port = int(asked[-1].split(b" ")[1].rpartition(b":")[2])
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
            target.close()

        await asyncio.gather(copy(reader, back), copy(there, writer), return_exceptions=True)

    proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    answer = whole({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]})
    given: dict[str, Any] = {"context": context, "ca_file": str(trusted), "proxy": address}
    async with upstream(tmp_path, answer, **given) as (engine, _):
        assert (await engine.chat(HELLO)).answers[0].text == "hi"
    assert asked[0].startswith(b"CONNECT 127.0.0.1:")
    assert SECRET.encode() not in asked[0]
    proxy.close()


async def test_the_longest_answer_has_the_name_that_the_server_knows(tmp_path: Path) -> None:
    answer = whole({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]})
    request = ChatRequest(HELLO.messages, Sampling(max_output_tokens=9, repetition_penalty=1.0))
    async with upstream(tmp_path, answer) as (engine, other):
        await engine.chat(request)
    assert other.requests[0][2] == {
        "model": "far",
        "messages": [{"role": "user", "content": "hello 世界"}],
        "max_tokens": 9,
    }
    assert style_of("openai", "https://api.openai.com/v1").longest == "max_completion_tokens"


@pytest.mark.parametrize("dialect", ["openai", "qianfan"])
async def test_what_only_a_server_elsewhere_acts_on_is_passed_on(
    tmp_path: Path, dialect: str
) -> None:
    answer = whole({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]})
    request = ChatRequest(
        HELLO.messages,
        Sampling(top_k=3, min_output_tokens=2, repetition_penalty=1.5),
        thinking_budget=64,
        passed={
            "user": "me",
            "metadata": {"a": "b"},
            "web_search": {"enable": True},
            "trace_number": 3,
            "preemptible": True,
        },
    )
    async with upstream(tmp_path, answer, dialect=dialect) as (engine, other):
        await engine.chat(request)
    wanted: dict[str, Any] = {
        "model": "far",
        "messages": [{"role": "user", "content": "hello 世界"}],
        "top_k": 3,
        "user": "me",
        "repetition_penalty": 1.5,
    }
    if dialect == "qianfan":
        wanted |= {"min_output_tokens": 2, "thinking_budget": 64, **request.passed}
    else:
        wanted |= {"min_tokens": 2, "thinking_budget": 64}
    assert other.requests[0][2] == wanted


async def test_openais_own_servers_get_only_what_they_know() -> None:
    style = style_of("openai", "https://api.openai.com/v1")
    request = ChatRequest(
        HELLO.messages,
        Sampling(top_k=3, min_output_tokens=2, repetition_penalty=1.5),
        passed={"user": "me", "metadata": {"a": "b"}},
    )
    body = json.loads(chat_body("gpt", request, style, stream=False))
    assert set(body) == {"model", "messages", "user"}


@pytest.mark.parametrize(
    ("enable", "budget", "effort"),
    [
        (None, None, None),
        (True, None, None),
        (False, None, "minimal"),
        (None, 1000, "low"),
        (True, 5000, "medium"),
        (None, 20_000, "high"),
    ],
)
async def test_how_long_to_think_is_a_degree_for_openai_and_a_variable_of_vllms_templates(
    enable: bool | None, budget: int | None, effort: str | None
) -> None:
    request = ChatRequest(HELLO.messages, enable_thinking=enable, thinking_budget=budget)
    openai = style_of("openai", "https://api.openai.com/v1")
    body = json.loads(chat_body("gpt", request, openai, stream=False))
    assert body.get("reasoning_effort") == effort
    assert not {"enable_thinking", "thinking_budget"} & set(body)
    wanted = {"enable_thinking": enable, "thinking_budget": budget}
    said = {name: value for name, value in wanted.items() if value is not None}
    body = json.loads(chat_body("qwen", request, VLLM_STYLE, stream=False))
    assert body.get("chat_template_kwargs", {}) == said
    assert body.get("thinking_token_budget") == budget


@pytest.mark.parametrize("streamed", [False, True])
async def test_thoughts_are_counted_and_pages_told(tmp_path: Path, streamed: bool) -> None:
    usage = {
        "prompt_tokens": 3,
        "completion_tokens": 9,
        "completion_tokens_details": {"reasoning_tokens": 7},
    }
    pages = [{"url": "https://a.example", "title": "A", "extra": 1}, {"index": 4, "url": "u"}, {}]
    said = {"content": "hi", "reasoning_content": "hm"}
    choice = {"delta" if streamed else "message": said, "finish_reason": "stop"}
    body = {"choices": [choice], "usage": usage, "search_results": pages}
    answer = stream(body) if streamed else whole(body)
    async with upstream(tmp_path, answer, dialect="qianfan") as (engine, _other):
        if streamed:
            last = (await collect(engine))[-1]
            found, counted = last.pages, last.usage
        else:
            reply = await engine.chat(HELLO)
            found, counted = reply.pages, reply.usage
    assert counted == Usage(3, 9, reasoning_tokens=7)
    assert found == (Page(1, "https://a.example", "A"), Page(4, "u", ""))


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_trace_of_the_call_goes_along(tmp_path: Path, streamed: bool) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    body = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}
    async with upstream(tmp_path, whole(body)) as (engine, other):
        await engine.chat(HELLO)
        before = CURRENT.set(Trace(parent))
        await (collect(engine) if streamed else engine.chat(HELLO))
        CURRENT.reset(before)
        await engine.chat(HELLO)
    assert [headers.get("traceparent") for _line, headers, _body in other.requests] == [
        None,
        parent,
        None,
    ]


async def test_each_call_is_told_with_how_it_ended(tmp_path: Path) -> None:
    told: list[tuple[str, bool]] = []
    async with upstream(tmp_path, stream()) as (engine, _other):
        engine.tell = lambda outcome, seconds: told.append((outcome, seconds > 0))
        other = engine.for_model("another", engine.kinds)
        with pytest.raises(UpstreamFailed):
            await collect(other)
    assert told == [("UpstreamFailed", True)]


async def test_vectors_and_scores_may_come_without_an_index(tmp_path: Path) -> None:
    vectors = whole(
        {"data": [{"embedding": [1.0]}, {"embedding": [2.0]}], "usage": {"total_tokens": 4}}
    )
    async with upstream(tmp_path, vectors) as (engine, other):
        reply = await engine.embed(["a", "b"])
        await engine.embed(["a", "b"], dimensions=1)
    assert (reply.vectors, reply.usage.prompt_tokens) == (([1.0], [2.0]), 4)
    plain, shorter = (body for _line, _headers, body in other.requests)
    assert plain == {"model": "far", "input": ["a", "b"], "encoding_format": "float"}
    assert shorter == {**plain, "dimensions": 1}

    async def answer(writer: asyncio.StreamWriter) -> None:
        body = {
            "results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]
        }
        asked = other.requests[-1][0]
        writer.write(whole(body) if "/rerankers" in asked else whole({"error": "no"}, 404))

    async with upstream(tmp_path, answer) as (engine, other):
        ranked = await engine.rerank("q", ["a", "b"])
    assert ranked.scores == (0.1, 0.9)


async def test_only_baidus_cloud_is_asked_to_turn_a_picture_into_a_vector(tmp_path: Path) -> None:
    vectors = whole({"data": [{"embedding": [1.0], "index": 0}], "usage": {"total_tokens": 4}})
    async with upstream(tmp_path, vectors, dialect="qianfan") as (engine, other):
        reply = await engine.embed_picture("a", "data:image/png;base64,AA==")
    assert (reply.vectors, reply.usage.prompt_tokens) == (([1.0],), 4)
    assert other.requests[0][2]["input"] == [{"text": "a", "image": "data:image/png;base64,AA=="}]
    async with upstream(tmp_path, vectors) as (engine, other):
        with pytest.raises(Invalid, match="leave image out"):
            await engine.embed_picture("a", "data:image/png;base64,AA==")
    assert other.requests == []


async def test_a_warning_in_the_middle_of_a_stream_is_told_at_once(tmp_path: Path) -> None:
    warned: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "flag": 1, "ban_round": 0}]}
    events = stream(piece(content="he"), warned, piece("stop", content="llo"))
    async with upstream(tmp_path, events, dialect="qianfan") as (engine, _):
        deltas = await collect(engine)
    assert [delta.verdict for delta in deltas] == [None, Verdict(1, 0), None]
    assert deltas[-1].finish is not None


async def test_pictures_come_in_base64_or_are_fetched(tmp_path: Path) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        if other.requests[-1][0].startswith("GET /picture"):
            writer.write(whole(b"PNG"))
            return
        address = engine.spec.options["base_url"].removesuffix("/v2") + "/picture?secret=1"
        writer.write(whole({"data": [{"b64_json": "UE5H"}, {"url": address}]}))

    async with upstream(tmp_path, answer) as (engine, other):
        reply = await engine.generate_images(ImageRequest("a red circle", n=2))
    assert reply.images == (b"PNG", b"PNG")
    assert other.requests[0][2]["size"] == "1024x1024"
    assert "authorization" not in other.requests[-1][1]


@pytest.mark.parametrize("dialect", ["qianfan", "openai"])
async def test_a_picture_is_edited_at_the_upstreams_own_endpoint(
    tmp_path: Path, dialect: str
) -> None:
    picture, mask = b"\x89PNG\r\n\x1a\n--\x00\xff", b"\xff\xd8\xff\r\n"
    request = ImageRequest(
        "蓝圈",
        n=1,
        width=0,
        height=0,
        seed=3,
        strength=0.5,
        reference=picture,
        mask=mask,
        edit=True,
    )
    drawn = whole({"data": [{"b64_json": "UE5H"}], "usage": {"total_tokens": 4}})
    async with upstream(tmp_path, drawn, dialect=dialect) as (engine, other):
        reply = await engine.generate_images(request)
        await engine.generate_images(msgspec.structs.replace(request, width=512, height=256))
    assert (reply.images, reply.usage) == ((b"PNG",), Usage(4))
    sized = other.requests[1][2]
    ((line, headers, body),) = other.requests[:1]
    assert line.split()[1] == "/v2/images/edits"
    if dialect == "qianfan":
        data = {
            name: base64.b64encode(file).decode() for name, file in (("p", picture), ("m", mask))
        }
        assert body == {
            "model": "far",
            "prompt": "蓝圈",
            "n": 1,
            "seed": 3,
            "strength": 0.5,
            "image": f"data:image/png;base64,{data['p']}",
            "mask": f"data:image/jpeg;base64,{data['m']}",
        }
        assert sized["size"] == "512x256"
        return
    kind = headers["content-type"]
    head, *parts, end = body.split(b"--" + kind.rpartition("boundary=")[2].encode())
    assert (head, end) == (b"", b"--\r\n")
    fields = dict(part.strip(b"\r\n").split(b"\r\n\r\n", 1) for part in parts[:-2])
    told = {name.decode().partition('name="')[2]: value.decode() for name, value in fields.items()}
    assert told == {
        'model"': "far",
        'prompt"': "蓝圈",
        'n"': "1",
        'response_format"': "b64_json",
    }
    assert parts[-2] == (
        b'\r\nContent-Disposition: form-data; name="image"; filename="image.png"\r\nContent-Type: image/png\r\n\r\n'
        + picture
        + b"\r\n"
    )
    assert b'name="mask"; filename="mask.jpeg"\r\nContent-Type: image/jpeg' in parts[-1]
    assert parts[-1].endswith(b"\r\n\r\n" + mask + b"\r\n")
    assert b'name="size"\r\n\r\n512x256\r\n' in sized


async def test_a_picture_to_start_from_goes_beside_the_prompt_to_baidus_cloud_alone(
    tmp_path: Path,
) -> None:
    request = ImageRequest("a", reference=b"\x89PNG")
    drawn = whole({"data": [{"b64_json": "UE5H"}]})
    for dialect, path in (("qianfan", "generations"), ("openai", "edits")):
        async with upstream(tmp_path, drawn, dialect=dialect) as (engine, other):
            await engine.generate_images(request)
        ((line, _, body),) = other.requests
        assert line.split()[1] == f"/v2/images/{path}"
        if dialect == "qianfan":
            assert body["refer_image"] == "data:image/png;base64,iVBORw=="


async def test_a_huge_line_and_a_repeated_key_do_not_get_through(tmp_path: Path) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(CUT)
        block = b"x" * 1_000_000
        for _ in range(20):
            writer.write(b"%x\r\n%b\r\n" % (len(block), block))
            await writer.drain()

    async with upstream(tmp_path, endless) as (engine, _):
        with pytest.raises(UpstreamFailed, match="longer than"):
            await collect(engine)
    async with upstream(tmp_path, stream(piece(content=f"key {SECRET}"), piece("stop"))) as (
        engine,
        _,
    ):
        assert [delta.text for delta in await collect(engine)] == ["key ***", ""]
