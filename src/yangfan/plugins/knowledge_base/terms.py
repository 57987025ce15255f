"""Text to terms, the same for documents and for questions, on every database.

Chinese, Japanese and Korean runs become overlapping pairs of characters beside the single ones (bigrams find words without a dictionary,
which is how Lucene's CJKBigramFilter does it); other runs become words, folded to lower case and without their plural s. The database
only looks for whole terms; all ranking is done over these, so it is the same on SQLite and PostgreSQL.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from yangfan.plugins._texts import CJK

if TYPE_CHECKING:
    from collections.abc import Iterator

_RUNS = re.compile(rf"([{CJK}]+)|([^\W_{CJK}]+)")

MAX_WORD_CHARS = 64
"""Of a longer run, such as a key or a hash, only the beginning is a term."""

_STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "did",
        "do",
        "does",
        "for",
        "from",
        "had",
        "has",
        "have",
        "how",
        "i",
        "in",
        "is",
        "it",
        "of",
        "on",
        "or",
        "that",
        "the",
        "their",
        "there",
        "they",
        "this",
        "to",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "why",
        "will",
        "with",
        "you",
        "your",
    ]
)
_STOP_PAIRS = frozenset(
    [
        "什么",
        "怎么",
        "如何",
        "哪些",
        "哪个",
        "哪里",
        "多少",
        "是否",
        "可以",
        "我们",
        "你们",
        "他们",
        "这个",
        "那个",
        "一个",
        "请问",
        "么样",
        "为什",
        "吗呢",
        "的是",
        "是的",
        "了吗",
        "有什",
        "是什",
    ]
)
_ASKING = frozenset("请问什么怎样如何哪谁几多少为能可以会吗呢有没需要")
"""Characters that ask, and say nothing of what is asked about."""

_STOP_SINGLES = frozenset("的了是在和有我你他她它们吗呢吧啊与或及也都就而不这那")


def normalized(text: str) -> str:
    """Compatibility forms unified (full-width letters, ligatures), case folded (Unicode NFKC)."""
    return unicodedata.normalize("NFKC", text).casefold()


def terms_of(text: str) -> Iterator[str]:
    """All terms of a document's text, in order, repeated as often as they stand there."""
    for cjk, word in _RUNS.findall(normalized(text)):
        if cjk:
            yield from cjk
            for at in range(len(cjk) - 1):
                yield cjk[at : at + 2]
        else:
            yield _stem(word[:MAX_WORD_CHARS])


def segmented(text: str) -> str:
    """The terms of a text between spaces: what a database's full-text index is given."""
    return " ".join(terms_of(text))


def query_terms(question: str) -> list[str]:
    """The terms that a question looks for, each once.

    Pairs stand for Chinese; a single character only where it stands alone. Words that every question has are left out, unless nothing
    else is there.
    """
    wanted: dict[str, None] = {}
    common: dict[str, None] = {}
    for cjk, word in _RUNS.findall(normalized(question)):
        if not cjk:
            stem = _stem(word[:MAX_WORD_CHARS])
            (common if word in _STOP_WORDS else wanted)[stem] = None
        elif len(cjk) == 1:
            (common if cjk in _STOP_SINGLES else wanted)[cjk] = None
        else:
            for at in range(len(cjk) - 1):
                pair = cjk[at : at + 2]
                (common if _is_common(pair) else wanted)[pair] = None
    return list(wanted or common)


def telling_characters(question: str) -> list[str]:
    """The single Chinese characters of a question that say what it is about, each once.

    A question's pairs often stand across the borders of words, where no text has them; its characters tell better whether a text
    says anything about it.
    """
    return list(
        dict.fromkeys(
            character
            for cjk, _ in _RUNS.findall(normalized(question))
            for character in cjk
            if character not in _STOP_SINGLES and character not in _ASKING
        )
    )


def _is_common(pair: str) -> bool:
    return pair in _STOP_PAIRS or (pair[0] in _STOP_SINGLES and pair[1] in _STOP_SINGLES)


def _stem(word: str) -> str:
    """English plurals to singulars (Harman's S-stemmer, 1991); anything else as it is."""
    if len(word) < 4 or not word.isascii() or not word.endswith("s"):
        return word
    if word.endswith("ies") and word[-4] not in "ae":
        return word[:-3] + "y"
    if word.endswith("es") and word[-3] not in "aeo":
        return word[:-1]
    return word if word[-2] in "us" else word[:-1]
