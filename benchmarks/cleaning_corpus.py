"""Documents to clean, the same on every machine with the same packages: real sentences in new order, made-up ones, and what has to go.

The real sentences are those of this project's pages, in both languages, and of the descriptions of the packages installed. About a
third of the documents has something for an operator: they repeat themselves, are all signs or digits, are copies, hold tags,
addresses, numbers of persons, emoji, traditional characters or flagged words, or are in neither language.
"""

from __future__ import annotations

import importlib.metadata
import random
import re
from pathlib import Path

from yangfan.operators import _tables

ROOT = Path(__file__).resolve().parent.parent
_ENGLISH = [
    "river",
    "mountain",
    "engine",
    "copper",
    "window",
    "garden",
    "signal",
    "winter",
    "paper",
    "bridge",
    "market",
    "silver",
    "forest",
    "music",
    "letter",
    "the",
    "of",
    "and",
    "to",
    "in",
    "harbour",
    "candle",
    "thunder",
    "pocket",
    "mirror",
    "castle",
    "voyage",
    "pepper",
    "lantern",
    "orchard",
    "ribbon",
    "saddle",
    "tunnel",
    "velvet",
    "anchor",
    "is",
    "was",
    "for",
    "on",
]
_CHINESE = [
    "模型",
    "数据",
    "平台",
    "训练",
    "服务",
    "文本",
    "清洗",
    "评估",
    "用户",
    "系统",
    "方法",
    "结果",
    "研究",
    "问题",
    "时间",
    "世界",
    "中国",
    "城市",
    "生活",
    "学习",
    "我们",
    "他们",
    "可以",
    "进行",
    "使用",
    "提供",
    "的",
    "了",
    "在",
    "和",
    "是",
]
_TRADITIONAL = "這個問題與軟體開發無關，請聯絡資料庫管理員；臺灣與香港的使用者會看見繁體字。"
_OTHER = (
    "Der Wind dreht auf Nord, und das Schiff liegt still im Hafen, bis die Flut kommt. ",
    "Le vent tourne au nord et le navire attend la marée dans le vieux port de la ville. ",
    "Ветер меняется на северный, и корабль ждёт прилива в старой гавани у маяка. ",
)


def documents(language: str, number: int, seed: int = 17) -> list[str]:
    """So many documents of a language (``"en"`` or ``"zh"``), of 100 to 6,000 characters, most of them a few hundred."""
    made = random.Random(f"{seed} {language}")
    real = real_sentences(language)
    glue = "" if language == "zh" else " "
    scale = 0.45 if language == "zh" else 1.0
    flagged = (
        (_tables.TABLES / f"flagged_words.{language}.txt").read_text("utf-8").split("\n")[1:-1]
    )
    found: list[str] = []
    while len(found) < number:
        size = min(max(made.lognormvariate(6.6, 0.8), 100), 6000) * scale
        pieces: list[str] = []
        characters = 0
        while characters < size:
            piece = made.choice(real) if made.random() < 0.85 else _made_up(made, language)
            pieces.append(piece)
            characters += len(piece) + 1
        found.append(_spoilt(made, glue.join(pieces), language, glue, flagged, found))
    return found


def real_sentences(language: str) -> list[str]:
    """Sentences of pages and descriptions, each once."""
    if language == "zh":
        pages = [*ROOT.glob("docs/**/*.zh-CN.md"), ROOT / "README.zh-CN.md"]
        whole = [page.read_text("utf-8") for page in sorted(pages)]
        pattern = r"[^。！？\n|`#]*[\u4e00-\u9fff][^。！？\n|`#]*[。！？]"
    else:
        names = sorted(importlib.metadata.distributions(), key=lambda one: one.metadata["Name"])
        whole = [str(one.metadata.json.get("description", "")) for one in names]
        pattern = r"[A-Z][A-Za-z ,'\n()-]{30,300}[.!?](?=\s)"
    found: dict[str, None] = {}
    for text in whole:
        for match in re.findall(pattern, text):
            found[" ".join(match.split())] = None
    return [sentence for sentence in found if 10 <= len(sentence) <= 300]


def _made_up(made: random.Random, language: str) -> str:
    if language == "zh":
        return "".join(made.choices(_CHINESE, k=made.randrange(5, 20))) + "。"
    return " ".join(made.choices(_ENGLISH, k=made.randrange(5, 25))).capitalize() + "."


def _spoilt(
    made: random.Random, text: str, language: str, glue: str, flagged: list[str], before: list[str]
) -> str:
    """The text as it was, or with something for an operator."""
    number = made.randrange(1_000_000)
    old = made.choice(before) if before else text
    link = f"https://example.com/{number}"
    mail, phone = f"user{number}@example.com", f"13{number:06d}{number % 1000:03d}"
    signs = glue.join(made.choices("…—*=/#%0123456789!?（）《》", k=200))
    spoilt = (
        (0.04, glue.join([text[:60]] * 12)),
        (0.02, signs + text[:200]),
        (0.02, old),
        (0.02, old + glue + made.choice(_CHINESE if language == "zh" else _ENGLISH)),
        (0.02, made.choice(_OTHER) * made.randrange(2, 8)),
        (0.01, (glue or " ").join(made.choices(flagged, k=20)) + glue + text[:40]),
        (0.09, f'<div><p>{text}</p><a href="{link}?a=1">more</a>&nbsp;</div> {link}'),
        (0.05, f"{text} {mail} {phone} 10.0.{number % 255}.7"),
        (0.04, f"{text} 😀👍🏽👨‍👩‍👧 {text[:30]}\u200b\u3000\xa0★★★★ \ufffd"),
        (0.03 if language == "zh" else 0.0, _TRADITIONAL + text),
    )
    shares = [share for share, _ in spoilt]
    other = made.choices(spoilt, shares)[0][1]
    return other if made.random() < sum(shares) else text
