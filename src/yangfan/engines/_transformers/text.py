"""From tokens to text, piece by piece: no half characters, no half stop strings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HALF = "\ufffd"
"""What half a character decodes to."""

MOST_HELD_TOKENS = 8
"""A character has at most four bytes, so more tokens than this that end in `HALF` are no character in the making."""


class Detokenizer:
    """Takes tokens one by one and gives the text that each completes."""

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        """Nothing has come yet."""
        self._decode = decode
        self._ids: list[int] = []
        self._told = 0
        """Tokens whose text has been given away."""
        self._context = 0
        """Where decoding begins: some tokens before, because a token's text depends on the one before it."""

    def push(self, token: int) -> str:
        """The text that is whole now, "" while a character is in the making."""
        self._ids.append(token)
        return self._take(last=False)

    def flush(self) -> str:
        """What is left at the end, with `HALF` for half a character."""
        return self._take(last=True)

    def _take(self, *, last: bool) -> str:
        before = self._decode(self._ids[self._context : self._told])
        text = self._decode(self._ids[self._context :])
        held = len(self._ids) - self._told
        if text.endswith(HALF) and not last and held < MOST_HELD_TOKENS:
            return ""
        if len(text) <= len(before):
            return ""
        self._context, self._told = self._told, len(self._ids)
        return text[len(before) :]


class StopStrings:
    """Ends a text before the first of some strings; what may become one is kept back."""

    def __init__(self, stops: Sequence[str]) -> None:
        """Nothing has come yet."""
        self._stops = [stop for stop in stops if stop]
        self._kept = ""

    def push(self, piece: str, *, last: bool = False) -> tuple[str, bool]:
        """The text that may be told now, and whether a stop string ended it."""
        if not self._stops:
            return piece, False
        text = self._kept + piece
        found = [place for place in (text.find(stop) for stop in self._stops) if place >= 0]
        if found:
            self._kept = ""
            return text[: min(found)], True
        keep = 0 if last else max(_overlap(text, stop) for stop in self._stops)
        self._kept = text[len(text) - keep :]
        return text[: len(text) - keep], False


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
