"""Other people's machines for tests of plugins: an API with its document, and a model that calls tools as its question says."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "key-of-the-house-0123456789"

DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Pets", "description": "A shop of pets.", "version": "1"},
    "components": {
        "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"}},
        "parameters": {
            "id": {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
        },
        "schemas": {
            "Pet": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "nullable": True},
                    "age": {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
                    "friends": {"type": "array", "items": {"$ref": "#/components/schemas/Pet"}},
                },
            }
        },
    },
    "paths": {
        "/pets/{id}": {
            "parameters": [{"$ref": "#/components/parameters/id"}],
            "get": {
                "operationId": "get pet",
                "summary": "Show a pet.",
                "parameters": [
                    {
                        "name": "fields",
                        "in": "query",
                        "schema": {"type": "array", "items": {"type": "string"}},
                    },
                    {"name": "X-Trace", "in": "header", "schema": {"type": "string"}},
                    {"name": "Host", "in": "header", "schema": {"type": "string"}},
                ],
            },
            "post": {
                "summary": "Change a pet.",
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}
                    },
                },
            },
        },
        "/away": {"get": {"operationId": "away", "summary": "Leads elsewhere."}},
        "/picture": {"get": {"operationId": "picture"}},
        "/upload": {
            "post": {
                "requestBody": {
                    "required": True,
                    "content": {"multipart/form-data": {"schema": {"type": "object"}}},
                }
            }
        },
    },
}


class World(ThreadingHTTPServer):
    """Keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.rule = "Cats may sleep on the sofa."
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self, body: bytes) -> None:
        world = self.server
        assert isinstance(world, World)
        headers = {name.lower(): value for name, value in self.headers.items()}
        world.asked.append((self.command, self.path, headers, body))
        path = urlsplit(self.path).path
        if path == "/openapi.json":
            self._send(DOCUMENT)
        elif path == "/v1/models":
            self._send({"object": "list", "data": [{"id": "caller"}]})
        elif path == "/v1/chat/completions":
            self._chat(json.loads(body))
        elif path == "/away":
            self._raw(302, b"", "text/plain", location="https://10.1.2.3/elsewhere")
        elif path == "/rules":
            page = f"<html><body><h1>Rules</h1><p>{world.rule}</p></body></html>"
            self._raw(200, page.encode(), "text/html; charset=utf-8")
        elif path == "/picture":
            self._raw(200, b"\x89PNG\x00\x01", "image/png")
        elif path.startswith("/pets/"):
            if headers.get("x-api-key") != KEY:
                self._raw(401, b"who are you?", "text/plain")
                return
            query = parse_qs(urlsplit(self.path).query)
            self._send({"path": path, "query": query, "body": body.decode(), "key": KEY})
        else:
            self._raw(404, b"nothing here", "text/plain")

    def _chat(self, asked: dict[str, Any]) -> None:
        """The last turn of the user says what to do: CALL NAME JSON once, LOOP NAME JSON for ever, else an echo of tools' results."""
        messages = asked["messages"]
        question = next(m["content"] for m in reversed(messages) if m["role"] == "user")
        word, _, rest = str(question).partition(" ")
        told = messages[-1]["role"] == "tool"
        if word == "STALL":
            threading.Event().wait(20)
        if word == "LOOP" or (word == "CALL" and not told):
            name, _, arguments = rest.partition(" ")
            call = {
                "index": 0,
                "id": f"call-{len(messages)}",
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            self._stream({"role": "assistant", "tool_calls": [call]}, "tool_calls")
        else:
            said = f"tool said: {messages[-1]['content']}" if told else f"heard: {question}"
            self._stream({"role": "assistant", "content": said}, "stop")

    def _stream(self, delta: dict[str, Any], finish: str) -> None:
        usage = {"prompt_tokens": 40, "completion_tokens": 10, "total_tokens": 50}
        chunks: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
            {"choices": [], "usage": usage},
        ]
        common = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "caller"}
        lines = [f"data: {json.dumps({**common, **chunk})}\n\n" for chunk in chunks]
        self._raw(200, "".join([*lines, "data: [DONE]\n\n"]).encode(), "text/event-stream")

    def _send(self, body: object) -> None:
        self._raw(200, json.dumps(body).encode(), "application/json")

    def _raw(self, status: int, body: bytes, kind: str, *, location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def a_world() -> Generator[World]:
    """One that listens."""
    with World() as world:
        thread = threading.Thread(target=world.serve_forever, daemon=True)
        thread.start()
        yield world
        world.shutdown()
        thread.join()
