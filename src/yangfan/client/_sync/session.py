# Generated from _async by scripts/unasync.py; edit there.
"""What every resource of a client shares: authorize, send, try again, read errors."""

from __future__ import annotations

import threading
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from yangfan import errors
from yangfan.client import auth, replies
from yangfan.client.call import Call, convert, new_request_id, request_of
from yangfan.client.dialect import encode
from yangfan.client.exchange import Answer
from yangfan.client.retry import Retry
from yangfan.client.settings import checked_headers, checked_timeout_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from yangfan.client.exchange import Request
    from yangfan.client.settings import Settings
    from yangfan.client.transport import Incoming, Transport
    from yangfan.client.types import JSON
    from yangfan.protocol.endpoint import Endpoint

T = TypeVar("T")


class Session:
    """Sends calls.

    Attributes:
        settings: Complete and checked.
        transport: Sends requests.
        retry: When inference calls are sent again.
    """

    def __init__(self, settings: Settings, transport: Transport) -> None:
        """Send nothing yet."""
        self.settings = settings
        self.transport = transport
        self.retry = Retry(settings.max_retries)
        self._auths: dict[int, auth.Auth] = {}
        self._token_lock = threading.Lock()

    def inference_call(
        self,
        endpoint: Endpoint[Any, Any],
        version: int,
        *,
        path: str | None = None,
        body: JSON | None = None,
        request_id: str | None = None,
        timeout_seconds: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Call:
        """A call of v1 or v2 inference; it is sent again after passing failures."""
        base_url = self.settings.v1_url if version == 1 else self.settings.v2_url
        sent = dict(self.settings.headers)
        if version == 2 and self.settings.app_id:
            sent["appid"] = self.settings.app_id
        sent["Request_id"] = request_id or new_request_id()
        sent.update(headers or {})
        content = None if body is None else encode(body)
        request = request_of(
            endpoint, base_url, path=path, body=content, headers=dict(checked_headers(sent))
        )
        return Call(
            request, self._auth(version), self.retry, self._timeout_seconds(timeout_seconds)
        )

    def management_call(self, endpoint: Endpoint[Any, Any], body: JSON) -> Call:
        """A signed `?Action=` call; sent once only, because it may change something."""
        request = request_of(
            endpoint, self.settings.v2_url, body=encode(body), headers=dict(self.settings.headers)
        )
        signature = auth.for_management(self.settings)
        return Call(request, signature, Retry(0), self.settings.timeout_seconds)

    def file_call(
        self, endpoint: Endpoint[Any, Any], address: str, content: bytes = b"", /, **query: str
    ) -> Call:
        """A signed call that sends bytes, or fetches them."""
        request = request_of(
            endpoint, self.settings.v2_url, path=address, headers=dict(self.settings.headers)
        )
        if endpoint.method == "POST":
            request = replace(request, body=content).with_headers(
                ("Content-Type", "application/octet-stream")
            )
        for name, value in query.items():
            request = request.with_query(name, value)
        signature = auth.for_management(self.settings)
        return Call(request, signature, Retry(0), self.settings.timeout_seconds)

    def fetch(self, call: Call, reply_type: type[T]) -> T:
        """Send `call`; return its answer as `reply_type`."""
        answer = self.send(call)
        return convert(answer.document, reply_type)

    def send(self, call: Call) -> Answer:
        """Send `call` until an answer comes.

        Raises:
            RefusedError: The platform said no.
            UnreachableError: No usable answer came.
        """

        def once(request: Request) -> Answer:
            reply = self.transport.send(request, timeout_seconds=call.timeout_seconds)
            return Answer(replies.checked(reply), reply.headers)

        return self.persist(call, once)

    def open(self, call: Call) -> Incoming:
        """Send `call` once; return its reply as soon as its head is there."""
        request = self._authorize(call)
        return self.transport.open(request, timeout_seconds=call.timeout_seconds)

    def persist(self, call: Call, once: Callable[[Request], T]) -> T:
        """Try `once` with the authorized request, again after a wait while the failure may pass.

        Credentials that turn out to be stale are renewed once, and that does not count as a retry.
        """
        failures, is_renewed = 0, False
        while True:
            request = self._authorize(call)
            try:
                return once(request)
            except errors.YangfanError as error:
                if (
                    not is_renewed
                    and isinstance(error, errors.RefusedError)
                    and call.auth.renew(request, error)
                ):
                    is_renewed = True
                    continue
                failures += 1
                wait_seconds = call.retry.wait_seconds(failures, error, random.random())  # noqa: S311 - jitter
                if wait_seconds is None:
                    raise
            self.transport.sleep(wait_seconds)

    def _authorize(self, call: Call) -> Request:
        with self._token_lock:
            flow = call.auth.authorize(call.request)
            try:
                wanted = next(flow)
                while True:
                    timeout_seconds = min(call.timeout_seconds, 30.0)
                    wanted = flow.send(
                        self.transport.send(wanted, timeout_seconds=timeout_seconds)
                    )
            except StopIteration as stop:
                return stop.value

    def _auth(self, version: int) -> auth.Auth:
        if version not in self._auths:
            self._auths[version] = (
                auth.for_v1(self.settings) if version == 1 else auth.for_v2(self.settings)
            )
        return self._auths[version]

    def _timeout_seconds(self, given: float | None) -> float:
        return self.settings.timeout_seconds if given is None else checked_timeout_seconds(given)
