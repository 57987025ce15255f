"""Train the character n-gram models of `filter_check_perplexity`, and calibrate them.

    python scripts/perplexity_models.py --handbook DIR --jieba dict.txt --bigrams FILE --held-out DIR

`--handbook` is usr/share/doc/debian-handbook/html of the Debian package debian-handbook (text: CC BY-SA 3.0), `--jieba` the
dictionary inside jieba 0.42.1 (MIT), `--bigrams` frequency_bigramdictionary_en_243_342.txt inside symspellpy (MIT; counts
from Google Books Ngrams, CC BY 3.0). `--held-out` is usr/share/debian-reference of debian-reference-en and
debian-reference-zh-cn: it is only measured.
"""

from __future__ import annotations

import argparse
import html
import json
import math
import random
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from yangfan.operators import _ngrams
from yangfan.operators._texts import Texts

ORDERS = {"zh": 4, "en": 6}
LEAST = {1: 1.0, 2: 1.0, 3: 2.0, 4: 3.0, 5: 4.0, 6: 5.0}
"""Fewest occurrences of an n-gram that is kept, by its length."""
SHARE_OF_LISTS = 0.5
"""How much the lists of words weigh against the running text."""
CHARACTERS_PER_TOKEN = {"zh": 1.0, "en": 1.4214}
"""In English, what lets 95 of 100 held-out passages pass the default cut-off. In Chinese a token is a character: everyday text
is so much less likely under a model of technical text that the same rule would drop it."""
CUTOFF = 1110


def passages(folder: Path, pattern: str) -> list[str]:
    """Paragraphs of HTML pages without their mark-up."""
    found: dict[str, None] = {}
    for file in sorted(folder.rglob(pattern)):
        page = file.read_text("utf-8", "replace")
        page = re.sub(r"<(script|style|pre)\b.*?</\1>", " ", page, flags=re.DOTALL)
        for paragraph in re.findall(
            r"<(?:p|dd|li|div class=\"para\")[^>]*>(.*?)</(?:p|dd|li|div)>", page, re.DOTALL
        ):
            text = " ".join(html.unescape(re.sub(r"<[^>]+>", "", paragraph)).split())
            if len(text) >= 40:
                found[text] = None
    return list(found)


def of_language(texts: list[str], language: str) -> list[str]:
    """Those that are in the language: a page that nobody translated is in English."""
    chinese = Texts(texts).is_chinese.tolist()
    return [
        text
        for text, is_chinese in zip(texts, chinese, strict=True)
        if is_chinese == (language == "zh")
    ]


def counted(texts: list[str], weights: list[float], order: int) -> list[Counter[str]]:
    """How often each n-gram occurs, by its length."""
    counts: list[Counter[str]] = [Counter() for _ in range(order + 1)]
    for text, weight in zip(texts, weights, strict=True):
        for length in range(1, order + 1):
            of_length = counts[length]
            for start in range(len(text) - length + 1):
                of_length[text[start : start + length]] += weight  # pyright: ignore[reportArgumentType]
    return counts


def trained(counts: list[Counter[str]], order: int) -> dict[str, np.ndarray]:
    """Witten and Bell's interpolation of all lengths, with back-off weights (Witten and Bell, 1991)."""
    totals: dict[str, float] = defaultdict(float)
    kinds: dict[str, int] = defaultdict(int)
    for length in range(1, order + 1):
        for gram, count in counts[length].items():
            totals[gram[:-1]] += count
            kinds[gram[:-1]] += 1
    probability: dict[str, float] = {}
    floor = kinds[""] / (totals[""] + kinds[""]) / _ngrams.CHARACTERS
    arrays: dict[str, np.ndarray] = {"floor": np.array(-math.log(floor))}
    for length in range(1, order + 1):
        kept: list[str] = []
        for gram, count in counts[length].items():
            context = gram[:-1]
            lower = probability.get(gram[1:], floor) if length > 1 else 1 / _ngrams.CHARACTERS
            share = kinds[context] / (totals[context] + kinds[context])
            probability[gram] = count / (totals[context] + kinds[context]) + share * lower
            if count >= LEAST[length]:
                kept.append(gram)
        keys = _ngrams.keys_of(kept)
        cost = np.array([-math.log(probability[gram]) for gram in kept])
        back = np.array(
            [
                -math.log(kinds[gram] / (totals[gram] + kinds[gram])) if gram in kinds else 0.0
                for gram in kept
            ]
        )
        order_of = np.argsort(keys)
        arrays[f"keys{length}"] = keys[order_of]
        arrays[f"cost{length}"] = _ngrams.packed(cost[order_of])
        arrays[f"back{length}"] = _ngrams.packed(back[order_of])
        print(f"  {length}: {len(kept)} of {len(counts[length])}", file=sys.stderr)
    return arrays


def main() -> None:
    """Train, calibrate, write."""
    parser = argparse.ArgumentParser()
    for name in ("--handbook", "--jieba", "--bigrams", "--held-out"):
        parser.add_argument(name, type=Path, required=True)
    given = parser.parse_args()
    facts: dict[str, dict[str, object]] = {}
    for language, folder in (("zh", "zh-CN"), ("en", "en-US")):
        texts = of_language(passages(given.handbook / folder, "*.html"), language)
        running = [" " + _ngrams.normal(text) + " " for text in texts]
        size = sum(map(len, running))
        if language == "zh":
            rows = [line.split() for line in given.jieba.read_text("utf-8").splitlines()]
            listed = [(row[0], float(row[1])) for row in rows if float(row[1]) >= 10]
        else:
            rows = [line.split() for line in given.bigrams.read_text("utf-8-sig").splitlines()]
            listed = [(f" {row[0]} {row[1]} ", float(row[2])) for row in rows]
        scale = SHARE_OF_LISTS * size / sum(len(text) * weight for text, weight in listed)
        weights = [1.0] * len(running) + [weight * scale for _, weight in listed]
        order = ORDERS[language]
        print(
            f"{language}: {len(texts)} passages, {size} characters, {len(listed)} words listed",
            file=sys.stderr,
        )
        arrays = trained(counted(running + [text for text, _ in listed], weights, order), order)
        file = _ngrams.file_of(language)
        np.savez_compressed(file, allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType] - only names of arrays
        held_out = of_language(passages(given.held_out, "*.html"), language)
        random.Random(1).shuffle(held_out)
        nats = _ngrams.Model(file).nats(Texts(held_out))
        facts[language] = {
            "characters_per_token": CHARACTERS_PER_TOKEN[language],
            "held_out_share_below_1110": round(
                float(np.mean(np.exp(nats * CHARACTERS_PER_TOKEN[language]) <= CUTOFF)), 4
            ),
            "held_out_passages": len(held_out),
            "held_out_nats_per_character": [
                round(float(value), 3) for value in np.quantile(nats, (0.5, 0.95))
            ],
        }
        print(language, facts[language], f"{file.stat().st_size} bytes", file=sys.stderr)
    _ngrams.FACTS.write_text(
        json.dumps(
            {
                "origin": "scripts/perplexity_models.py over debian-handbook 11.20220922 (CC BY-SA 3.0), jieba 0.42.1's dictionary "
                "(MIT), symspellpy 6.10.1's English bigrams (MIT; Google Books Ngrams, CC BY 3.0); measured on debian-reference 2.100",
                "licence": "CC BY-SA 3.0",
                "models": facts,
            },
            indent=1,
        )
        + "\n",
        "utf-8",
    )


if __name__ == "__main__":
    main()
