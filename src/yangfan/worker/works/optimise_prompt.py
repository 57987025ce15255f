"""Rewrite a prompt; with samples, until it scores better (specification D.13).

Spec: ``content``, ``operations`` (opType to payload), ``model`` (rewrites), ``task_model`` (answers), ``samples`` (a file; "" for none) and ``scorer``. Result:
``content``, ``measured`` and ``search``, every prompt that was tried, with its figures where there are samples.

Without samples the model rewrites and nobody knows whether that is better; the result says so. Whatever a model said is kept, so that another attempt asks
nothing twice.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import Invalid
from yangfan.scorers import base, figures
from yangfan.worker.works.evaluate import Asking, Candidate, Item, graded, items_of_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.worker.task import Task

AT_ONCE = 4
MAX_SAMPLES = 200
SHOWN_FAILURES = 3

_VARIABLE = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]{0,29}\}")
_AIMS = {
    1: "Make it clear, specific and complete: say the task, the form of the answer and what to leave out.",
    2: "Make it as short as it can be without losing anything that matters.",
    4: "Have the model think step by step before it gives its answer.",
}


class _Spec(msgspec.Struct, kw_only=True):
    content: str
    operations: dict[str, int]
    model: str
    task_model: str = ""
    samples: str = ""
    scorer: str = "f1"


def run(task: Task) -> dict[str, Any]:
    """Rewrite.

    Raises:
        Invalid: The spec or a sample is not right.
        RefusedError: The model does not answer.
    """
    try:
        spec = msgspec.convert(task.spec, _Spec)
    except msgspec.ValidationError as error:
        raise Invalid(f"this is no prompt to rewrite: {error}") from error
    rounds = max(1, spec.operations.get("3", 1))
    items = list(items_of_file(Path(spec.samples)))[:MAX_SAMPLES] if spec.samples else []
    task.folder.mkdir(parents=True, exist_ok=True)
    with Asking(task, task.folder / "said.jsonl", AT_ONCE) as asking:
        search = [_tried(asking, spec, items, spec.content)]
        best = search[0]
        for number in range(rounds):
            task.progress(number, rounds, "rounds")
            tried = _tried(asking, spec, items, _rewritten(asking, spec, best))
            search.append(tried)
            if not tried["wrong"] and (not items or _value(tried) > _value(best)):
                best = tried
            asking.save()
        task.progress(rounds, rounds, "rounds")
    for tried in search:
        tried.pop("failures", None)
    return {"content": best["content"], "measured": bool(items), "search": search}


def _rewritten(asking: Asking, spec: _Spec, best: dict[str, Any]) -> str:
    """The prompt as the model rewrites it."""
    aims = [aim for op, aim in _AIMS.items() if spec.operations.get(str(op))]
    lines = [
        "Rewrite the prompt below for a language model, in its own language.",
        *(aims or [_AIMS[1]]),
        "Keep every word in braces, such as {input}, exactly as it is. Reply with the new prompt alone.",
    ]
    failures: list[str] = best.get("failures") or []
    if failures:
        lines += ["With the present prompt these answers were wrong:", *failures]
    lines += ["Prompt:", best["content"]]
    return asking.chat(spec.model, [{"role": "user", "content": "\n".join(lines)}]).strip()


def _tried(asking: Asking, spec: _Spec, items: Sequence[Item], content: str) -> dict[str, Any]:
    """A prompt, and how it does on the samples."""
    tried: dict[str, Any] = {"content": content, "wrong": _wrong(spec.content, content)}
    if not items or tried["wrong"]:
        return tried
    scorer = base.create(spec.scorer, {}, asking)
    template = content if "{input}" in content else f"{content}\n{{input}}"
    candidate = Candidate(
        id="task",
        name="task",
        model=spec.task_model or spec.model,
        template=template,
        parameters={"temperature": 0.01},
    )
    units = [(candidate, item) for item in items]
    said = asking.each(units, asking.answer, len(units), 0, "answers")
    scores = [graded(scorer, item, each) for item, each in zip(items, said, strict=True)]
    figure = figures.figure(scorer, scores)
    tried |= {"value": figure.value, "low": figure.low, "high": figure.high}
    tried["ungradeable"] = dict(figure.ungradeable)
    wrong = [
        f"- asked {item.question!r}: {each.text[:300]!r}, expected {' / '.join(item.references)!r}"
        for item, each, score in zip(items, said, scores, strict=True)
        if score.value is not None and score.value < 1
    ]
    tried["failures"] = wrong[:SHOWN_FAILURES]
    return tried


def _value(tried: dict[str, Any]) -> float:
    value: float | None = tried.get("value")
    return -1.0 if value is None else value


def _wrong(before: str, content: str) -> str:
    """Why a rewriting cannot be used; "" if it can."""
    if not content.strip():
        return "it is empty"
    lost = set(_VARIABLE.findall(before)) - set(_VARIABLE.findall(content))
    return f"it lost {', '.join(sorted(lost))}" if lost else ""
