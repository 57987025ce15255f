"""Server-sent events, bytes to events and back. Pure: no I/O, no JSON.

Follows the event stream format of the HTML standard, section 9.2 (https://html.spec.whatwg.org/#server-sent-events), as far
as the two dialects use it: `data` and `event` fields, comments, any of the three line ends, multi-line data.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from yangfan.errors import BadReply

DONE = b"[DONE]"
"""Data of the last event of a v2 stream. v1 has none: its last event says `is_end`."""

CONTENT_TYPE = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its data (lines joined by a line feed) and its name, empty for the default."""

    data: bytes
    name: str = ""


def encode(data: bytes, name: str = "") -> bytes:
    """One event as it goes on the wire; `data` must hold no line feed (JSON from msgspec never does)."""
    if name:
        return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
    return b"data: %b\n\n" % data


def pieces(text: str, size_chars: int = 8192) -> list[str]:
    """Text cut so that no event's line passes the 64 KiB that some clients read at most."""
    if len(text) <= size_chars:
        return [text]
    return [text[start : start + size_chars] for start in range(0, len(text), size_chars)]


def _no_lines() -> list[bytes]:
    return []


@dataclass(slots=True)
class Decoder:
    """Feed it bytes as they arrive, cut anywhere; it returns the events that became complete.

    Args:
        max_event_bytes: Longest event to buffer; more raises BadReply, so a peer cannot fill our memory.
    """

    max_event_bytes: int = 16 * 1024 * 1024
    _buffer: bytearray = field(default_factory=bytearray)
    _data: list[bytes] = field(default_factory=_no_lines)
    _name: str = ""
    _size: int = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes; return the events that they complete, in order.

        Raises:
            BadReply: An event grew past `max_event_bytes`.
        """
        self._buffer += chunk
        events: list[Event] = []
        start = 0
        buffer = self._buffer
        while True:
            end = _line_end(buffer, start)
            if end is None:
                break
            line, next_start = bytes(buffer[start : end[0]]), end[1]
            start = next_start
            event = self._line(line)
            if event is not None:
                events.append(event)
        del buffer[:start]
        if len(buffer) + self._size > self.max_event_bytes:
            raise BadReply(f"an event of the stream is larger than {self.max_event_bytes} bytes")
        return events

    def _line(self, line: bytes) -> Event | None:
        if not line:
            if not self._data:
                self._name = ""
                return None
            event = Event(b"\n".join(self._data), self._name)
            self._data, self._name, self._size = [], "", 0
            return event
        key, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if key == b"data":
            self._data.append(value)
            self._size += len(value)
        elif key == b"event":
            self._name = value.decode("utf-8", "replace")
        return None


def _line_end(buffer: bytearray, start: int) -> tuple[int, int] | None:
    """Where the line that begins at `start` ends and where the next begins; None if its end has not arrived."""
    newline = buffer.find(b"\n", start)
    carriage = buffer.find(b"\r", start, newline if newline >= 0 else len(buffer))
    if carriage < 0:
        return None if newline < 0 else (newline, newline + 1)
    if carriage + 1 == len(buffer):
        return None
    return carriage, carriage + (2 if buffer.startswith(b"\n", carriage + 1) else 1)
