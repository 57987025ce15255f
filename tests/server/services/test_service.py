"""A served model under load, and when its engine dies; the engine is a real process."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing

import pytest
from tests.server.services.conftest import WAIT_SECONDS, OpenService, Scripted, ask, until

from yangfan.engines.base import ChatReply, CompletionRequest
from yangfan.errors import EngineFailed, Overloaded
from yangfan.server.services import Service
from yangfan.server.services.replica import Replica
from yangfan.server.services.service import ATTEMPTS, AdaptedService, ServicePolicy


def kill(service: Service) -> None:
    """End the engine's process as a crash would."""
    pid = service.replica.engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


async def text_of(service: Service, text: str = "one two three") -> str:
    return (await service.chat(ask(text))).answers[0].text


async def stream_of(service: Service, text: str = "one two three") -> str:
    return "".join([delta.text async for delta in service.stream(ask(text))])


async def test_answers_whole_and_in_a_stream(open_service: OpenService):
    service = await open_service()
    assert await text_of(service) == "one two three"
    assert await stream_of(service) == "one two three"
    assert await service.count_tokens(ask().messages) > 3
    assert (await service.slots()).total == 4


async def test_completes_whole_and_in_a_stream_and_counts_text(open_service: OpenService):
    service = await open_service()
    request = CompletionRequest("one two three")
    assert (await service.complete(request)).answers[0].text == "one two three"
    deltas = [delta async for delta in service.complete_stream(request)]
    assert "".join(delta.text for delta in deltas) == "one two three"
    assert await service.count_text_tokens("one two three") == 3


async def test_call_beyond_slots_and_waiting_room_is_refused_at_once(open_service: OpenService):
    service = await open_service(slots=1, max_waiting=2, delay_seconds=5)
    calls = [asyncio.create_task(text_of(service)) for _ in range(2)]
    calls.append(asyncio.create_task(stream_of(service)))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="echo already has 3 calls running or waiting") as raised:
        await text_of(service)
    assert raised.value.retry_after_seconds == 1
    with pytest.raises(Overloaded):
        await stream_of(service)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    await until_idle(service)


async def until_idle(service: Service) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while (await service.slots()).busy:  # noqa: ASYNC110 - the engine has no event
            await asyncio.sleep(0.005)


async def test_room_is_free_again_however_a_call_ends(open_service: OpenService):
    service = await open_service(slots=1, max_waiting=0, delay_seconds=0.2)
    for _ in range(3):
        call = asyncio.create_task(text_of(service))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
    async with aclosing(service.stream(ask())) as deltas:
        await anext(deltas)
    await until_idle(service)
    assert await text_of(service, "end") == "end"


async def test_client_that_leaves_a_stream_frees_its_slot(open_service: OpenService):
    service = await open_service(slots=1, delay_seconds=0.05)
    async with aclosing(service.stream(ask("word " * 500))) as deltas:
        await anext(deltas)
        assert (await service.slots()).busy == 1
    await until_idle(service)


async def test_calls_before_their_first_byte_survive_a_killed_engine(open_service: OpenService):
    service = await open_service(slots=2, delay_seconds=0.1)
    calls = [asyncio.create_task(text_of(service)) for _ in range(8)]
    async with asyncio.timeout(WAIT_SECONDS):
        while not (await service.slots()).busy:  # noqa: ASYNC110 - the engine has no event
            await asyncio.sleep(0.005)
    kill(service)
    async with asyncio.timeout(WAIT_SECONDS):
        assert await asyncio.gather(*calls) == ["one two three"] * 8
    assert service.replica.restarts == 1
    assert service.replica.ready


async def test_calls_that_come_right_after_the_death_wait_for_the_next_engine(
    open_service: OpenService,
):
    service = await open_service()
    for round_ in range(1, 4):
        kill(service)
        async with asyncio.timeout(WAIT_SECONDS):
            texts = await asyncio.gather(*(text_of(service) for _ in range(10)))
            texts += await asyncio.gather(*(stream_of(service) for _ in range(10)))
        assert texts == ["one two three"] * 20
        assert service.replica.restarts == round_


async def test_stream_after_its_first_byte_ends_with_the_typed_error(open_service: OpenService):
    service = await open_service(delay_seconds=0.1)
    received: list[str] = []

    async def read() -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            async for delta in service.stream(ask("word " * 500)):
                received.append(delta.text)
                if len(received) == 2:
                    kill(service)

    with pytest.raises(EngineFailed, match="before the answer was complete; try again"):
        await read()
    assert received
    async with asyncio.timeout(WAIT_SECONDS):
        assert await text_of(service, "again") == "again"


async def test_stream_before_its_first_byte_is_begun_again(open_service: OpenService):
    service = await open_service(delay_seconds=0.3)
    call = asyncio.create_task(stream_of(service))
    async with asyncio.timeout(WAIT_SECONDS):
        while not (await service.slots()).busy:  # noqa: ASYNC110 - the engine has no event
            await asyncio.sleep(0.005)
    kill(service)
    async with asyncio.timeout(WAIT_SECONDS):
        assert await call == "one two three"


def service_of(engine: Scripted, timeout_seconds: float = WAIT_SECONDS) -> Service:
    replica = Replica(engine)  # pyright: ignore[reportArgumentType] - a double of the interface
    return Service("scripted", replica, ServicePolicy(timeout_seconds, 1), created=0)


async def test_engine_that_fails_again_and_again_is_given_up():
    engine = Scripted(chats=[False] * 100)
    service = service_of(engine)
    await service.replica.start()
    with pytest.raises(EngineFailed, match="hiccup"):
        await service.chat(ask())
    assert engine.chats == ATTEMPTS
    await service.replica.stop()


async def test_completions_are_tried_again_as_chats_are():
    engine = Scripted(chats=[False] * (ATTEMPTS - 1) + [True] + [False] * (ATTEMPTS - 1))
    service = service_of(engine)
    await service.replica.start()
    request = CompletionRequest("one")
    assert (await service.complete(request)).answers[0].text == "ok"
    assert [delta.text async for delta in service.complete_stream(request)] == ["ok"]
    await service.replica.stop()


@pytest.mark.parametrize("failures", range(1, ATTEMPTS))
async def test_engine_that_fails_a_few_times_answers_in_the_end(failures: int):
    engine = Scripted(chats=[False] * failures)
    service = service_of(engine)
    await service.replica.start()
    reply: ChatReply = await service.chat(ask())
    assert reply.answers[0].text == "ok"
    await service.replica.stop()


async def test_engine_that_does_not_come_back_is_overload_with_its_reason():
    engine = Scripted(starts=[True] + [False] * 100)
    service = service_of(engine, timeout_seconds=0.3)
    await service.replica.start()
    engine.die()
    await until(lambda: service.replica.last_error)
    for call in (service.chat(ask()), anext(service.stream(ask()))):
        with pytest.raises(Overloaded) as raised:
            await call
        text = "the engine of scripted is not running; try again later: no memory left"
        assert raised.value.message == text
        assert raised.value.retry_after_seconds == 5
    await service.replica.stop()


async def test_adapter_shares_the_slots_of_its_model_and_its_turns():
    base = service_of(Scripted())
    await base.replica.start()
    adapted = AdaptedService(base, "poet")
    ticket = await base.gate.enter("greedy")
    call = asyncio.create_task(adapted.chat(ask(), key="modest"))
    await until(lambda: base.gate.waiting)
    base.gate.leave(ticket)
    assert (await call).answers[0].text == "ok"
    assert [delta.text async for delta in adapted.stream(ask(), key="modest")] == ["ok"]
    assert (await adapted.complete(CompletionRequest("a"), key="modest")).answers[0].text == "ok"
    assert base.gate.entered == 4
    await base.replica.stop()
