"""Shared by the tests of operators."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from yangfan.operators import base
from yangfan.operators._texts import Texts

Clean = Callable[..., list[str]]
Measure = Callable[..., list[float]]
Keep = Callable[..., list[bool]]


def outcome(
    name: str, texts: Iterable[str], language: str, arguments: dict[str, Any]
) -> base.Outcome:
    operator = base.create(name, arguments, base.Common(language))
    return operator(Texts(list(texts), language))


@pytest.fixture
def clean() -> Clean:
    """Texts after an operator."""

    def texts(name: str, *texts: str, language: str = "auto", **arguments: Any) -> list[str]:
        return outcome(name, texts, language, arguments).texts.strings

    return texts


@pytest.fixture
def measure() -> Measure:
    """What a filter measures of texts."""

    def values(name: str, *texts: str, language: str = "auto", **arguments: Any) -> list[float]:
        found = outcome(name, texts, language, arguments).values
        assert found is not None
        return found.tolist()

    return values


@pytest.fixture
def keep() -> Keep:
    """Which texts stay."""

    def kept(name: str, *texts: str, language: str = "auto", **arguments: Any) -> list[bool]:
        found = outcome(name, texts, language, arguments).keep
        assert found is not None
        return found.tolist()

    return kept
