"""HTML and XML tags and entities, URLs, scripts and styles with their content go; the text inside tags stays.

Source: the syntax of tags and character references in WHATWG's HTML standard (13.1), of URLs in RFC 3986.
"""

from __future__ import annotations

import functools
import re
from html.entities import html5
from typing import TYPE_CHECKING

from yangfan.operators import base
from yangfan.operators._rewriting import rewritten

if TYPE_CHECKING:
    from yangfan.operators._texts import Texts

STAGE: base.Stage = "clean"
SUMMARY = {
    "en": "Remove HTML and XML tags and entities, scripts, styles and URLs; text inside tags stays",
    "zh": "去除网页标识：HTML/XML 标签与实体、脚本与样式、网址，保留标签内文字",
}

# No part of a tag runs past the next "<", so that a text of nothing but "<" is read once, not once for each.
_ATTRIBUTES = r"(?:\"[^\"<]*\"|'[^'<]*'|[^'\"<>])*+"
_TAG = re.compile(
    rf"<(?:/?[A-Za-z][A-Za-z0-9:._-]*(?:[\s/]{_ATTRIBUTES})?|![A-Za-z\[]{_ATTRIBUTES}|\?[A-Za-z][^<>]*+)>"
)
_URL = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:https?|ftps?|wss?)://|www\.)[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ENDS = {
    "<!--": re.compile(r"-->"),
    "<script": re.compile(r"</script[^<>]*>", re.IGNORECASE),
    "<style": re.compile(r"</style[^<>]*>", re.IGNORECASE),
}
_OPENING = re.compile(r"<!--|<script(?=[\s/>])|<style(?=[\s/>])", re.IGNORECASE)
_SENTENCE_END = ".,;:!?'"


class Parameters(base.Parameters, frozen=True):
    """None."""


class RemoveWebIdentifiers(base.Cleaner):
    """What belongs to web pages and not to their text goes."""

    def change(self, texts: Texts) -> Texts:
        """The texts alone."""
        codes = texts.codes
        signs = (codes == ord("<")) | (codes == ord("&")) | (codes == ord("/"))
        signs |= (codes == ord("w")) | (codes == ord("W"))
        return rewritten(texts, texts.sums(signs) > 0, _plain)


def create(parameters: Parameters, common: base.Common) -> base.Operator:
    """The operator."""
    del parameters, common
    return RemoveWebIdentifiers()


def _plain(text: str) -> str:
    if "<" in text:
        text = _TAG.sub("", _without_blocks(text))
    if "://" in text or "www." in text.lower():
        text = _URL.sub(_rest_of_url, text)
    if "&" in text:
        text = _ENTITY.sub(_rest_of_entity, text)
    return text


def _without_blocks(text: str) -> str:
    """`text` without comments, scripts and styles; what is never closed is no block."""
    pieces: list[str] = []
    done, position = 0, 0
    unclosed: set[str] = set()
    while opening := _OPENING.search(text, position):
        kind = opening[0].lower()
        position = opening.end()
        # Looking for an end that is not there costs the whole rest, so each kind is looked for in vain only once.
        end = None if kind in unclosed else _ENDS[kind].search(text, position)
        if end is None:
            unclosed.add(kind)
            continue
        pieces.append(text[done : opening.start()])
        done = position = end.end()
    return "".join((*pieces, text[done:]))


def _rest_of_url(match: re.Match[str]) -> str:
    """What ends the sentence or the bracket around the URL, not the URL."""
    url = match[0]
    end = len(url)
    unopened = sum(url.count(sign) for sign in ")]") - sum(url.count(sign) for sign in "([")
    while end and (url[end - 1] in _SENTENCE_END or (url[end - 1] in ")]" and unopened > 0)):
        unopened -= url[end - 1] in ")]"
        end -= 1
    return url[end:]


@functools.cache
def _names() -> frozenset[str]:
    return frozenset(html5)


def _rest_of_entity(match: re.Match[str]) -> str:
    entity = match[0]
    return "" if entity[1] == "#" or entity[1:] in _names() else entity
