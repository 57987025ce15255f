"""Words of a text in any language: Chinese and Japanese by character, as published Chinese scores are counted; others by word."""

from __future__ import annotations

import re

_HAN = "\u2e80-\u2fdf\u3005\u3007\u3021-\u3029\u3038-\u303b\u31c0-\u31ef\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HAN_BEYOND = "\U00020000-\U000323af"
_KANA = "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_CHARACTER = f"{_HAN}{_HAN_BEYOND}{_KANA}"

_WORD = re.compile(f"[{_CHARACTER}]|[^\\W_{_CHARACTER}]+")
_CHINESE = re.compile(f"[{_HAN}{_HAN_BEYOND}]")

_WIDE = "\u3000-\u303f\uff00-\uffef"
"""Chinese punctuation, which stands alone, too."""
_SET_APART = re.compile(f"([{_CHARACTER}{_WIDE}])")

# mteval-v13a, the tokenisation in which BLEU is published.
_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
_13A = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)


def words(text: str) -> list[str]:
    """Lower-case words without punctuation, and each Chinese character by itself.

    For ASCII these are those of Google's rouge_score without stemming.
    """
    return _WORD.findall(text.lower())


def has_chinese(text: str) -> bool:
    """Whether there is a Chinese character in it."""
    return _CHINESE.search(text) is not None


def bleu_tokens(text: str, *, chinese: bool) -> list[str]:
    """The tokens that BLEU counts: sacrebleu's ``zh`` for Chinese, its ``13a`` for the rest."""
    if chinese:
        text = _SET_APART.sub(r" \1 ", text.strip())
    else:
        text = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
        for entity, character in _ENTITIES:
            text = text.replace(entity, character)
        text = f" {text} "
    for pattern, replacement in _13A:
        text = pattern.sub(replacement, text)
    return text.split()
