# Generated from _async by scripts/unasync.py; edit there.
"""`client.jobs`: durable jobs (Yangfan servers)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan import errors
from yangfan.client.jobs import FINAL, EventReader, check_stream, job_of, line_of, refuse
from yangfan.protocol.v2.jobs import (
    CANCEL_JOB,
    DELETE_JOB,
    DESCRIBE_JOB,
    DESCRIBE_JOB_LOGS,
    DESCRIBE_JOBS,
    PAUSE_JOB,
    RESUME_JOB,
    WATCH_JOB,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yangfan.client._sync.session import Session
    from yangfan.client.exchange import Request
    from yangfan.client.transport import Incoming
    from yangfan.client.types import JSON, Job, JobEvent, JobLogLine
    from yangfan.protocol.endpoint import Endpoint
    from yangfan.protocol.v2 import jobs as wire
    from yangfan.protocol.v2.keys import ActionReply

MAX_BROKEN_STREAMS = 30
PAUSE_SECONDS = 1.0
"""Between a stream that broke and the next."""


class Jobs:
    """Long tasks of the platform. Every call is signed: it needs access_key and secret_access_key."""

    def __init__(self, session: Session) -> None:
        """Made by the client."""
        self._session = session

    def list(
        self,
        *,
        kind: str | None = None,
        state: wire.JobState | None = None,
        subject: str | None = None,
        limit: int = 100,
    ) -> tuple[Job, ...]:
        """Jobs, the youngest first.

        Args:
            kind: Of this kind of work only.
            state: In this state only.
            subject: About this thing only, such as a model version.
            limit: How many at most.
        """
        found: tuple[Job, ...] = ()
        body: JSON = {}
        for name, value in (("kind", kind), ("state", state), ("subject", subject)):
            if value is not None:
                body[name] = value
        while len(found) < limit:
            body["maxKeys"] = min(1000, limit - len(found))
            call = self._session.management_call(DESCRIBE_JOBS, body)
            page = (self._session.fetch(call, DESCRIBE_JOBS.reply)).result
            found += tuple(map(job_of, page.items))
            if not isinstance(page.nextMarker, str):
                break
            body["marker"] = page.nextMarker
        return found

    def get(self, id: str) -> Job:
        """A job as it is now.

        Raises:
            NotFound: There is none of that id.
        """
        return self._one(DESCRIBE_JOB, id)

    def logs(self, id: str, *, after: str | None = None) -> tuple[JobLogLine, ...]:
        """What a job's workers wrote, the oldest first.

        Args:
            id: Of the job.
            after: `marker` of a line; those behind it only.

        Raises:
            NotFound: There is no job of that id.
        """
        found: tuple[JobLogLine, ...] = ()
        body: JSON = {"id": id}
        while True:
            if after is not None:
                body["marker"] = after
            call = self._session.management_call(DESCRIBE_JOB_LOGS, body)
            page = (self._session.fetch(call, DESCRIBE_JOB_LOGS.reply)).result
            found += tuple(map(line_of, page.items))
            if not isinstance(page.nextMarker, str):
                return found
            after = page.nextMarker

    def watch(self, id: str, *, logs: bool = False) -> Iterator[JobEvent]:
        """The job now and at each change, until it has ended; a connection that breaks is made anew.

        Args:
            id: Of the job.
            logs: Whether events bring the lines of its log, too.

        Raises:
            NotFound: There is none of that id, or it was deleted meanwhile.
            UnreachableError: The server was away for about half a minute.
        """
        marker: str | None = None
        broken = 0
        while True:
            try:
                incoming = self._open(id, marker, logs=logs)
            except errors.ConnectionFailed:
                broken += 1
                if broken > MAX_BROKEN_STREAMS:
                    raise
                self._session.transport.sleep(PAUSE_SECONDS)
                continue
            reader = EventReader()
            try:
                while chunk := incoming.chunk():
                    reader.feed(chunk)
                    while (event := reader.next_event()) is not None:
                        broken = 0
                        marker = event.lines[-1].marker if event.lines else marker
                        yield event
                        if event.job.state in FINAL:
                            return
            except errors.ConnectionFailed:
                pass
            finally:
                incoming.close()
            broken += 1
            if broken > MAX_BROKEN_STREAMS:
                raise errors.ConnectionFailed("the server ended the stream again and again")
            self._session.transport.sleep(PAUSE_SECONDS)

    def wait(self, id: str) -> Job:
        """The job once it has ended, however that was.

        Raises:
            NotFound: There is none of that id, or it was deleted meanwhile.
            UnreachableError: The server was away for about half a minute.
        """
        for event in self.watch(id):
            if event.job.state in FINAL:
                return event.job
        raise AssertionError("a watch ends with a final state or an error")

    def cancel(self, id: str) -> Job:
        """End it: at once if nothing works on it, otherwise soon.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has ended otherwise.
        """
        return self._one(CANCEL_JOB, id)

    def pause(self, id: str) -> Job:
        """Stop it and keep what it has saved.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has ended, or is about to be cancelled.
        """
        return self._one(PAUSE_JOB, id)

    def resume(self, id: str) -> Job:
        """Let it go on from what it saved.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has ended, or is about to be cancelled.
        """
        return self._one(RESUME_JOB, id)

    def delete(self, id: str) -> None:
        """Forget it and its log.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has not ended.
        """
        call = self._session.management_call(DELETE_JOB, {"id": id})
        self._session.fetch(call, DELETE_JOB.reply)

    def _one(self, endpoint: Endpoint[wire.NamedJob, ActionReply[wire.Job]], id: str) -> Job:
        call = self._session.management_call(endpoint, {"id": id})
        return job_of((self._session.fetch(call, endpoint.reply)).result)

    def _open(self, id: str, marker: str | None, *, logs: bool) -> Incoming:
        body: JSON = {"id": id, "logs": logs}
        if marker is not None:
            body["marker"] = marker
        call = self._session.management_call(WATCH_JOB, body)

        def once(request: Request) -> Incoming:
            incoming = self._session.transport.open(
                request, timeout_seconds=call.timeout_seconds
            )
            if not check_stream(incoming.status, incoming.headers.get("content-type", "")):
                raise refuse(incoming.read())
            return incoming

        return self._session.persist(call, once)
