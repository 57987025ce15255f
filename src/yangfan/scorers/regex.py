"""Whether a regular expression is found in the answer: the one of the parameters, else the sample's expected answer.

An expression is somebody's input, and one that backtracks for ever would hold a worker: it is tried in a process of its own that is
ended when its time is over, and the answer is then ungradeable.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec

from yangfan.errors import Invalid
from yangfan.scorers import base

if TYPE_CHECKING:
    from yangfan.scorers.base import Models, Sample, Score

SUMMARY = {
    "en": "A regular expression is found in the answer: 1 or 0",
    "zh": "回答中能匹配到正则表达式：1 或 0",
}

TIMEOUT_SECONDS = 5.0
MAX_PATTERN_CHARACTERS = 2000

_HARMLESS = re.compile(r"(?:[^\\()\[\]{}*+?|]|\\.|\[(?:[^\\\]]|\\.)*\]|[*+?])*")
"""No groups, alternatives or counts, so that no more than a few repetitions can compete."""

_MOST_REPETITIONS = 2

_CHILD = (
    "import json, re, sys\n"
    "pattern, text, whole = json.loads(sys.stdin.read())\n"
    "found = (re.fullmatch if whole else re.search)(pattern, text)\n"
    "print(int(found is not None))\n"
)


class Parameters(base.Parameters, frozen=True):
    """Arguments."""

    pattern: str = ""
    """The expression, in Python's syntax; the sample's expected answer is one if this is empty."""
    whole: bool = False
    """Whether it has to match the whole answer."""


class Regex:
    """A search."""

    def __init__(self, pattern: str, *, whole: bool) -> None:
        self._pattern = pattern
        self._whole = whole

    def score(self, sample: Sample) -> Score:
        """1 or 0."""
        patterns = (self._pattern,) if self._pattern else sample.references
        return base.best([self._one(pattern, sample.answer) for pattern in patterns])

    def _one(self, pattern: str, answer: str) -> Score:
        wrong = wrong_with(pattern)
        if wrong:
            return base.ungradeable(wrong)
        if _is_harmless(pattern):
            search = re.fullmatch if self._whole else re.search
            return base.Score(float(search(pattern, answer) is not None))
        return _in_a_child(pattern, answer, whole=self._whole)


def wrong_with(pattern: str) -> str:
    """Why it is no expression that can be used; "" if it is one."""
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        return f"the expression is longer than {MAX_PATTERN_CHARACTERS} characters"
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return f"no regular expression: {error}"
    return ""


def _is_harmless(pattern: str) -> bool:
    if _HARMLESS.fullmatch(pattern) is None:
        return False
    return sum(map(pattern.count, "*+?")) <= _MOST_REPETITIONS


def _in_a_child(pattern: str, answer: str, *, whole: bool) -> Score:
    try:
        done = subprocess.run(  # noqa: S603 - our own program; what is given goes in as data
            [sys.executable, "-I", "-S", "-c", _CHILD],
            input=msgspec.json.encode([pattern, answer, whole]),
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired:
        return base.ungradeable(
            f"the expression took longer than {TIMEOUT_SECONDS:g} s; write one that backtracks less"
        )
    except subprocess.CalledProcessError:
        return base.ungradeable("the expression cannot be tried on this answer")
    return base.Score(float(done.stdout.strip() == b"1"))


def create(parameters: Parameters, models: Models | None) -> base.Scorer:
    """The scorer.

    Raises:
        Invalid: `pattern` is no expression.
    """
    del models
    wrong = wrong_with(parameters.pattern)
    if wrong:
        raise Invalid(f"scorer regex: {wrong}", param="pattern")
    return Regex(parameters.pattern, whole=parameters.whole)
