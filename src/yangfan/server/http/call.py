"""What a handler gets and what it gives back."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar
from urllib.parse import parse_qsl

import msgspec

from yangfan.server.http.metering import Meter

if TYPE_CHECKING:
    from pathlib import Path


RequestT = TypeVar("RequestT")


def new_id(prefix: str = "as-", length: int = 10) -> str:
    """An id as the wire shows them: ``as-`` and ten lower-case alphanumerics, hexadecimal here. Not a secret."""
    return f"{prefix}{random.getrandbits(4 * length):0{length}x}"


class Principal(msgspec.Struct, frozen=True):
    """Who calls: the key that was presented and the application that it belongs to.

    `lenient` keys want their v1 messages put right instead of refused.
    """

    key_id: str
    app_id: str
    kind: str
    lenient: bool = False


class _Nothing:
    """No pieces; without state, so that one serves every call."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


NOTHING = _Nothing()


class Call(msgspec.Struct, Generic[RequestT]):
    """One call on its way to a handler.

    Attributes:
        request: The decoded body.
        principal: Who calls.
        params: Path parameters.
        request_id: Echoed as X-Baidu-Request-Id, the caller's own or one of ours.
        meter: Limits and usage of the call; a handler of an inference call reserves on it before a model works.
        scope: The ASGI scope, for the rare handler that needs more.
        pieces: The body as it comes, for endpoints whose request is `bytes`; empty for others.
    """

    scope: Mapping[str, Any]
    request: RequestT
    principal: Principal
    params: Mapping[str, str]
    request_id: str
    meter: Meter
    pieces: AsyncIterator[bytes] = NOTHING

    @property
    def query(self) -> dict[str, str]:
        """Query parameters, decoded; the last of several wins."""
        return dict(parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True))


class Reply:
    """A whole answer: a Struct that becomes the JSON body, and further headers."""

    __slots__ = ("body", "headers")

    def __init__(self, body: msgspec.Struct, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.body = body
        self.headers = headers


class Stream:
    """An answer in events; each is a Struct, whose class may name the event (`event_name`). The iterator is closed whatever happens.

    `says_done` is whether v2's closing `[DONE]` follows, which the earliest clients cannot read.
    """

    __slots__ = ("events", "headers", "says_done")

    def __init__(
        self,
        events: AsyncIterator[msgspec.Struct],
        headers: tuple[tuple[bytes, bytes], ...] = (),
        *,
        says_done: bool = True,
    ) -> None:
        self.events = events
        self.headers = headers
        self.says_done = says_done


class Download:
    """A file as the answer, under a name to save it by."""

    __slots__ = ("media_type", "name", "path")

    def __init__(self, path: Path, name: str, media_type: str) -> None:
        self.path = path
        self.name = name
        self.media_type = media_type


class Accepted:
    """An answer without a body: what came was taken (status 202)."""

    __slots__ = ()
