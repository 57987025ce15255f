"""What the server's tests share: a raw HTTP caller, signatures made without our own signer, and keys of every state."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from tests.conftest import Server

from yangfan.server.access.secrets import Vault
from yangfan.server.access.tokens import TokenMint

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Reply:
    """An answer as it came over the wire."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which says that it is JSON."""
        assert self.headers.get_content_type() == "application/json", self.body[:200]
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The data of each server-sent event; `[DONE]` stays a string."""
        assert self.headers.get_content_type() == "text/event-stream", self.body[:200]
        *lines, rest = self.body.decode().split("\n\n")
        assert rest == ""
        data = [line.removeprefix("data: ") for line in lines]
        return [text if text == "[DONE]" else json.loads(text) for text in data]


class Caller:
    """Sends requests to one server exactly as given, without a client library's opinions."""

    def __init__(self, server: Server) -> None:
        self.server = server
        parts = urlsplit(server.base_url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.host, self.port = parts.hostname, parts.port

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | str | Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        content_type: str = "application/json",
    ) -> Reply:
        """Send one request on a connection of its own; a mapping is sent as JSON."""
        if isinstance(body, Mapping):
            body = json.dumps(body, ensure_ascii=False)
        if isinstance(body, str):
            body = body.encode()
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_SECONDS)
        with closing(connection):
            connection.putrequest(
                method, path, skip_host="Host" in (headers or {}), skip_accept_encoding=True
            )
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
                connection.putheader("Content-Type", content_type)
            connection.endheaders(body)
            return _read(connection.sock, method)

    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Any]:
        """The events of one streamed call with the built-in bearer key, each as soon as it is there."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_SECONDS)
        with closing(connection):
            connection.request("POST", path, json.dumps(body), self.bearer())
            for line in connection.getresponse():
                if line.startswith(b"data: {"):
                    yield json.loads(line.removeprefix(b"data: "))

    def raw(self, data: bytes) -> Reply:
        """Send bytes, whatever they are, and read one answer."""
        with socket.create_connection((self.host, self.port), TIMEOUT_SECONDS) as connection:
            # A server that refuses before it has read all closes early; its answer is there to read.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data)
            return _read(connection, "GET")

    def bearer(self) -> dict[str, str]:
        """The header of the built-in bearer key."""
        return {"Authorization": f"Bearer {self.server.bearer}"}

    def v1(self, body: Mapping[str, Any] | str, model: str = "ernie_speed") -> Reply:
        """One v1 chat call with the built-in bearer key."""
        path = f"/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/{model}"
        return self.ask("POST", path, body, self.bearer())

    def v2(self, body: Mapping[str, Any] | str) -> Reply:
        """One v2 chat call with the built-in bearer key."""
        return self.ask("POST", "/v2/chat/completions", body, self.bearer())

    def action(self, name: str, body: Mapping[str, Any] | str, **sign: Any) -> Reply:
        """One Action on keys, signed with the built-in access key."""
        path = f"/v2/apikey?Action={name}"
        return self.ask("POST", path, body, self.signed("POST", path, **sign))

    def result(self, name: str, body: Mapping[str, Any]) -> Any:
        """The result of an Action that must succeed."""
        reply = self.action(name, body)
        assert reply.status == 200, reply.body
        return reply.json["result"]

    def signed(self, method: str, path: str, **sign: Any) -> dict[str, str]:
        """Headers that sign a request; see `sign_request`."""
        sign.setdefault("access_key", self.server.access_key)
        sign.setdefault("secret", self.server.secret_access_key)
        return sign_request(method, path, host=f"{self.host}:{self.port}", **sign)

    def access_token(self) -> str:
        """A new access token for the built-in application."""
        query = urlencode(
            {
                "grant_type": "client_credentials",
                "client_id": self.server.api_key,
                "client_secret": self.server.secret_key,
            }
        )
        return self.ask("POST", f"/oauth/2.0/token?{query}").json["access_token"]


def _read(connection: socket.socket, method: str) -> Reply:
    response = http.client.HTTPResponse(connection, method=method)
    with closing(response):
        response.begin()
        while response.status == 100:
            response.begin()
        return Reply(response.status, response.headers, response.read())


def sign_request(
    method: str,
    path: str,
    *,
    host: str,
    access_key: str,
    secret: str,
    age_seconds: int = 0,
    expiration_seconds: int = 1800,
    also: Mapping[str, str] | None = None,
    unlisted: bool = False,
    host_with_port: bool = True,
    query_in_path: bool = False,
    signed_headers: str | None = None,
) -> dict[str, str]:
    """bce-auth-v1 written a second time from specification A.3, so that a shared mistake cannot hide.

    Args:
        method: HTTP method.
        path: Path and query.
        host: Host header as sent.
        access_key: Whose key.
        secret: Its secret.
        age_seconds: How long ago it was signed; negative for the future.
        expiration_seconds: How long it holds.
        also: Further headers to send and cover.
        unlisted: Cover x-bce-date without listing it, as the Python SDK's signer does.
        host_with_port: False signs the bare name, as Java and Go do.
        query_in_path: True signs the query as part of the path, as Go does.
        signed_headers: Overrides the list in the header.
    """
    moment = time.gmtime(time.time() - age_seconds)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
    sent = {"Host": host, "x-bce-date": stamp, **(also or {})}
    covered = {name.lower(): value for name, value in sent.items()}
    if not host_with_port:
        covered["host"] = host.rpartition(":")[0]
    parts = urlsplit(path)
    uri, query = quote(parts.path, safe="/-_.~"), ""
    if query_in_path:
        uri = quote(path, safe="/-_.~")
    else:
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        query = "&".join(sorted(f"{_quote(key)}={_quote(value)}" for key, value in pairs))
    lines = sorted(f"{_quote(name)}:{_quote(value.strip())}" for name, value in covered.items())
    canonical = f"{method}\n{uri}\n{query}\n" + "\n".join(lines)
    prefix = f"bce-auth-v1/{access_key}/{stamp}/{expiration_seconds}"
    signature = _hmac(_hmac(secret, prefix), canonical)
    names = [name for name in covered if not (unlisted and name == "x-bce-date")]
    listed = ";".join(reversed(names)) if signed_headers is None else signed_headers
    return {**sent, "Authorization": f"{prefix}/{listed}/{signature}"}


def _quote(text: str) -> str:
    return quote(text, safe="-_.~")


def _hmac(key: str, message: str) -> str:
    return hmac.new(key.encode(), message.encode(), hashlib.sha256).hexdigest()


def mint_of(server: Server) -> TokenMint:
    """The server's own mint, made from the key in its home, to make tokens of the past."""
    return TokenMint(Vault((server.home / "secret.key").read_bytes()).token_key)


@pytest.fixture(scope="session")
def echo(echo_server: Server) -> Caller:
    """A caller of the shared server with the echo model."""
    return Caller(echo_server)
