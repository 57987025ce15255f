"""Bytes of a stream to events and, at the end, to the whole answer. Pure: both clients feed it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from yangfan import errors
from yangfan.client import replies
from yangfan.client.types import ChatEvent, ChatResult, Choice, FunctionCall, ReplyInfo, Usage
from yangfan.protocol import sse

if TYPE_CHECKING:
    from yangfan.client.dialect import Dialect


class StreamReader:
    """Reads one streamed answer.

    Attributes:
        is_done: The end has been read, or the stream has failed.
    """

    def __init__(self, dialect: Dialect, *, model: str) -> None:
        """`model` is the name that was asked for."""
        self.is_done = False
        self._dialect = dialect
        self._model = model
        self._decoder = sse.Decoder()
        self._pending: deque[ChatEvent] = deque()
        self._failure: errors.YangfanError | None = None
        self._answers: dict[int, _Answer] = {}
        self._summary = ChatEvent()
        self._usage: Usage | None = None

    @property
    def text(self) -> str:
        """Text of the first answer as far as it was taken."""
        answer = self._answers.get(0)
        return "".join(answer.texts) if answer else ""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes; empty ones say that the connection has ended. Not to be called once `is_done`."""
        try:
            if not chunk:
                raise errors.ConnectionFailed("the stream ended before the answer did; ask again")
            for event in self._decoder.feed(chunk):
                self._take(event)
                if self.is_done:
                    break
        except errors.YangfanError as error:
            self.fail(error)

    def fail(self, error: errors.YangfanError) -> None:
        """End with `error`, raised once the events before it have been taken."""
        self._failure = error
        self.is_done = True

    def next_event(self) -> ChatEvent | None:
        """The next event; None if none is complete yet or all have been taken.

        Raises:
            YangfanError: The stream failed at this place.
        """
        if self._pending:
            event = self._pending.popleft()
            self._add(event)
            return event
        if self._failure is not None:
            raise self._failure
        return None

    def result(self, info: ReplyInfo) -> ChatResult:
        """The whole answer out of the events that were taken."""
        last = self._summary
        choices = tuple(self._answers[index].choice(index) for index in sorted(self._answers)) or (
            Choice(),
        )
        return ChatResult(
            id=last.id,
            created=last.created,
            model=last.model or self._model,
            choices=choices,
            usage=self._usage,
            is_truncated=last.is_truncated or choices[0].finish_reason == "length",
            is_safe=last.is_safe,
            search_results=last.search_results,
            search_query=last.search_query,
            info=info,
            raw=last.raw,
        )

    def _take(self, event: sse.Event) -> None:
        if event.data.strip() == sse.DONE:
            self.is_done = True
            return
        document = replies.decode(event.data)
        failure = replies.failure_of(document)
        if failure is not None:
            raise failure
        self._pending.extend(self._dialect.events(document))
        self.is_done = self._dialect.is_last(document)

    def _add(self, event: ChatEvent) -> None:
        before = self._summary
        self._usage = event.usage or self._usage
        self._summary = replace(
            event,
            is_safe=before.is_safe if event.is_safe is None else event.is_safe,
            is_truncated=before.is_truncated or event.is_truncated,
            search_results=event.search_results or before.search_results,
            search_query=event.search_query or before.search_query,
        )
        self._answers.setdefault(event.index, _Answer()).add(event.choice)


@dataclass(slots=True)
class _Answer:
    """One answer as it grows."""

    texts: list[str] = field(default_factory=list[str])
    reasonings: list[str] = field(default_factory=list[str])
    calls: dict[int | str, FunctionCall] = field(default_factory=dict["int | str", FunctionCall])
    latest: Choice = field(default_factory=Choice)

    def add(self, news: Choice) -> None:
        self.texts.append(news.text)
        self.reasonings.append(news.reasoning)
        for call in news.function_calls:
            self._add_call(call)
        before = self.latest
        self.latest = replace(
            news,
            finish_reason=news.finish_reason or before.finish_reason,
            flag=max(news.flag, before.flag),
            ban_round=before.ban_round if news.ban_round is None else news.ban_round,
            need_clear_history=news.need_clear_history or before.need_clear_history,
            logprobs=_joined(before.logprobs, news.logprobs),
        )

    def _add_call(self, call: FunctionCall) -> None:
        """A part without an id goes on with the call of its index; Qianfan itself sends whole calls."""
        key = next(
            (key for key, known in self.calls.items() if known.index == call.index and not call.id),
            call.id or call.index,
        )
        known = self.calls.get(key)
        if known is None:
            self.calls[key] = replace(call, index=max(call.index, len(self.calls)))
        else:
            self.calls[key] = replace(
                known, name=known.name or call.name, arguments=known.arguments + call.arguments
            )

    def choice(self, index: int) -> Choice:
        return replace(
            self.latest,
            index=index,
            text="".join(self.texts),
            reasoning="".join(self.reasonings),
            function_calls=tuple(self.calls.values()),
        )


def _joined(
    before: dict[str, object] | None, news: dict[str, object] | None
) -> dict[str, object] | None:
    """Log-probabilities come token by token, in lists."""
    if before is None or news is None:
        return news if before is None else before
    joined = dict(before)
    for key, value in news.items():
        known = joined.get(key)
        joined[key] = (
            [*known, *value] if isinstance(known, list) and isinstance(value, list) else value
        )
    return joined
