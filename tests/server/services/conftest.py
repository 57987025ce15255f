"""Services over real echo processes, and over engines that fail as a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from math import hypot
from pathlib import Path
from typing import Any

import pytest

from yangfan.engines import echo
from yangfan.engines.base import (
    Answer,
    ChatReply,
    ChatRequest,
    CompletionRequest,
    Delta,
    EmbeddingsReply,
    EngineSpec,
    Finish,
    ImageRequest,
    ImagesReply,
    Kind,
    Message,
    RerankReply,
    Slots,
    Usage,
)
from yangfan.errors import EngineFailed
from yangfan.server.services import Service
from yangfan.server.services.replica import Replica
from yangfan.server.services.service import ServicePolicy

WAIT_SECONDS = 10.0

OpenService = Callable[..., Awaitable[Service]]


def ask(text: str = "one two three") -> ChatRequest:
    """A question whose echo has a token per word."""
    return ChatRequest((Message("user", text),))


@pytest.fixture
async def open_service(tmp_path: Path) -> AsyncGenerator[OpenService]:
    """A function that starts a service with an echo process, stopped at the end of the test."""
    async with AsyncExitStack() as stack:

        async def begin(
            *, slots: int = 4, delay_seconds: float = 0.0, max_waiting: int = 64, **policy: float
        ) -> Service:
            spec = EngineSpec("echo", slots=slots, options={"delay_seconds": delay_seconds})
            replica = Replica(echo.create(spec, tmp_path))
            stack.push_async_callback(replica.stop)
            await replica.start()
            timeout = policy.get("first_byte_timeout_seconds", WAIT_SECONDS)
            return Service("echo", replica, ServicePolicy(timeout, max_waiting), created=0)

        yield begin


class Scripted:
    """An engine that does what its script says: each start or chat takes the next step, True for success.

    Attributes:
        starts: When it was started, on the event loop's clock.
        chats: How often it was asked.
        ranked: The texts that it was last asked to embed or rank.
        dimensions: Of the vectors that it was last asked for.
    """

    def __init__(
        self,
        starts: Sequence[bool] = (),
        chats: Sequence[bool] = (),
        kinds: frozenset[Kind] = frozenset({"chat"}),
    ) -> None:
        self.spec = EngineSpec("scripted", slots=1)
        self.context_tokens = 100
        self.kinds = kinds
        self.running = False
        self.pid = None
        self.starts: list[float] = []
        self.chats = 0
        self.drawn: list[ImageRequest] = []
        self.ranked: list[str] = []
        self.dimensions: int | None = None
        self._start_script, self._chat_script = list(starts), list(chats)
        self._died = asyncio.Event()

    def die(self) -> None:
        """End the process that there is not."""
        self.running = False
        self._died.set()

    async def start(self) -> None:
        self.starts.append(asyncio.get_running_loop().time())
        if self._start_script and not self._start_script.pop(0):
            raise EngineFailed("no memory left")
        self._died = asyncio.Event()
        self.running = True

    async def wait_died(self) -> None:
        await self._died.wait()

    async def stop(self) -> None:
        self.running = False

    async def chat(self, request: ChatRequest) -> ChatReply:
        self.chats += 1
        if self._chat_script and not self._chat_script.pop(0):
            raise EngineFailed("hiccup")
        return ChatReply((Answer("ok", Finish.NATURAL),), Usage())

    async def chat_stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        yield Delta((await self.chat(request)).answers[0].text, finish=Finish.NATURAL)

    async def complete(self, request: CompletionRequest) -> ChatReply:
        return await self.chat(ChatRequest((Message("user", request.prompt),)))

    async def complete_stream(self, request: CompletionRequest) -> AsyncGenerator[Delta]:
        yield Delta((await self.complete(request)).answers[0].text, finish=Finish.NATURAL)

    async def embed(
        self,
        texts: Sequence[str],
        *,
        max_tokens: int | None = None,
        dimensions: int | None = None,
    ) -> EmbeddingsReply:
        """Two dimensions: how far north, how far east the text says."""
        self.dimensions = dimensions
        self.ranked = list(texts)
        sizes = [("north" in text, "east" in text) for text in texts]
        vectors = tuple([n / (hypot(n, e) or 1), e / (hypot(n, e) or 1)] for n, e in sizes)
        return EmbeddingsReply(vectors, Usage(sum(map(len, texts))))

    async def embed_picture(self, text: str, picture: str) -> EmbeddingsReply:
        del text, picture
        return EmbeddingsReply(([1.0],), Usage(1))

    async def rerank(self, query: str, documents: Sequence[str]) -> RerankReply:
        self.ranked = [query, *documents]
        return RerankReply(tuple(float(len(text)) for text in documents), Usage(len(query)))

    async def generate_images(self, request: ImageRequest) -> ImagesReply:
        self.drawn.append(request)
        return ImagesReply((b"picture",) * request.n, (0,) * request.n, Usage(len(request.prompt)))

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        return len(messages)

    async def count_text_tokens(self, text: str) -> int:
        return len(text)

    async def slots(self) -> Slots:
        return Slots(0, 1)


async def until(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds, at most `WAIT_SECONDS`."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)
