"""What a model thinks before it answers, told apart: `<think>…</think>` at the beginning of its output.

Children that know the model's template do this themselves; this is for the others. Pure, one splitter for each answer.
"""

from __future__ import annotations

OPENING_TAG = "<think>"
CLOSING_TAG = "</think>"
END_OF_THOUGHT = f"\n{CLOSING_TAG}\n\n"
"""What ends a thought that has had all its tokens, as the models that think write it."""


def split_whole(text: str, *, inside: bool) -> tuple[str, str]:
    """The reasoning and the answer in a whole output, as a `ReasoningSplitter` says it."""
    if not inside and OPENING_TAG not in text:
        return "", text
    return ReasoningSplitter(inside=inside).split(text, last=True)


class ReasoningSplitter:
    """Takes an answer piece by piece and says what of each piece is reasoning and what is answer.

    A tag may come cut into any number of pieces: what could still become one is kept back until that is known. The white space
    beside the tags belongs to neither part. Output that does not begin with the tag is answer throughout, unless the prompt ended
    with it; thinking that never ends is reasoning throughout.
    """

    __slots__ = ("_bare", "_kept", "_plain", "_step")

    def __init__(self, *, inside: bool = False) -> None:
        """Nothing has come yet; `inside` means that the prompt has opened the thought already."""
        self._step = self._think if inside else self._begin
        self._kept = ""
        self._bare = inside
        self._plain = False  # whether all that comes is the answer, as it comes

    def split(self, piece: str, *, last: bool = False) -> tuple[str, str]:
        """The reasoning and the answer that `piece` completes; `last` lets go of all that is kept back."""
        if self._plain:
            return "", piece
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
        thought, tag, rest = text.partition(CLOSING_TAG)
        if tag:
            self._step, thought = self._answer, self._without_space(thought.rstrip())
            self._bare = True
            return thought, self._answer(rest, last)[1]
        end = len(text) if last else _safe_length(text)
        self._kept = text[end:]
        return self._without_space(text[:end]), ""

    def _answer(self, text: str, last: bool) -> tuple[str, str]:  # noqa: ARG002 - a step, called by position
        text = self._without_space(text) if self._bare else text
        self._plain = not self._bare
        return "", text

    def _without_space(self, text: str) -> str:
        """Leave out white space as long as the part that it is for is bare."""
        text = text.lstrip() if self._bare else text
        self._bare = self._bare and not text
        return text


class ThoughtLimit:
    """Says when the thought of one answer has had all its tokens, and has to be ended by `CLOSING_TAG`.

    For engines that pick tokens themselves: they tell each token's text, and put the tag in where `add` says so. What counts as a
    thought is what `ReasoningSplitter` takes for one; its tags count for nothing.
    """

    __slots__ = ("_inside", "_left", "_text")

    def __init__(self, tokens: int, *, inside: bool) -> None:
        """Nothing has come yet; `inside` means that the prompt has opened the thought already."""
        self._left = tokens
        self._inside: bool | None = inside or None  # False once there is none or it has ended
        self._text = ""

    @property
    def used_up(self) -> bool:
        """Whether not one more token may be thought."""
        return self._inside is True and self._left <= 0

    def add(self, text: str) -> bool:
        """Take the text of the next token ("" of half a character); whether the thought has to end after it."""
        if self._inside is False:
            return False
        self._text += text
        if self._inside is None:
            start = self._text.lstrip()
            if start.startswith(OPENING_TAG):
                self._inside, self._text = True, ""
                return self._ends(text)
            if not OPENING_TAG.startswith(start):
                self._inside = False
            return False
        self._left -= 1
        if CLOSING_TAG in self._text:
            self._inside = False
            return False
        self._text = self._text[-len(CLOSING_TAG) :]
        return self._ends(text)

    def _ends(self, text: str) -> bool:
        ends = self.used_up and bool(text)
        self._inside = not ends
        return ends


def _safe_length(text: str) -> int:
    """How much of `text` neither begins the closing tag nor is white space in front of it."""
    end = len(text)
    for length in range(min(len(CLOSING_TAG) - 1, end), 0, -1):
        if CLOSING_TAG.startswith(text[-length:]):
            end -= length
            break
    return len(text[:end].rstrip())
