"""The worker's line to its server: `yangfan.protocol.worker` over HTTP."""

from __future__ import annotations

import threading
import time
from typing import Any, TypeVar

import httpx2
import msgspec

from yangfan.errors import BadReply, ConnectionFailed, InternalError, RefusedError
from yangfan.protocol import worker as wire
from yangfan.protocol.v2 import errors as v2_errors

T = TypeVar("T")

TIMEOUT_SECONDS = 30.0
PATIENCE_SECONDS = 60.0
"""How long a step is tried again while the server does not answer; after that the lease has run out in any case."""

_PAUSES_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
_NO_LONGER_OURS = frozenset({401, 403, 404, 409})


class Lost(BaseException):
    """The job is another worker's now, or has ended. No Exception, so that no work swallows it by accident."""


class ServerLine:
    """Calls of one worker. Both its threads may use it.

    Args:
        base_url: Of the server.
        token: The first one; beats bring further ones.
        patience_seconds: How long one step is tried again.
        transport: Sends requests; httpx2's own by default.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._patience_seconds = patience_seconds
        self._clients = threading.local()
        self._transport = transport

    def __repr__(self) -> str:
        """No secrets."""
        return f"ServerLine({self._base_url!r})"

    def close(self) -> None:
        """Close this thread's connection; another call opens a new one."""
        client: httpx2.Client | None = self._clients.__dict__.pop("client", None)
        if client is not None:
            client.close()

    def start(self) -> wire.StartedJob:
        """What is to be done.

        Raises:
            Lost: The job is not this worker's (any more); likewise for all others.
            ConnectionFailed: The server does not answer; likewise.
        """
        started = self._ask(wire.StartJob(), wire.StartedJob)
        self._token = started.token
        return started

    def beat(self, beat: wire.Beat, *, patiently: bool = False) -> wire.Desired:
        """Tell how far the work is; what is wanted of it. Not tried again unless `patiently`: the next beat comes soon."""
        beaten = self._ask(beat, wire.Beaten, patiently=patiently)
        self._token = beaten.token
        return beaten.desired

    def save(self, number: int, state: dict[str, Any]) -> None:
        """Keep a checkpoint; it is durable when this returns."""
        self._ask(wire.SaveState(number=number, state=state), wire.Settled)

    def finish(self, result: dict[str, Any]) -> None:
        """The work is done."""
        self._ask(wire.FinishJob(result), wire.Settled)

    def fail(self, code: str, message: str, *, retryable: bool) -> None:
        """The work failed."""
        self._ask(wire.FailJob(code=code, message=message, retryable=retryable), wire.Settled)

    def stop(self) -> None:
        """The worker stops because that is wanted."""
        self._ask(wire.StopJob(), wire.Settled)

    def borrow(self, version: str, options: dict[str, Any]) -> wire.BorrowedModel:
        """Have a model version run for this job; how far that is."""
        asked = wire.BorrowModel(version=version, options=options)
        return self._ask(asked, wire.BorrowedModel, path=wire.MODELS_PATH)

    def give_back(self, version: str, options: dict[str, Any], *, keep: bool) -> None:
        """Need it no longer. Not tried again: the server notices by itself, a little later."""
        returned = wire.ReturnModel(version=version, options=options, keep=keep)
        self._ask(returned, wire.ReturnedModel, patiently=False, path=wire.MODELS_PATH)

    def call(self, path: str, body: Any, *, timeout_seconds: float = 600.0) -> Any:
        """Make a v2 inference call on behalf of the job's account; what it answers, as JSON.

        The platform lets live traffic go first; while it is too busy the call is tried again, as long as it says that this may help.

        Args:
            path: Such as ``/v2/chat/completions``.
            body: What msgspec writes as JSON.
            timeout_seconds: How long one try may take.

        Raises:
            RefusedError: The call was refused, or the engine failed; the class says how.
            ConnectionFailed: The server does not answer.
        """
        content = msgspec.json.encode(body)
        give_up = time.monotonic() + self._patience_seconds
        pauses = iter(_PAUSES_SECONDS)
        while True:
            try:
                answer = self._client().post(
                    self._base_url + path,
                    content=content,
                    headers={
                        "Authorization": wire.SCHEME + self._token,
                        "Content-Type": "application/json",
                    },
                    timeout=timeout_seconds,
                )
            except httpx2.HTTPError as error:
                if time.monotonic() >= give_up:
                    raise ConnectionFailed(
                        f"the server does not answer its worker: {error}"
                    ) from error
            else:
                if answer.status_code == 200:
                    return msgspec.json.decode(answer.content)
                failure = _refusal(answer)
                if not failure.retryable or time.monotonic() >= give_up:
                    raise failure
            time.sleep(next(pauses, _PAUSES_SECONDS[-1]))

    def _ask(
        self,
        request: msgspec.Struct,
        reply: type[T],
        *,
        patiently: bool = True,
        path: str = wire.PATH,
    ) -> T:
        content = msgspec.json.encode(request)
        give_up = time.monotonic() + (self._patience_seconds if patiently else 0.0)
        pauses = iter(_PAUSES_SECONDS)
        while True:
            try:
                return self._once(path, type(request).__name__, content, reply)
            except (httpx2.HTTPError, InternalError) as error:
                if time.monotonic() >= give_up:
                    raise ConnectionFailed(
                        f"the server does not answer its worker: {error}"
                    ) from error
            time.sleep(next(pauses, _PAUSES_SECONDS[-1]))

    def _once(self, path: str, action: str, content: bytes, reply: type[T]) -> T:
        answer = self._client().post(
            self._base_url + path,
            params={"Action": action},
            content=content,
            headers={
                "Authorization": wire.SCHEME + self._token,
                "Content-Type": "application/json",
            },
        )
        if answer.status_code in _NO_LONGER_OURS:
            raise Lost(f"the server refused {action}: {answer.text[:500]}")
        if answer.status_code >= 500:
            raise InternalError(f"{answer.status_code} {answer.text[:500]}")
        if answer.status_code != 200:
            raise BadReply(f"the server refused {action}: {answer.status_code} {answer.text[:500]}")
        try:
            return msgspec.json.decode(answer.content, type=reply)
        except msgspec.MsgspecError as error:
            raise BadReply(f"the server's answer to {action} is none: {error}") from None

    def _client(self) -> httpx2.Client:
        """One for each thread: a beat never waits for a connection that the work holds."""
        client: httpx2.Client | None = getattr(self._clients, "client", None)
        if client is None:
            client = self._clients.client = httpx2.Client(
                timeout=TIMEOUT_SECONDS, trust_env=False, transport=self._transport
            )
        return client


def _refusal(answer: httpx2.Response) -> RefusedError:
    """What the platform refused a call with."""
    try:
        body = msgspec.json.decode(answer.content, type=v2_errors.ErrorBody)
    except msgspec.MsgspecError:
        text = f"the server answered {answer.status_code} {answer.text[:500]}"
        body = v2_errors.ErrorBody(v2_errors.ErrorDetail("", text))
    return v2_errors.from_body(body, status=answer.status_code, request_id=None)
