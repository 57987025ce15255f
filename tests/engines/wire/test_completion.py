"""Completion requests as a child reads them, and what is added to its answers."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from yangfan.engines.base import CompletionRequest, Delta, Sampling
from yangfan.engines.wire.completion import completed, encode_completion
from yangfan.errors import Invalid


def encoded(request: CompletionRequest) -> dict[str, Any]:
    return json.loads(encode_completion("m", request))


async def through(request: CompletionRequest, *deltas: Delta) -> list[Delta]:
    async def source() -> AsyncGenerator[Delta]:
        for delta in deltas:
            yield delta

    return [delta async for delta in completed(source(), request)]


def test_every_field_has_its_name() -> None:
    sampling = Sampling(
        temperature=0.5,
        top_p=0.6,
        top_k=7,
        repetition_penalty=1.1,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        max_output_tokens=9,
        seed=3,
        stop=("a",),
        logit_bias={"5": -1.0},
    )
    assert encoded(CompletionRequest("p", sampling, n=2, logprobs=4)) == {
        "model": "m",
        "prompt": "p",
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.6,
        "top_k": 7,
        "repeat_penalty": 1.1,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "seed": 3,
        "stop": ["a"],
        "logit_bias": {"5": -1.0},
        "n": 2,
        "logprobs": 4,
        "stream": True,
        "stream_options": {"include_usage": True},
        "timings_per_token": True,
        "verbose": True,
        "cache_prompt": False,
    }


@pytest.mark.parametrize(("asked", "sent"), [(None, None), (0, 1), (1, 1), (5, 5)])
def test_a_child_is_never_asked_for_no_alternative(asked: int | None, sent: int | None) -> None:
    assert encoded(CompletionRequest("p", logprobs=asked)).get("logprobs") == sent


@pytest.mark.parametrize(
    ("asked", "sent"), [({"echo": True}, None), ({"echo": True, "logprobs": 0}, True)]
)
def test_a_child_tells_of_a_prompt_what_is_asked_of_it(
    asked: dict[str, Any], sent: bool | None
) -> None:
    assert encoded(CompletionRequest("p", **asked)).get("echo") is sent


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(Invalid, match="prompt must not be empty; give the text to go on from"):
        encode_completion("m", CompletionRequest(""))


async def test_the_prompt_stands_in_front_of_each_text_once() -> None:
    request = CompletionRequest("p ", n=2, echo=True)
    deltas = await through(request, Delta("a", 1), Delta("b", 0), Delta("c", 1), Delta("d", 0))
    assert [(delta.index, delta.text) for delta in deltas] == [
        (1, "p a"),
        (0, "p b"),
        (1, "c"),
        (0, "d"),
    ]


async def test_nothing_is_added_that_was_not_asked_for() -> None:
    delta = Delta("a")
    (same,) = await through(CompletionRequest("p"), delta)
    assert same is delta


@pytest.mark.parametrize(("asked", "left"), [(0, []), (1, [{"token": "b"}])])
async def test_no_more_alternatives_than_were_asked_for(asked: int, left: list[Any]) -> None:
    token = {"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b"}]}
    delta = Delta("a", logprobs={"content": [token]})
    (out,) = await through(CompletionRequest("p", logprobs=asked), delta)
    assert out.logprobs == {"content": [{**token, "top_logprobs": left}]}
