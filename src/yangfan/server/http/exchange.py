"""One request and its response as the answering side handles them: body in, head and parts out, word of a client that leaves.

ASGI says all of this with messages, one dictionary and one coroutine each. Our own listener (`cycle.Cycle`) answers to these methods
instead and hands itself over as ASGI's `send`; under another server `Messages` speaks ASGI for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]


class Exchange:
    """What `Answering` needs of a server."""

    def whole_body(self) -> bytes | None:
        """The request's body, if all of it is here and nobody has read any; None means: ask ASGI's `receive`."""
        raise NotImplementedError

    async def respond(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Send a whole response."""
        raise NotImplementedError

    async def begin(self, status: int, headers: Sequence[Header]) -> None:
        """Send the head of a response."""
        raise NotImplementedError

    async def part(self, data: bytes, *, more: bool = True) -> None:
        """Send the next part of its body; without `more` it is the last one."""
        raise NotImplementedError

    def watch(self, gone: Callable[[], object]) -> None:
        """When the client leaves before its response is complete, call `gone` and cancel the task that answers."""
        raise NotImplementedError

    def unwatch(self) -> None:
        """Do so no longer."""
        raise NotImplementedError


class Messages(Exchange):
    """An exchange by ASGI's messages."""

    __slots__ = ("_receive", "_send", "_waiting")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._waiting: asyncio.Task[None] | None = None

    def whole_body(self) -> bytes | None:
        """Not known."""

    async def respond(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Two messages."""
        await self.begin(status, headers)
        await self.part(body, more=False)

    async def begin(self, status: int, headers: Sequence[Header]) -> None:
        """One message."""
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def part(self, data: bytes, *, more: bool = True) -> None:
        """One message."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    def watch(self, gone: Callable[[], object]) -> None:
        """A task waits for the message that tells of it, which costs a tenth of a small request."""
        work = asyncio.current_task()
        assert work is not None

        async def wait() -> None:
            while (await self._receive())["type"] != "http.disconnect":
                pass
            gone()
            work.cancel()

        self._waiting = asyncio.create_task(wait())

    def unwatch(self) -> None:
        """End that task."""
        if self._waiting is not None:
            self._waiting.cancel()
