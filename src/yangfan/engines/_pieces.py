"""Tokens into text, piece by piece, for children whose engine gives tokens: whole characters only, and nothing from a stop string on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_BROKEN = "\ufffd"
_LONGEST_CHARACTER_TOKENS = 8
"""A character is at most 4 bytes, and emoji of several characters are no matter here: what is broken after this many stays so."""

_WINDOW_TOKENS = 16
_KEPT_TOKENS = 4


class Detokenizer:
    """Turns the tokens of one answer into text as they come.

    A token may hold a part of a character, and what a token says can depend on the one before it. So the last few tokens are
    decoded together each time, and what is new is what they say beyond the last time.
    """

    __slots__ = ("_decode", "_seen", "_waiting", "_window")

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        """Nothing has come yet; `decode` gives the text of tokens."""
        self._decode = decode
        self._window: list[int] = []
        self._seen = ""
        self._waiting = 0

    def add(self, token: int) -> str:
        """The text that `token` completes; "" while a character is not whole."""
        self._window.append(token)
        text = self._decode(self._window)
        self._waiting += 1
        if text.endswith(_BROKEN) and self._waiting < _LONGEST_CHARACTER_TOKENS:
            return ""
        return self._take(text)

    def end(self) -> str:
        """What is left."""
        return self._take(self._decode(self._window)) if self._waiting else ""

    def _take(self, text: str) -> str:
        new = text[len(self._seen) :]
        self._seen, self._waiting = text, 0
        if len(self._window) >= _WINDOW_TOKENS:
            self._window = self._window[-_KEPT_TOKENS:]
            self._seen = self._decode(self._window)
        return new


class StopCutter:
    """Lets text through up to the first stop string, and keeps back what may become one.

    Attributes:
        stopped: Whether one came; nothing passes after that.
    """

    __slots__ = ("_kept", "_stops", "stopped")

    def __init__(self, stops: Sequence[str]) -> None:
        """Nothing has come yet; empty stop strings are ignored."""
        self._stops = tuple(stop for stop in stops if stop)
        self._kept = ""
        self.stopped = False

    def add(self, text: str) -> str:
        """What of all text so far is now known to be answer."""
        if not self._stops or self.stopped:
            return "" if self.stopped else text
        text, self._kept = self._kept + text, ""
        cuts = [cut for cut in map(text.find, self._stops) if cut >= 0]
        if cuts:
            self.stopped = True
            return text[: min(cuts)]
        length = max(_overlap(text, stop) for stop in self._stops)
        if length:
            text, self._kept = text[:-length], text[-length:]
        return text

    def end(self) -> str:
        """What was kept back and became no stop string."""
        text, self._kept = self._kept, ""
        return "" if self.stopped else text


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
