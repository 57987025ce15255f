"""What a model thinks before it answers, told apart: `<think>…</think>` at the beginning of its output.

Children that know the model's template do this themselves; this is for the others. Pure, one splitter for each answer.
"""

from __future__ import annotations

OPENING_TAG = "<think>"
_CLOSE = "</think>"


class ReasoningSplitter:
    """Takes an answer piece by piece and says what of each piece is reasoning and what is answer.

    A tag may come cut into any number of pieces: what could still become one is kept back until that is known. The white space
    beside the tags belongs to neither part. Output that does not begin with the tag is answer throughout, unless the prompt ended
    with it; thinking that never ends is reasoning throughout.
    """

    __slots__ = ("_bare", "_kept", "_step")

    def __init__(self, *, inside: bool = False) -> None:
        """Nothing has come yet; `inside` means that the prompt has opened the thought already."""
        self._step = self._think if inside else self._begin
        self._kept = ""
        self._bare = inside

    def split(self, piece: str, *, last: bool = False) -> tuple[str, str]:
        """The reasoning and the answer that `piece` completes; `last` lets go of all that is kept back."""
        text, self._kept = self._kept + piece, ""
        return self._step(text, last)

    def _begin(self, text: str, last: bool) -> tuple[str, str]:
        start = text.lstrip()
        if start.startswith(OPENING_TAG):
            self._step, self._bare = self._think, True
            return self._think(start.removeprefix(OPENING_TAG), last)
        if last or not OPENING_TAG.startswith(start):
            self._step = self._answer
            return "", text
        self._kept = text
        return "", ""

    def _think(self, text: str, last: bool) -> tuple[str, str]:
        thought, tag, rest = text.partition(_CLOSE)
        if tag:
            self._step, thought = self._answer, self._without_space(thought.rstrip())
            self._bare = True
            return thought, self._answer(rest, last)[1]
        end = len(text) if last else _safe_length(text)
        self._kept = text[end:]
        return self._without_space(text[:end]), ""

    def _answer(self, text: str, last: bool) -> tuple[str, str]:  # noqa: ARG002 - a step, called by position
        return "", self._without_space(text) if self._bare else text

    def _without_space(self, text: str) -> str:
        """Leave out white space as long as the part that it is for is bare."""
        text = text.lstrip() if self._bare else text
        self._bare = self._bare and not text
        return text


def _safe_length(text: str) -> int:
    """How much of `text` neither begins the closing tag nor is white space in front of it."""
    end = len(text)
    for length in range(min(len(_CLOSE) - 1, end), 0, -1):
        if _CLOSE.startswith(text[-length:]):
            end -= length
            break
    return len(text[:end].rstrip())
