"""Data out of a question by rule: Markdown tables, lines of CSV, lists, and sentences that give names numbers; Chinese and English."""

from __future__ import annotations

import functools
import re
import tomllib
from importlib import resources
from typing import TYPE_CHECKING, Any

from yangfan.plugins.echart.option import MAX_CATEGORIES, MAX_SERIES, Data, Kind, Series

if TYPE_CHECKING:
    from collections.abc import Sequence

Rows = list[list[str]]

_NUMBER = re.compile(r"^[-−+]?\d[\d,]*(?:\.\d+)?\s*[%％]?$")
_CLAUSE = re.compile(
    r"^(?P<name>.*?)(?:得分为|得分是|数量为|人数为|达到|分别为|分别是|有|为|是|占|约|:|：|=|\bis\b|\bwas\b|\bare\b|\bwere\b|\bhas\b|\bhad\b|\s)*"
    r"(?P<number>[-−]?\d[\d,]*(?:\.\d+)?)\s*(?:[%％]|[\u4e00-\u9fff]{1,3}|[A-Za-z]{1,12})?$"
)
_REVERSED = re.compile(
    r"(?P<number>-?\d[\d,]*(?:\.\d+)?)\s*\w{0,12}?\s(?:in|for|from|at|on)\s(?P<name>\w[\w ]{0,40}?)$"
)
_REQUEST = re.compile(
    r"^(?:请|帮我|帮忙|给我|为我|根据|按照|下面|以下|上述|这些|要求|数据|生成|画出|绘制|制作|展示|画|用|做|的|来|一个|一张|一幅|"
    r"please\b|can\b|could\b|you\b|draw\b|plot\b|make\b|create\b|show\b|me\b|an?\b|the\b|of\b|\s|，|,)+",
    re.IGNORECASE,
)
_LONGEST_CLAUSE = 200
_SENTENCES = re.compile(r"[。；;\n]|\.(?=\s|$)")
_CLAUSES = re.compile(r"[，、]|,(?!\d{3}\b)|\band\b|以及")
_ITEM = re.compile(r"^(?P<indent>\s*)(?:[-*+]|\d+[.)、])\s+(?P<text>\S.*)$")


@functools.cache
def _facts() -> dict[str, Any]:
    text = resources.files(__package__ or __name__).joinpath("facts.toml").read_text("utf-8")
    return tomllib.loads(text)


def named_kind(question: str) -> Kind | None:
    """The kind of chart that a question names; None if it names none."""
    folded = question.casefold()
    for each in _facts()["kind"]:
        if any(word in folded for word in each["words"]):
            return each["type"]
    return None


def data_in(question: str) -> Data | None:
    """The data that stand in a question, as the chart that it names or a bar chart; None if none can be read."""
    kind = named_kind(question)
    title = _title(question)
    if kind == "tree":
        links = _links(question)
        return Data("tree", title, links=links) if links else None
    found = _from_table(_rows(question), kind) or _from_sentences(question)
    if found is None:
        return None
    categories, series = found
    if kind is None:
        kind = "bar"
    if kind in {"pie", "funnel"}:
        series = series[:1]
    if kind == "radar" and (len(categories) < 3 or not series):
        return None
    return Data(kind, title, categories[:MAX_CATEGORIES], series[:MAX_SERIES])


def number(text: str) -> float | None:
    """The number that a cell is."""
    text = text.strip()
    if not _NUMBER.match(text):
        return None
    clean = text.rstrip("%％ ").replace(",", "").replace("−", "-")
    return float(clean)


def numbers_in(text: str) -> set[float]:
    """Every number that stands in a text."""
    found = re.findall(r"[-−]?\d[\d,]*(?:\.\d+)?", text)
    values = {float(each.replace(",", "").replace("−", "-")) for each in found if each.strip("-−,")}
    return values | {abs(value) for value in values}


def _title(question: str) -> str:
    """What stands before the data, without the request to draw."""
    first = re.split(r"[：:\n|。]|\.\s", question.strip(), maxsplit=1)[0]
    return _REQUEST.sub("", first).strip(" ，,.")[:60]


# Tables


def _rows(question: str) -> Rows:
    """The longest run of lines that are rows of one table."""
    best: Rows = []
    run: Rows = []
    for line in [*question.splitlines(), ""]:
        cells = _cells(line)
        if len(cells) >= 2 and (not run or len(cells) == len(run[0])):
            run.append(cells)
            continue
        best = max(best, run, key=len)
        run = [cells] if len(cells) >= 2 else []
    return [row for row in best if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]


def _cells(line: str) -> list[str]:
    line = line.strip()
    if "|" in line:
        return [cell.strip() for cell in line.strip("|").split("|")]
    for sign in ("\t", "，", ","):
        if sign in line:
            return [cell.strip() for cell in line.split(sign)]
    return [cell for cell in re.split(r"\s{2,}", line) if cell]


def _from_table(rows: Rows, kind: Kind | None) -> tuple[list[str], list[Series]] | None:
    if len(rows) < 2:
        return None
    head, body = rows[0], rows[1:]
    if all(number(cell) is not None for cell in head[1:]):
        head, body = ["", *[""] * (len(head) - 1)], rows
    columns = [
        place
        for place in range(len(head))
        if sum(number(row[place]) is not None for row in body) > len(body) / 2
    ]
    labels = [place for place in range(len(head)) if place not in columns]
    if kind == "scatter" and len(columns) >= 2:
        chosen = [
            Series(head[place], [number(row[place]) for row in body]) for place in columns[:2]
        ]
        return [head[place] or "-" for place in columns[:2]], chosen
    if not labels and len(columns) > 1:
        labels, columns = columns[:1], columns[1:]
    if not columns or not labels:
        return None
    kept = [row for row in body if row[labels[0]] and not _is_sum(row[labels[0]])]
    if not kept:
        return None
    return [row[labels[0]] for row in kept], [
        Series(head[place], [number(row[place]) for row in kept]) for place in columns
    ]


def _is_sum(name: str) -> bool:
    return any(name.casefold().startswith(word) for word in _facts()["sums"]["words"])


# Sentences


def _from_sentences(question: str) -> tuple[list[str], list[Series]] | None:
    groups: list[tuple[str, list[tuple[str, float]]]] = []
    for sentence in _SENTENCES.split(question):
        pairs = [pair for clause in _CLAUSES.split(sentence) if (pair := _pair(clause)) is not None]
        if pairs:
            # The first of several says whose numbers they are.
            subject, first = _subject(pairs[0][0]) if len(pairs) > 1 else ("", pairs[0][0])
            groups.append((subject, [(first, pairs[0][1]), *pairs[1:]]))
    if not groups:
        return None
    names = [name for name, _ in groups[0][1]]
    alike = [group for group in groups if [name for name, _ in group[1]] == names]
    if len(alike) > 1 and len(names) > 1:
        return names, [Series(subject, [value for _, value in pairs]) for subject, pairs in alike]
    pairs = [pair for _, each in groups for pair in each]
    if len(pairs) < 2:
        return None
    return [name for name, _ in pairs], [Series("", [value for _, value in pairs])]


def _pair(clause: str) -> tuple[str, float] | None:
    """A name and its number."""
    clause = clause.strip().lstrip("*-•· ")[-_LONGEST_CLAUSE:]
    head, sign, rest = clause.replace("：", ":").partition(":")
    # What stands before the first of two colons, or before a sentence, is a heading.
    if sign and any(character.isalpha() for character in rest) and re.search(r"\d", rest):
        clause = rest.strip()
    else:
        clause = f"{head}{sign}{rest}"
    found = _CLAUSE.match(clause) or _REVERSED.search(clause)
    if found is None:
        return None
    name = re.split(r"中的?|其中", found["name"])[-1] or found["name"]
    name = re.sub(r"^(the|an?|with|sales of|number of)\s+", "", name.strip(), flags=re.IGNORECASE)
    name = name.strip(" 的:=").removesuffix("的")
    if not name or len(name) > 60 or _is_sum(name):
        return None
    return name, float(found["number"].replace(",", "").replace("−", "-"))


def _subject(name: str) -> tuple[str, str]:
    """Whose number it is, and of what: 学校A的师资力量."""
    subject, sign, rest = name.partition("的")
    if sign and rest:
        return subject, rest
    subject, sign, rest = name.partition("'s ")
    return (subject, rest) if sign else ("", name)


# Trees


def _links(question: str) -> list[tuple[str, str]]:
    """Parents and children out of a nested list; the line before it is the root."""
    root, links, above = "", list[tuple[str, str]](), list[tuple[int, str]]()
    for line in question.splitlines():
        found = _ITEM.match(line)
        if found is None:
            if line.strip() and not links:
                root = _title(line) or line.strip()[:60]
            continue
        indent, text = len(found["indent"].expandtabs(4)), found["text"].strip()[:200]
        while above and above[-1][0] >= indent:
            above.pop()
        links.append((above[-1][1] if above else root or "主题", text))
        above.append((indent, text))
    return links


def as_table(data: Data) -> str:
    """The data in Markdown, for a model that is to speak about them."""
    if data.type == "tree":
        return "\n".join(f"- {parent} > {child}" for parent, child in data.links)
    head = ["", *(each.name or "-" for each in data.series)]
    names = data.categories if data.type != "scatter" else ["-"] * len(data.series[0].values)
    body = [
        [name, *(_shown(each.values, place) for each in data.series)]
        for place, name in enumerate(names)
    ]
    rows = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _shown(values: Sequence[float | None], place: int) -> str:
    value = values[place] if place < len(values) else None
    return "" if value is None else f"{value:g}"
