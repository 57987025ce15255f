"""Reading jobs off the wire. Pure: both clients use it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from msgspec import UNSET

from yangfan import errors
from yangfan.client import replies
from yangfan.client.call import convert
from yangfan.client.types import Job, JobEvent, JobFailure, JobLogLine, JobProgress
from yangfan.protocol import sse
from yangfan.protocol.v2 import jobs as wire

if TYPE_CHECKING:
    from yangfan.client.exchange import Reply

FINAL = frozenset({"succeeded", "failed", "cancelled"})


def job_of(item: wire.Job) -> Job:
    """A job as the SDK shows it."""
    now = item.progress
    return Job(
        id=item.id,
        kind=item.kind,
        subject=item.subject,
        state=item.state,
        desired=item.desired,
        progress=JobProgress(
            now.done, None if now.total is UNSET else now.total, now.unit, now.note
        ),
        attempts=item.attempts,
        max_attempts=item.maxAttempts,
        error=None if item.error is UNSET else JobFailure(item.error.code, item.error.message),
        result=None if item.result is UNSET else item.result,
        created=item.createTime,
        started=None if item.startTime is UNSET else item.startTime,
        finished=None if item.finishTime is UNSET else item.finishTime,
    )


def line_of(item: wire.JobLogLine) -> JobLogLine:
    """A line of a log as the SDK shows it."""
    return JobLogLine(item.marker, item.attempt, item.time, item.text)


class EventReader:
    """Bytes of a WatchJob stream to events."""

    def __init__(self) -> None:
        """Nothing read yet."""
        self._decoder = sse.Decoder()
        self._events: deque[JobEvent] = deque()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            RefusedError: The platform gave up half-way.
            BadReply: They are not what the API promises.
        """
        for event in self._decoder.feed(chunk):
            document = replies.decode(event.data)
            if "job" not in document:
                raise replies.failure_of(document, status=404) or errors.BadReply(
                    "an event of the stream tells of no job"
                )
            told = convert(document, wire.JobEvent)
            self._events.append(JobEvent(job_of(told.job), tuple(map(line_of, told.lines))))

    def next_event(self) -> JobEvent | None:
        """The next event; None if none is complete yet."""
        return self._events.popleft() if self._events else None


def check_stream(status: int, content_type: str) -> bool:
    """Whether a reply is a stream of events."""
    return status < 300 and content_type.startswith(sse.CONTENT_TYPE)


def refuse(reply: Reply) -> errors.YangfanError:
    """The error that a reply which is no stream stands for."""
    replies.checked(reply)
    return errors.BadReply("asked for a stream of events but got something else")
