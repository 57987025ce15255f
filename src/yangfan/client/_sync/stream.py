# Generated from _async by scripts/unasync.py; edit there.
"""A streamed answer as it arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from yangfan import errors
from yangfan.client import replies
from yangfan.client.streaming import StreamReader
from yangfan.protocol.sse import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from yangfan.client._sync.session import Session
    from yangfan.client.call import Call
    from yangfan.client.dialect import Dialect
    from yangfan.client.exchange import Reply, Request
    from yangfan.client.transport import Incoming
    from yangfan.client.types import ChatEvent, ChatResult, RateLimit


class ChatStream:
    """Iterate over it for the pieces of the answer.

    Leaving early, by `break`, `close()` or the end of a `with` block, closes the connection, and the server stops generating.

    Attributes:
        info: What the headers say.
    """

    def __init__(self, incoming: Incoming, reader: StreamReader) -> None:
        """Made by `client.chat(…, stream=True)` and `client.completions(…, stream=True)`."""
        self.info = replies.info_of(incoming.headers)
        self._incoming = incoming
        self._reader = reader
        self._first: ChatEvent | None = None

    @property
    def request_id(self) -> str | None:
        """X-Baidu-Request-Id of the reply."""
        return self.info.request_id

    @property
    def served_model(self) -> str | None:
        """The model that really answers, where the server says so."""
        return self.info.served_model

    @property
    def rate_limit(self) -> RateLimit | None:
        """The limits that apply; None when the server did not say."""
        return self.info.rate_limit

    @property
    def text(self) -> str:
        """Text of the first answer as far as it has been iterated over."""
        return self._reader.text

    def start(self) -> None:
        """Wait for the first event, so that a refusal is raised by the call and not by the loop. The client calls this.

        Raises:
            YangfanError: The reply is an error, or no stream.
        """
        try:
            content_type = self._incoming.headers.get("content-type", "")
            if self._incoming.status >= 300 or not content_type.startswith(CONTENT_TYPE):
                _refuse(self._incoming.read())
            self._first = self._next()
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[ChatEvent]:
        """The events in order; closes the connection however the loop ends.

        Raises:
            RefusedError: The platform gave up half-way.
            UnreachableError: The connection did.
        """
        try:
            while True:
                event = self._first or self._next()
                self._first = None
                if event is None:
                    return
                yield event
        finally:
            self.close()

    def result(self) -> ChatResult:
        """Read what is left; return the whole answer."""
        for _ in self:
            pass
        return self._reader.result(self.info)

    def close(self) -> None:
        """Close the connection; the answer so far stays readable."""
        self._incoming.close()

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _next(self) -> ChatEvent | None:
        while (event := self._reader.next_event()) is None and not self._reader.is_done:
            try:
                self._reader.feed(self._incoming.chunk())
            except errors.UnreachableError as error:
                self._reader.fail(error)
        return event


def open_stream(
    session: Session, call: Call, dialect: Dialect, *, model: str
) -> ChatStream:
    """Send a call that streams until its first event comes; the clients' resources call this.

    Raises:
        RefusedError: The platform said no.
        UnreachableError: No usable answer came.
    """

    def once(request: Request) -> ChatStream:
        incoming = session.transport.open(request, timeout_seconds=call.timeout_seconds)
        stream = ChatStream(incoming, StreamReader(dialect, model=model))
        stream.start()
        return stream

    return session.persist(call, once)


def _refuse(reply: Reply) -> NoReturn:
    """Raise what a reply that is no stream stands for."""
    replies.checked(reply)
    content_type = reply.headers.get("content-type", "an untyped reply")
    raise errors.BadReply(f"asked for a stream but got {content_type}")
