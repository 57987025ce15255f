"""The load generator: keep-alive HTTP/1.1 connections on loopback, each sending its next request when a reply is complete.

It shares a core with the mock upstream, so it must be cheap: callbacks on uvloop and httptools, no task switch per request. It
is strict: a status other than 200, a broken connection or an answer without usage ends the measurement with `LoadError`.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar, cast

import httptools
import msgspec
import uvloop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

HOST = "127.0.0.1"
_T = TypeVar("_T")


class LoadError(Exception):
    """A server did not answer as it should have, so there is nothing to measure."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where chat requests go: a port on loopback, a path, a bearer key, and the name of the model there."""

    port: int
    path: str
    bearer: str
    model: str

    def request(self, text: str, **fields: object) -> bytes:
        """A whole HTTP request that asks for one chat answer to `text`."""
        message = {"role": "user", "content": text}
        return self.post({"model": self.model, "messages": [message], **fields})

    def post(self, fields: Mapping[str, object]) -> bytes:
        """A whole HTTP request with these fields as JSON."""
        body = msgspec.json.encode(fields)
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {HOST}:{self.port}\r\nAuthorization: Bearer {self.bearer}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(slots=True)
class Replies:
    """What whole replies took: `latency_seconds` has one number for each."""

    seconds: float
    latency_seconds: list[float]

    @property
    def per_second(self) -> float:
        """Replies each second, all connections together."""
        return len(self.latency_seconds) / self.seconds


@dataclass(slots=True)
class StreamRecord:
    """One streamed answer, timed from the moment its request was written."""

    started: float
    first_token_seconds: float = 0.0
    seconds: float = 0.0
    pieces: list[str] = field(default_factory=list[str])
    gap_seconds: list[float] = field(default_factory=list[float])
    """Times between one piece of text and the next."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(slots=True)
class Streams:
    """Streamed answers: of each connection in order, and the time from the first request to the last answer's end."""

    seconds: float
    records: list[list[StreamRecord]]

    @property
    def all(self) -> list[StreamRecord]:
        """The answers of all connections."""
        return list(itertools.chain.from_iterable(self.records))

    @property
    def tokens_per_second(self) -> float:
        """Tokens that were answered each second, all connections together."""
        return sum(record.completion_tokens for record in self.all) / self.seconds

    @property
    def events_per_second(self) -> float:
        """Events with text that came each second, all connections together."""
        return sum(len(record.pieces) for record in self.all) / self.seconds


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def ask_for_whole_replies(
    target: Target, text: str, *, connections: int, seconds: float
) -> Replies:
    """Ask for whole replies on all connections, one at a time on each, for `seconds`."""
    return ask_for_replies(target, target.request(text), connections=connections, seconds=seconds)


def ask_for_replies(target: Target, request: bytes, *, connections: int, seconds: float) -> Replies:
    """Send a request again and again on all connections, one at a time on each, for `seconds`."""

    async def send() -> Replies:
        end = perf_counter() + seconds
        requests = itertools.takewhile(lambda _: perf_counter() < end, itertools.repeat(request))
        workers = [_WholeReplies(target.port, requests) for _ in range(connections)]
        started = perf_counter()
        await _drive(workers)
        taken = perf_counter() - started
        return Replies(taken, list(itertools.chain(*(worker.latencies for worker in workers))))

    return _run(send)


def ask_for_streams(
    target: Target,
    requests: Sequence[Sequence[bytes]],
    *,
    spread_seconds: float = 0.0,
    when_all_open: Callable[[], object] | None = None,
) -> Streams:
    """Send each sequence of streaming requests on a connection of its own.

    Args:
        target: Where to.
        requests: One sequence for each connection, sent one after the other.
        spread_seconds: The connections begin evenly over this time instead of at once.
        when_all_open: Called once, at the moment when every connection's first answer has begun.
    """

    async def send() -> Streams:
        unopened = len(requests)

        def opened() -> None:
            nonlocal unopened
            unopened -= 1
            if unopened == 0 and when_all_open is not None:
                when_all_open()

        workers = [_StreamedReplies(target.port, iter(sequence), opened) for sequence in requests]
        started = perf_counter()
        await _drive(workers, pause_seconds=spread_seconds / len(workers))
        return Streams(perf_counter() - started, [worker.records for worker in workers])

    return _run(send)


def _run(main: Callable[[], Awaitable[_T]]) -> _T:
    """Run in a fresh loop without the garbage collector, whose pauses would count as the server's."""

    async def call() -> _T:
        return await main()

    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(call())
    finally:
        gc.enable()


async def _drive(workers: Sequence[_Connection], pause_seconds: float = 0.0) -> None:
    for worker in workers:
        await worker.connect()
    try:
        for worker in workers:
            worker.send_next()
            if pause_seconds:
                await asyncio.sleep(pause_seconds)
        await asyncio.gather(*(worker.done for worker in workers))
    finally:
        for worker in workers:
            worker.close()


class _Connection(asyncio.Protocol):
    """One connection and the requests still to be sent on it. httptools calls the `on_…` methods.

    Some servers close a connection after a reply without having said so. Then the request that met the closed door is sent again on
    a new connection, and its time begins there.
    """

    def __init__(self, port: int, requests: Iterator[bytes]) -> None:
        self._port = port
        self._requests = requests
        self._request: bytes | None = None
        self._used = False
        self._answering = False
        self._transport: asyncio.Transport | None = None
        self._reconnecting: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()

    async def connect(self) -> None:
        """Open the connection; no request is sent yet."""
        self._used = self._answering = False
        self._parser = httptools.HttpResponseParser(self)
        await self._loop.create_connection(lambda: self, HOST, self._port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        if self.done.done():
            return
        if self._used and not self._answering:
            self._reconnecting = self._loop.create_task(self._send_again())
        else:
            self._fail(f"the connection was closed in the middle of a reply ({exc or 'politely'})")

    def data_received(self, data: bytes) -> None:
        self._answering = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, msgspec.DecodeError) as error:
            cause = error.__context__ or error  # what a callback raised, if one did
            self._fail(str(cause))

    def on_body(self, body: bytes) -> None:
        status = self._parser.get_status_code()
        if status == 200:
            self.received(body)
        else:
            self._fail(f"status {status}: {body[:500].decode('utf-8', 'replace')}")

    def on_message_complete(self) -> None:
        self._used, self._answering = True, False
        self.answered()
        self.send_next()

    def send_next(self) -> None:
        """Send the next request, or be done."""
        self._request = next(self._requests, None)
        if self.done.done():
            return
        if self._request is None:
            self.done.set_result(None)
        else:
            self.sending()
            self._write(self._request)

    def close(self) -> None:
        """Drop the connection."""
        if not self.done.done():
            self.done.cancel()
        if self._transport is not None:
            self._transport.abort()

    def sending(self) -> None:
        """A request is about to be written."""
        raise NotImplementedError

    def sending_again(self) -> None:
        """The same request is about to be written once more."""
        self.sending()

    def received(self, body: bytes) -> None:
        """A piece of a reply came."""
        raise NotImplementedError

    def answered(self) -> None:
        """The reply is complete."""
        raise NotImplementedError

    async def _send_again(self) -> None:
        assert self._request is not None
        try:
            await self.connect()
        except OSError as error:
            self._fail(str(error))
        else:
            self.sending_again()
            self._write(self._request)

    def _write(self, request: bytes) -> None:
        assert self._transport is not None
        self._transport.write(request)

    def _fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(LoadError(reason))


class _WholeReplies(_Connection):
    """Only the time that each reply takes."""

    def __init__(self, port: int, requests: Iterator[bytes]) -> None:
        super().__init__(port, requests)
        self.latencies: list[float] = []
        self._sent = 0.0

    def sending(self) -> None:
        self._sent = perf_counter()

    def received(self, body: bytes) -> None:
        pass

    def answered(self) -> None:
        self.latencies.append(perf_counter() - self._sent)


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class _StreamedReplies(_Connection):
    """The time of each piece of text, and the tokens that the server counted."""

    def __init__(self, port: int, requests: Iterator[bytes], opened: Callable[[], None]) -> None:
        super().__init__(port, requests)
        self.records: list[StreamRecord] = []
        self._opened = opened
        self._unread = b""
        self._last = 0.0

    def sending(self) -> None:
        self.records.append(StreamRecord(perf_counter()))
        self._unread = b""

    def sending_again(self) -> None:
        self.records.pop()
        self.sending()

    def received(self, body: bytes) -> None:
        now = perf_counter()
        *events, self._unread = (self._unread + body).split(b"\n\n")
        for event in events:
            if event.startswith(b"data: {"):
                self._read(_decode_chunk(event[6:]), now)

    def _read(self, chunk: _Chunk, now: float) -> None:
        record = self.records[-1]
        if chunk.usage is not None:
            record.prompt_tokens = chunk.usage.prompt_tokens
            record.completion_tokens = chunk.usage.completion_tokens
        for choice in chunk.choices:
            if choice.delta.content:
                if record.pieces:
                    record.gap_seconds.append(now - self._last)
                else:
                    record.first_token_seconds = now - record.started
                    if len(self.records) == 1:
                        self._opened()
                record.pieces.append(choice.delta.content)
                self._last = now

    def answered(self) -> None:
        record = self.records[-1]
        record.seconds = perf_counter() - record.started
        if not record.completion_tokens or not record.pieces:
            self._fail("a stream ended without text or without usage")
