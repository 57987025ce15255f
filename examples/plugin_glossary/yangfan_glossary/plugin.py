"""Looks for the terms that stand in a text, and gives what they mean."""

from __future__ import annotations

import asyncio
import tomllib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yangfan.plugins.base import Outcome, PluginFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.plugins.base import Host


async def call(inputs: Mapping[str, Any], host: Host) -> Outcome:
    """Explain the terms in `text`."""
    text = inputs["text"]
    terms = await asyncio.to_thread(_terms, host.settings["file"])
    found = {term: meaning for term, meaning in terms.items() if term in text.casefold()}
    if not found:
        return Outcome(
            "", answer="No term of the glossary stands in this question. / 问题中没有术语表里的词。"
        )
    told = "\n".join(f"{term}: {meaning}" for term, meaning in found.items())
    return Outcome(
        told,
        sources=tuple(found.values()),
        request={"query": text},
        response={"retCode": 0, "terms": [*found]},
    )


def _terms(file: str) -> dict[str, str]:
    try:
        if file:
            return tomllib.loads(Path(file).read_text("utf-8"))
        return tomllib.loads(
            resources.files("yangfan_glossary").joinpath("terms.toml").read_text("utf-8")
        )
    except (OSError, ValueError) as error:
        raise PluginFailed(f"the file of terms cannot be read: {error}") from error
