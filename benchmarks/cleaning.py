"""How fast texts are cleaned: filters against the same rules in a plain loop over rows, the whole pipeline over a file, and memory.

The plain loop has the rules as their source words them, a text at a time: Counter over n-grams, sets of words, the same
segmenter. Its decisions are compared with ours before any time is told. data-juicer is not in the table: it installs torch by
itself when it runs.
"""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rjieba
from report import Report, Table, say

from yangfan.operators import _tables, base
from yangfan.operators._texts import Texts

BATCH = 2048
FILTERS = (
    "filter_check_number_words",
    "filter_check_word_repetition_removal",
    "filter_check_character_repetition_removal",
    "filter_check_special_characters",
    "filter_check_flagged_words",
)
_ENGLISH = (
    "river mountain engine copper window garden signal winter paper bridge market silver forest music letter the of and to in "
    "harbour candle thunder pocket mirror castle voyage pepper lantern orchard ribbon saddle tunnel velvet anchor is was for on"
)
_CHINESE = (
    "模型 数据 平台 训练 服务 文本 清洗 评估 用户 系统 方法 结果 研究 问题 时间 世界 中国 城市 生活 学习 我们 他们 可以 进行 使用 "
    "提供 的 了 在 和 是"
)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    texts: int
    fingerprints: int
    rounds: int


SIZES = {
    "full": Size(texts=40_000, fingerprints=2_000_000, rounds=3),
    "quick": Size(texts=6_000, fingerprints=200_000, rounds=1),
    "smoke": Size(texts=200, fingerprints=5_000, rounds=1),
}


def measure(size: Size) -> Report:
    """Measure filters, pipeline and duplicates."""
    report = Report()
    texts = made_up(size.texts)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    say(f"cleaning: {len(texts)} texts, {megabytes:.1f} MB")
    # Both have the dictionary loaded before they are timed.
    rjieba.cut("预热")
    ours_seconds = plain_seconds = math.inf
    of_ours: list[bool] = []
    of_plain: list[bool] = []
    for number in range(size.rounds):
        for side in ("ours", "plain") if number % 2 == 0 else ("plain", "ours"):
            begun = time.perf_counter()
            kept = ours(texts) if side == "ours" else plain(texts)
            seconds = time.perf_counter() - begun
            if side == "ours":
                ours_seconds, of_ours = min(seconds, ours_seconds), kept
            else:
                plain_seconds, of_plain = min(seconds, plain_seconds), kept
    if of_ours != of_plain:
        raise SystemExit("the plain loop and the operators decide differently")
    rows = [
        (name, f"{len(texts) / seconds:.0f}", f"{megabytes / seconds:.1f}")
        for name, seconds in (("operators", ours_seconds), ("plain loop", plain_seconds))
    ]
    report.tables.append(Table(("five ratio filters, one core", "rows/s", "MB/s"), rows))
    report.check(
        "filters against the plain loop",
        plain_seconds / ours_seconds,
        form="{:.1f} x",
        at_least=1.0,
    )
    report.tables.append(whole_pipeline(texts, megabytes, report))
    report.tables.append(duplicates(size.fingerprints, report))
    report.notes.append(f"Decisions equal on all {len(texts)} texts, {sum(of_ours)} of which stay.")
    return report


def made_up(number: int) -> list[str]:
    """Texts of 200 to 900 characters, half Chinese, some of which repeat themselves, have addresses, tags or emoji."""
    made = random.Random(17)
    texts: list[str] = []
    for row in range(number):
        words, glue, size = (_CHINESE.split(), "", 300) if row % 2 else (_ENGLISH.split(), " ", 100)
        text = glue.join(made.choices(words, k=made.randrange(size // 3, size)))
        extra = made.random()
        if extra < 0.05:
            text = text[:60] * 8
        elif extra < 0.15:
            text += f" <b>user{row}@example.com</b> 13800138000 10.0.0.{row % 255} 😀"
        texts.append(text)
    return texts


def ours(texts: list[str]) -> list[bool]:
    """Which texts pass all filters."""
    operators = [base.create(name, {}, base.Common()) for name in FILTERS]
    kept: list[bool] = []
    for start in range(0, len(texts), BATCH):
        batch = Texts(texts[start : start + BATCH])
        passes = np.ones(len(batch), np.bool_)
        for operator in operators:
            keep = operator(batch).keep
            assert keep is not None
            passes &= keep
        kept += passes.tolist()
    return kept


def plain(texts: list[str]) -> list[bool]:
    """The same, a text and a rule at a time."""
    special = {chr(code) for code in _tables.special().nonzero()[0].tolist()}
    han = _tables.flags("han").tolist()
    flagged = {
        language: set(
            (_tables.TABLES / f"flagged_words.{language}.txt").read_text("utf-8").split("\n")[1:-1]
        )
        for language in ("zh", "en")
    }
    return [_passes(text, special, han, flagged) for text in texts]


def _passes(text: str, special: set[str], han: list[bool], flagged: dict[str, set[str]]) -> bool:
    letters = sum(character.isalpha() for character in text)
    count = sum(han[ord(character)] for character in text)
    language = "zh" if count and count >= 0.3 * letters else "en"
    pieces = (
        rjieba.cut(text)
        if language == "zh"
        else text.replace("\n", " ").replace("\t", " ").split(" ")
    )
    words: list[str] = []
    for piece in pieces:
        start, end = 0, len(piece)
        while start < end and piece[start] in special:
            start += 1
        while end > start and piece[end - 1] in special:
            end -= 1
        if start < end:
            words.append(piece[start:end])
    if not 1 <= len(words) <= 10_000:
        return False
    grams = Counter(" ".join(words[i : i + 5]) for i in range(len(words) - 4))
    if grams and sum(n for n in grams.values() if n > 1) / sum(grams.values()) > 0.6:
        return False
    n = 3 if language == "zh" else 10
    counts = sorted(
        Counter(text[i : i + n] for i in range(len(text) - n + 1)).values(), reverse=True
    )
    if counts:
        most = min(int(math.sqrt(len(counts))), sum(value > 1 for value in counts))
        if sum(counts[:most]) / sum(counts) > 0.2:
            return False
    if sum(character in special for character in text) / len(text) > 0.3:
        return False
    joins = ["".join(words[i : i + 2]) for i in range(len(words) - 1)] if language == "zh" else []
    return min(sum(word in flagged[language] for word in words + joins) / len(words), 1.0) <= 0.5


_RUN = """
import json, resource, sys
from pathlib import Path
from yangfan.operators.pipeline import recipe, run
report = run.Run(recipe.everything(), Path(sys.argv[1]), Path(sys.argv[2]))()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
stages = report.pipeline_stage_result.values()
print(json.dumps([report.entity_count, report.remaining_entity, report.seconds, peak, sum(s.operator_count for s in stages)]))
"""


def whole_pipeline(texts: list[str], megabytes: float, report: Report) -> Table:
    """Every operator over a file, in a process of its own."""
    rows: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        for times in (1, 4):
            file, out = Path(folder) / f"in{times}.jsonl", Path(folder) / f"out{times}.jsonl"
            with file.open("w", encoding="utf-8") as opened:
                for again in range(times):
                    opened.writelines(
                        json.dumps({"text": f"{text} {again}", "n": row}, ensure_ascii=False) + "\n"
                        for row, text in enumerate(texts)
                    )
            say(f"cleaning: the whole pipeline over {file.stat().st_size / 1e6:.0f} MB")
            told = subprocess.run(
                [sys.executable, "-c", _RUN, file, out],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            ).stdout
            count, remaining, seconds, peak, operators = json.loads(told)
            rows.append(
                (
                    f"{operators} operators over {file.stat().st_size / 1e6:.0f} MB of JSON lines",
                    f"{count / seconds:.0f}",
                    f"{megabytes * times / seconds:.1f}",
                    f"{remaining}",
                    f"{peak:.0f}",
                )
            )
    report.check("memory of the whole pipeline", float(rows[-1][4]), form="{:.0f} MB", at_most=1000)
    return Table(("one process, one core", "rows/s", "MB/s", "rows left", "peak RSS MB"), rows)


_NEAR = """
import json, resource, sys, tempfile, time
from yangfan.operators._near import Near
from pathlib import Path
import numpy as np
number, made = int(sys.argv[1]), np.random.default_rng(5)
with tempfile.TemporaryDirectory() as folder:
    near, begun, told = Near(4, Path(folder)), time.perf_counter(), []
    for start in range(0, number, 2048):
        prints = made.integers(0, 2**63, 2048, np.uint64)
        near.pairs(prints), near.distances(prints), near.add(prints)
    seconds = time.perf_counter() - begun
    last = time.perf_counter()
    for _ in range(10):
        near.distances(made.integers(0, 2**63, 2048, np.uint64))
    last = (time.perf_counter() - last) / 10
    status = dict(line.split(":") for line in open("/proc/self/status") if line.startswith(("RssAnon", "VmHWM")))
    disk = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
    print(json.dumps([number / seconds, 2048 / last, int(status["RssAnon"].split()[0]) / 1000, int(status["VmHWM"].split()[0]) / 1000, disk]))
    near.close()
"""


def duplicates(number: int, report: Report) -> Table:
    """Looking for near fingerprints among many."""
    rows: list[tuple[str, ...]] = []
    for size in (number // 10, number):
        say(f"cleaning: {size} fingerprints")
        told = subprocess.run(
            [sys.executable, "-c", _NEAR, str(size)], capture_output=True, text=True, check=True
        ).stdout
        mean, last, anonymous, peak, disk = json.loads(told)
        rows.append(
            (
                f"{size}",
                f"{mean:.0f}",
                f"{last:.0f}",
                f"{anonymous:.0f}",
                f"{peak:.0f}",
                f"{disk:.0f}",
            )
        )
    report.check(
        "memory for duplicates that no page cache backs",
        float(rows[-1][3]),
        form="{:.0f} MB",
        at_most=1000,
    )
    return Table(
        (
            "fingerprints, distance 4",
            "rows/s",
            "rows/s at the end",
            "anonymous RSS MB",
            "peak RSS MB",
            "on disk MB",
        ),
        rows,
    )
