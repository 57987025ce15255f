"""A run on one page: curves, settings, checkpoints, scores. It needs no network and runs no program."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.hub.disk import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from yangfan.trainers.base import MetricRow, TrainResult, TrainSpec

FILE = "report.html"
WIDTH, HEIGHT, EDGE = 720, 220, 46
_POINTS = 600
_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:800px;margin:2em auto;padding:0 1em}
h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.15em .8em .15em 0;text-align:left;vertical-align:top}
svg{width:100%;height:auto;background:color-mix(in srgb,currentColor 4%,transparent)}
svg text{font-size:11px;fill:currentColor}polyline{fill:none;stroke-width:1.5}
.a{stroke:#2a6fdb;fill:#2a6fdb}polyline.a{fill:none}.b{stroke:#d9822b;fill:#d9822b}polyline.b{fill:none}
.grid{stroke:currentColor;stroke-opacity:.15}pre{white-space:pre-wrap;font-size:13px}
"""


def write(output: Path, spec: TrainSpec, rows: Sequence[MetricRow], result: TrainResult) -> Path:
    """Write the page; its path."""
    path = output / FILE
    write_atomically(path, page(spec, rows, result).encode())
    return path


def page(spec: TrainSpec, rows: Sequence[MetricRow], result: TrainResult) -> str:
    """The page's HTML."""
    title = f"{spec.mode} · {spec.method} · {spec.base_model or 'a base model'}"
    parts = [
        "<!doctype html><html><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width'>",
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body><h1>{_text(title)}</h1>",
        "<h2>Loss</h2>",
        chart(
            [(row.step, row.loss) for row in rows if row.loss is not None],
            [(row.step, row.eval_loss) for row in rows if row.eval_loss is not None],
            ("loss", "held out"),
        ),
        "<h2>Learning rate</h2>",
        chart([(row.step, row.learning_rate) for row in rows if row.learning_rate is not None]),
        "<h2>Tokens a second</h2>",
        chart([(row.step, row.tokens_per_second) for row in rows if row.tokens_per_second]),
    ]
    for name in sorted({name for row in rows for name in row.more}):
        parts += [
            f"<h2>{_text(name)}</h2>",
            chart([(row.step, row.more[name]) for row in rows if name in row.more]),
        ]
    if result.scores:
        scores = {name: f"{100 * value:.2f} %" for name, value in result.scores.items()}
        parts += ["<h2>Held-out answers</h2>", _table(scores)]
    parts += ["<h2>Facts</h2>", _table(result.facts)]
    if result.checkpoints:
        kept = {one.name: f"loss {_number(one.loss)}" for one in result.checkpoints}
        parts += ["<h2>Checkpoints</h2>", _table(kept)]
    parts += ["<h2>Settings</h2>", _table(msgspec.to_builtins(spec.hyper_parameters))]
    return "".join([*parts, "</body></html>"])


def chart(
    first: Sequence[tuple[float, float]],
    second: Sequence[tuple[float, float]] = (),
    names: tuple[str, str] = ("", ""),
) -> str:
    """One or two lines over steps, as SVG."""
    lines = [
        [(x, y) for x, y in line if math.isfinite(y)] for line in (_fewer(first), _fewer(second))
    ]
    points = [point for line in lines for point in line]
    if not points:
        return "<p>Nothing was measured.</p>"
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    across = (WIDTH - 2 * EDGE) / ((right - left) or 1)
    up = (HEIGHT - 2 * EDGE / 2) / ((high - low) or 1)

    def place(x: float, y: float) -> str:
        return f"{EDGE + (x - left) * across:.1f},{HEIGHT - EDGE / 2 - (y - low) * up:.1f}"

    drawn: list[str] = []
    for share in (0.0, 0.5, 1.0):
        value = low + share * (high - low)
        y = HEIGHT - EDGE / 2 - (value - low) * up
        drawn.append(
            f"<line class='grid' x1='{EDGE}' x2='{WIDTH - EDGE}' y1='{y:.1f}' y2='{y:.1f}'/>"
            f"<text x='2' y='{y + 4:.1f}'>{_number(value)}</text>"
        )
    for line, kind in zip(lines, "ab", strict=True):
        if len(line) == 1:
            x, y = place(*line[0]).split(",")
            drawn.append(f"<circle class='{kind}' cx='{x}' cy='{y}' r='3'/>")
        elif line:
            drawn.append(
                f"<polyline class='{kind}' points='{' '.join(place(*point) for point in line)}'/>"
            )
    drawn.append(f"<text x='{EDGE}' y='{HEIGHT - 4}'>{left:g}</text>")
    drawn.append(f"<text x='{WIDTH - EDGE}' y='{HEIGHT - 4}'>{right:g}</text>")
    for place_x, (name, kind) in enumerate(zip(names, "ab", strict=True)):
        if name:
            drawn.append(
                f"<text class='{kind}' x='{EDGE + 90 * place_x + 60}' y='12'>{_text(name)}</text>"
            )
    return f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img'>{''.join(drawn)}</svg>"


def _fewer(line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    stride = max(1, len(line) // _POINTS)
    return [
        point
        for number, point in enumerate(line)
        if number % stride == 0 or number == len(line) - 1
    ]


def _table(values: dict[str, Any]) -> str:
    lines = (
        f"<tr><th>{_text(name)}</th><td>{_text(_number(value))}</td></tr>"
        for name, value in values.items()
    )
    return f"<table>{''.join(lines)}</table>"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "–" if value is None else str(value)


def _text(text: str) -> str:
    return html.escape(text)
