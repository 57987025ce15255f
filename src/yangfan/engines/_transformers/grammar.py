"""Answers that fit a JSON Schema, guaranteed: llguidance says at each token which ones may come.

A schema is compiled and checked before anything is generated; a matcher that fails later fails its own request only.
"""

from __future__ import annotations

import importlib
import json
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

WHITESPACE = {"whitespace_pattern": r"[ \n]{0,8}"}
"""How much white space JSON may hold in one place: a small model would go on with it for ever."""


class Grammars:
    """Makes matchers for one tokenizer."""

    def __init__(self, tokenizer: Any, vocabulary: int, endings: list[int]) -> None:
        """Nothing is computed until the first schema comes (about a second)."""
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._endings = endings
        self._made: Any = None
        self._lock = threading.Lock()

    def matcher(self, response_format: Mapping[str, Any] | None) -> Any:
        """A matcher for OpenAI's `response_format`; None if any text will do.

        Raises:
            ValueError: The schema cannot be guaranteed; the message says why.
        """
        schema = _schema_of(response_format)
        if schema is None:
            return None
        llguidance: Any = importlib.import_module("llguidance")
        grammar = llguidance.LLMatcher.grammar_from_json_schema(
            json.dumps(schema), defaults=WHITESPACE
        )
        matcher = llguidance.LLMatcher(self._known(), grammar, log_level=0)
        if matcher.is_error():
            raise ValueError(
                f"response_format has a schema that cannot be guaranteed: {matcher.get_error()[:500]}"
            )
        return matcher

    def _known(self) -> Any:
        with self._lock:
            if self._made is None:
                if not self._tokenizer.is_fast:
                    raise ValueError(
                        "response_format needs a model with a tokenizer.json; ask without it"
                    )
                hf: Any = importlib.import_module("llguidance.hf")
                self._made = hf.from_tokenizer(
                    self._tokenizer, n_vocab=self._vocabulary, eos_token=self._endings or None
                )
            return self._made


def _schema_of(response_format: Mapping[str, Any] | None) -> Any:
    kind = "text" if response_format is None else response_format.get("type", "text")
    if response_format is None or kind == "text":
        return None
    if kind == "json_object":
        return response_format.get("schema") or {"type": "object"}
    if kind == "json_schema":
        described = response_format.get("json_schema")
        if not isinstance(described, dict) or "schema" not in described:
            raise ValueError("response_format.json_schema needs a schema")
        return described["schema"]  # pyright: ignore[reportUnknownVariableType]  it is whatever the caller wrote
    raise ValueError(
        f"response_format has no type {kind!r}; there are text, json_object, json_schema"
    )
