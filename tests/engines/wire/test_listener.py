import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import pytest

from yangfan.engines.wire.listener import Exchange
from yangfan.engines.wire.pool import Pool
from yangfan.errors import EngineFailed


@contextlib.asynccontextmanager
async def serving(
    answer: Callable[[Exchange], None], *, presented_key: str = "key"
) -> AsyncGenerator[Pool]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Exchange(answer, "key"), "127.0.0.1", 0)
    pool = Pool("127.0.0.1", server.sockets[0].getsockname()[1], presented_key)
    try:
        yield pool
    finally:
        pool.close()
        server.close()
        await server.wait_closed()


async def test_a_request_is_answered_with_path_and_body_at_hand() -> None:
    def answer(exchange: Exchange) -> None:
        exchange.reply(418, exchange.path.encode() + exchange.body)

    async with serving(answer) as pool:
        large = b"x" * 500_000
        assert await pool.post("/a", large) == (418, b"/a" + large)
        assert await pool.get("/b") == (418, b"/b")


async def test_a_wrong_key_is_refused_before_anything_is_done() -> None:
    answered: list[Exchange] = []
    async with serving(answered.append, presented_key="guess") as pool:
        status, _ = await pool.get("/")
    assert status == 401
    assert not answered


async def test_events_stream_to_a_reader_of_any_speed() -> None:
    async def count(exchange: Exchange) -> None:
        exchange.start_stream()
        for number in range(2000):
            await exchange.send_event(b"%d" % number)
        exchange.end_stream()

    def answer(exchange: Exchange) -> None:
        exchange.spawn(count(exchange))

    async with serving(answer) as pool:
        for _ in range(2):
            async with aclosing(pool.stream("/", b"")) as events:
                assert [int(data) async for data in events] == list(range(2000))


async def test_a_client_that_leaves_cancels_the_work() -> None:
    cancelled = asyncio.Event()

    async def never(exchange: Exchange) -> None:
        exchange.start_stream()
        await exchange.send_event(b"1")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def answer(exchange: Exchange) -> None:
        exchange.spawn(never(exchange))

    async with serving(answer) as pool:
        async with aclosing(pool.stream("/", b"")) as events:
            await anext(events)
        async with asyncio.timeout(5):
            await cancelled.wait()


async def test_a_defect_in_the_work_breaks_the_reply_off_and_is_reported() -> None:
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    async def fail(exchange: Exchange) -> None:
        exchange.start_stream()
        await exchange.send_event(b"1")
        raise ZeroDivisionError

    def answer(exchange: Exchange) -> None:
        exchange.spawn(fail(exchange))

    async with serving(answer) as pool, aclosing(pool.stream("/", b"")) as events:
        with pytest.raises(EngineFailed):
            _ = [data async for data in events]
    assert isinstance(reported[0]["exception"], ZeroDivisionError)


async def test_what_is_no_http_is_hung_up_on() -> None:
    def answer(exchange: Exchange) -> None:
        exchange.reply(200, b"")

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Exchange(answer, "key"), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(5):
            assert await reader.read() == b""
    writer.close()
    server.close()
    await server.wait_closed()
