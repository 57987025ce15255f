"""Answers of at least so many tokens, over a child whose words are written down."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest

from yangfan.engines.base import CompletionRequest, Delta, Finish, Sampling, Usage
from yangfan.engines.wire.least import at_least


class Child:
    """Says `words`, one a token, and ends behind `wish` of them unless it must not."""

    def __init__(self, words: Sequence[str], wish: int) -> None:
        self.words = words
        self.wish = wish
        self.asked: list[CompletionRequest] = []

    async def generate(self, request: CompletionRequest) -> AsyncGenerator[Delta]:
        self.asked.append(request)
        said = 0
        while "".join(self.words[:said]) != request.prompt.removeprefix("?"):
            said += 1
        most, least = request.sampling.max_output_tokens, request.sampling.min_output_tokens
        assert most is not None
        assert not request.sampling.stop, "its own end would be taken for the model's"
        for count in range(most):
            if said + count >= self.wish and (least or 0) < most:
                yield Delta(finish=Finish.NATURAL, usage=Usage(1 + said, count))
                return
            yield Delta(self.words[said + count], usage=Usage(1 + said, count + 1))
        yield Delta(finish=Finish.LENGTH, usage=Usage(1 + said, most))


async def said(child: Child, least: int, **sampling: object) -> tuple[str, str, Delta]:
    """Thought, text and last delta of an answer."""
    given = {"max_output_tokens": 8, **sampling}
    request = CompletionRequest("?", Sampling(**given))  # pyright: ignore[reportArgumentType] - the fields of a test
    async with aclosing(at_least(least, request, child.generate)) as stream:
        deltas = [delta async for delta in stream]
    assert [delta.finish is None for delta in deltas] == [True] * (len(deltas) - 1) + [False]
    thought = "".join(delta.reasoning for delta in deltas)
    return thought, "".join(delta.text for delta in deltas), deltas[-1]


WORDS = ["one ", "two ", "three ", "four ", "five ", "six ", "seven ", "eight ", "nine "]


@pytest.mark.parametrize(
    ("wish", "least", "tokens", "finish"),
    [
        (2, 4, 4, Finish.NATURAL),
        (6, 4, 6, Finish.NATURAL),
        (9, 4, 8, Finish.LENGTH),
        (2, 8, 8, Finish.LENGTH),
        (2, 20, 8, Finish.LENGTH),
    ],
)
async def test_a_model_that_wants_to_end_goes_on_to_the_least(
    wish: int, least: int, tokens: int, finish: Finish
) -> None:
    child = Child(WORDS, wish)
    _, text, last = await said(child, least)
    assert text == "".join(WORDS[:tokens])
    assert (last.finish, last.usage) == (finish, Usage(1, tokens))
    assert len(child.asked) == (1 if least >= 8 else 2)


@pytest.mark.parametrize("stop", ["three", "o three", "two three four", "six"])
async def test_a_stop_string_ends_it_wherever_it_stands(stop: str) -> None:
    """Within the beginning, across its end, and behind it."""
    for least in (1, 2, 3, 5):
        _, text, last = await said(Child(WORDS, 9), least, stop=(stop,))
        assert text == "".join(WORDS).partition(stop)[0]
        assert last.finish is Finish.STOP_STRING


async def test_a_thought_is_told_apart_across_the_end_of_the_beginning() -> None:
    words = ["<thi", "nk>Hm, ", "yes.</th", "ink>\n\n", "Fine", ", thanks"]
    for least in range(1, 7):
        thought, text, last = await said(Child(words, 6), least)
        assert (thought, text) == ("Hm, yes.", "Fine, thanks")
        assert last.usage is not None
        assert (last.usage.completion_tokens, last.usage.reasoning_tokens > 0) == (6, True)
