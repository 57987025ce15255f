"""Rewrite a prompt; with samples, search for the one that scores best (specification D.13).

Spec: ``content``, ``operations`` (opType to payload), ``model`` (rewrites), ``task_model`` (answers), ``samples`` (a file) or ``manifest`` and ``blobs`` (a
dataset version), ``scorer``, ``budget`` (answers that may be asked for; 0: as many as the rounds need), ``seed``, ``at_once`` and ``borrowed`` (model versions that
no service serves, by the names of models that stand for them: they run for as long as the search does). Result: ``content``, ``measured``, ``answers`` (asked for) and ``search``, every prompt that was tried, with its figures where there are samples.

What may change is the instruction, which the model rewrites, a closing line out of ``prompt_tips.toml``, and worked examples. From ten samples on, half are learned
from and the others decide. Two thirds of the rounds try what needs nobody who rewrites well: labelled examples, several numbers of them
(DSPy's LabeledFewShot, https://arxiv.org/abs/2310.03714; as turns of a conversation, for chat models answer those and take a list for a text to go on with),
closing lines, and the best of both, each measured on all samples that decide. From the best of
these goes on GEPA's search (https://arxiv.org/abs/2507.19457; package gepa, decision 0020): prompts that are best on some sample are changed in the
light of what went wrong with a few, kept if those get better, and then measured.

Without samples the model rewrites and nobody knows whether that is better; the result says so. Whatever a model said is kept, and the search
draws from its seed alone, so another attempt comes the same way again and asks nothing twice.
"""

from __future__ import annotations

import importlib
import random
import re
import tomllib
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import ConfigurationError, Conflict, InternalError, Invalid
from yangfan.protocol import templates
from yangfan.scorers import base, figures
from yangfan.scorers._tokens import has_chinese
from yangfan.worker.lending import Wanted
from yangfan.worker.works.evaluate import Asking, Candidate, Item, graded, items_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from yangfan.worker.task import Task

MAX_SAMPLES = 200
SHOWN = 3
"""Samples that a change is made in the light of; GEPA's own default."""

ROUNDS = 9
"""Changes that are tried where samples measure them and nobody says how many."""

EXAMPLE_COUNTS = (4, 8, 16)
"""Worked examples that are tried before anything is rewritten, in this order: few do most of the work, and each costs tokens at every call."""

SPLIT_FROM = 10
"""Fewer samples decide about what is learned from them, too, and are no worked examples: a prompt must not hold the answers."""

MAX_EXAMPLE_CHARACTERS = 600
MAX_EXAMPLES_CHARACTERS = 8000
"""Of all examples together, with the instruction that stands in each."""

TEMPERATURE = 0.7
"""Of rewritings that are measured: each round draws another one."""

ANSWERING = 0.01
"""Temperature of answers: as good as none, and the least that every engine takes."""

LEAST_TOKENS = 64
"""Answers are cut at twice the characters of the longest expected one, but not below: a model that rambles is wrong anyway, and slow."""

BOTH = "examples and form"
"""What a change is called that is one of both."""

_VARIABLE = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]{0,29}\}")
_FENCED = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
_INPUT = "{input}"
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
    manifest: dict[str, Any] | None = None
    blobs: str = ""
    scorer: str = "f1"
    budget: int = 0
    seed: int = 0
    at_once: int = 4
    borrowed: dict[str, Wanted] = {}

    @property
    def rounds(self) -> int:
        """How often it is changed."""
        return max(1, self.operations.get("3", ROUNDS if self.measured else 1))

    @property
    def measured(self) -> bool:
        """Whether samples decide."""
        return bool(self.samples) or self.manifest is not None


def run(task: Task) -> dict[str, Any]:
    """Rewrite.

    Raises:
        Invalid: The spec or a sample is not right, or the budget does not do for one prompt.
        InternalError: The model that rewrites says nothing.
        ConfigurationError: There are samples, and gepa is not installed.
        Conflict: A model version cannot run here.
    """
    try:
        spec = msgspec.convert(task.spec, _Spec)
    except msgspec.ValidationError as error:
        raise Invalid(f"this is no prompt to rewrite: {error}") from error
    task.folder.mkdir(parents=True, exist_ok=True)
    said = task.folder / "said.jsonl"
    with (
        Asking(task, said, spec.at_once, spec.borrowed) as asking,
        asking.borrowing([spec.model, spec.task_model]),
    ):
        if asking.lacking:
            raise Conflict("; ".join(asking.lacking.values()))
        if not spec.measured:
            return _unmeasured(task, spec, asking)
        items = items_of(spec.manifest, Path(spec.samples), Path(spec.blobs))
        chosen = [item for _, item in zip(range(MAX_SAMPLES), items, strict=False)]
        if not chosen:
            raise Invalid("the dataset has no samples that can be asked")
        return _Search(task, spec, asking, chosen).run()


def _unmeasured(task: Task, spec: _Spec, asking: Asking) -> dict[str, Any]:
    best = spec.content
    search: list[dict[str, Any]] = [{"content": best, "wrong": ""}]
    for number in range(spec.rounds):
        task.progress(number, spec.rounds, "rounds")
        content = asking.chat(spec.model, _request(spec, best, [])).strip()
        wrong = _wrong(spec.content, content)
        search.append({"content": content, "wrong": wrong})
        best = best if wrong else content
        asking.save()
    task.progress(spec.rounds, spec.rounds, "rounds")
    return {"content": best, "measured": False, "answers": 0, "search": search}


def _request(spec: _Spec, content: str, failures: Sequence[str]) -> list[dict[str, str]]:
    """What the model is told that rewrites."""
    aims = [aim for op, aim in _AIMS.items() if spec.operations.get(str(op))]
    lines = [
        "Rewrite the prompt below for a language model, in its own language.",
        *(aims or [_AIMS[1]]),
        "Keep every word in braces, such as {input}, exactly as it is. Reply with the new prompt alone.",
    ]
    if failures:
        lines += ["With the present prompt these answers were wrong:", *failures]
    lines += ["Prompt:", content]
    return [{"role": "user", "content": "\n".join(lines)}]


class _Search:
    """GEPA's adapter: how a prompt is made of its parts, asked, graded and changed."""

    propose_new_texts = None
    """Its other way of proposing, which is not taken."""

    def __init__(self, task: Task, spec: _Spec, asking: Asking, items: Sequence[Item]) -> None:
        self._task = task
        self._spec = spec
        self._asking = asking
        self._scorer = base.create(spec.scorer, {}, asking)
        drawn = list(items)
        random.Random(spec.seed).shuffle(drawn)  # noqa: S311 - the same each time
        self._split = len(drawn) >= SPLIT_FROM
        half = len(drawn) // 2
        self._learning = drawn[:half] if self._split else drawn
        self._deciding = drawn[half:] if self._split else drawn
        self._decided = {item.question for item in self._deciding}
        self._batch = min(SHOWN, len(self._learning))
        self._parameters: dict[str, Any] = {"temperature": ANSWERING, "seed": spec.seed}
        longest = max((len(text) for item in drawn for text in item.references), default=0)
        if longest and not spec.operations.get("4"):
            self._parameters["max_tokens"] = max(LEAST_TOKENS, 2 * longest)
        self._of_row = {item.row_id: item for item in drawn}
        self._scores: dict[str, dict[str, base.Score]] = {}
        self._search: list[dict[str, Any]] = []
        self._answers = 0
        self._round = 0
        self._reflected_from = 0
        self._rewritten = 0
        self._words = _words_of(self._spec.content + drawn[0].question)
        most = len(self._deciding) + spec.rounds * self._round_answers
        self._budget = min(spec.budget or most, most)

    @property
    def _round_answers(self) -> int:
        """The most that a change costs: the few samples before and after it, and those that decide."""
        return 2 * self._batch + len(self._deciding)

    @property
    def _sweeps(self) -> int:
        """Rounds that need nobody who rewrites."""
        return 2 * self._spec.rounds // 3

    def run(self) -> dict[str, Any]:
        """Search."""
        if self._budget < len(self._deciding):
            raise Invalid(
                f"measuring one prompt takes {len(self._deciding)} answers, and the budget is {self._budget}; give more",
                param="budget",
            )
        parts = {"instruction": self._spec.content}
        if not self._spec.operations.get("4"):
            parts["form"] = ""
        # Worked examples make a prompt long, and would give away what decides.
        is_plain = not templates.spells_turns(self._spec.content)
        if self._split and is_plain and not self._spec.operations.get("2"):
            parts["examples"] = ""
        gepa = _gepa()
        self._add(self._spec.content, parent=None, wrong="", change="")
        best_parts = self._sweep(parts)
        self._reflected_from = self._round
        gepa.optimize(
            seed_candidate=best_parts,
            trainset=self._learning,
            valset=self._deciding,
            adapter=self,
            custom_candidate_proposer=self.propose,
            reflection_minibatch_size=self._batch,
            stop_callbacks=self._enough,
            logger=_Log(),
            seed=self._spec.seed,
            raise_on_exception=True,
        )
        self._asking.save()
        self._tell(self._budget)
        best, value = self._search[0], -1.0
        for tried in self._search:
            self._judge(tried)
            # The first of equals: what was given stays where nothing is better.
            if (found := tried.get("value")) is not None and found > value:
                best, value = tried, found
        if not self._rewritten and all(each["wrong"] for each in self._search[1:]):
            silent = [each["wrong"] for each in self._search[1:] if not each["content"]]
            if silent:
                raise InternalError(f"the model that rewrites said nothing: {silent[0]}")
        return {
            "content": best["content"],
            "measured": True,
            "answers": self._answers,
            "search": self._search,
        }

    def _enough(self, state: Any) -> bool:
        """Whether the next round would cost more than is left, or there is nothing to win."""
        found: list[float] = state.program_full_scores_val_set
        return (
            self._reflected_from + state.i + 1 >= self._spec.rounds
            or self._answers + self._round_answers > self._budget
            or max(found) >= 1.0
        )

    # Before anything is rewritten

    def _sweep(self, parts: dict[str, str]) -> dict[str, str]:
        """Try labelled examples and closing lines, measured whole: a few samples do not show a small gain. The best parts."""
        best, value = parts, self._measured(parts)
        singles: dict[str, tuple[float, str]] = {}
        for part, changed in islice(self._changes(parts, singles), self._sweeps):
            if value >= 1.0 or self._answers + len(self._deciding) > self._budget:
                break
            self._round += 1
            content = self._content(changed)
            wrong = _wrong(self._spec.content, self._whole(content))
            self._add(content, self._content(parts), wrong, part)
            found = 0.0 if wrong else self._measured(changed)
            if part in parts and found > singles.get(part, (-1.0, ""))[0]:
                singles[part] = (found, changed[part])
            if found > value:
                best, value = changed, found
        return best

    def _changes(
        self, parts: dict[str, str], singles: Mapping[str, tuple[float, str]]
    ) -> Iterator[tuple[str, dict[str, str]]]:
        """Changes of `parts`, each of one part; the last round is for the best of both together."""
        examples = self._example_sets() if "examples" in parts else []
        lines = self._words.tips(self._learning) if "form" in parts else []
        plan: list[tuple[str, str]] = []
        for texts in zip_longest(examples, lines):
            names = ("examples", "form")
            plan += [(name, text) for name, text in zip(names, texts, strict=True) if text]
        together = bool(examples and lines) and self._sweeps > 2
        for part, text in plan[: self._sweeps - 1] if together else plan:
            yield part, {**parts, part: text}
        if together:
            yield BOTH, {**parts, **{part: text for part, (_, text) in singles.items()}}

    def _measured(self, parts: Mapping[str, str]) -> float:
        """The score on the samples that decide; what cannot be graded wins nothing."""
        content = self._content(parts)
        self._ask(content, self._deciding)
        figure = self._figure(content)
        return 0.0 if figure is None or figure.value is None else figure.value

    def _example_sets(self) -> list[str]:
        """Samples whose answers are known, several numbers of them, as lists of ids; those with another answer first."""
        fit = [item for item in self._learning if self._may_be_shown(item)]
        answers: set[str] = set()
        first: list[str] = []
        rest: list[str] = []
        for item in fit:
            (rest if item.references[0] in answers else first).append(item.row_id)
            answers.add(item.references[0])
        rows = [*first, *rest]
        counts = dict.fromkeys(min(count, len(rows)) for count in EXAMPLE_COUNTS)
        found = dict.fromkeys(self._encoded(rows[:count]) for count in counts if count)
        return list(found)

    def _may_be_shown(self, item: Item) -> bool:
        """Whether it can be a worked example: it has an answer, is short, would not be read as variables or turns, and is none of those that decide."""
        if not item.references or item.question in self._decided:
            return False
        whole = f"{item.question}\n{item.references[0]}"
        is_text = not (_VARIABLE.search(whole) or templates.spells_turns(whole))
        return len(whole) <= MAX_EXAMPLE_CHARACTERS and is_text

    def _encoded(self, rows: Sequence[str]) -> str:
        """Ids of examples, as many as a prompt may hold of them; the first give way."""
        kept: list[str] = []
        room = MAX_EXAMPLES_CHARACTERS
        for row in reversed(rows):
            item = self._of_row[row]
            room -= len(self._spec.content) + len(item.question) + len(item.references[0])
            if room < 0:
                break
            kept.append(row)
        return msgspec.json.encode(kept[::-1]).decode()

    # What GEPA calls

    def evaluate(
        self,
        batch: list[Item],
        candidate: dict[str, str],
        capture_traces: bool = False,
    ) -> Any:
        """Ask and grade."""
        del capture_traces
        said, outcome = self._ask(self._content(candidate), batch)
        adapter = importlib.import_module("gepa.core.adapter")
        return adapter.EvaluationBatch(
            outputs=said,
            # What cannot be graded must not win; the figures tell it apart.
            scores=[0.0 if score.value is None else score.value for score in outcome],
            trajectories=list(zip(batch, said, outcome, strict=True)),
        )

    def _ask(self, content: str, batch: Sequence[Item]) -> tuple[list[str], list[base.Score]]:
        known = self._scores.setdefault(content, {})
        if _wrong(self._spec.content, self._whole(content)):
            outcome = [base.ungradeable("the prompt is no good")] * len(batch)
            return [""] * len(batch), outcome
        whole = Candidate(
            id="task",
            name="task",
            model=self._spec.task_model or self._spec.model,
            template=self._whole(content),
            parameters=self._parameters,
        )
        items = {item.row_id: item for item in batch}
        fresh = len(items.keys() - known.keys())
        answers = self._asking.each(
            [(whole, item) for item in items.values()],
            self._asking.answer,
            self._budget,
            # Those that are known already are not counted again.
            self._answers + fresh - len(items),
            "answers",
            note=self._note(),
        )
        self._answers += fresh
        said = dict(zip(items, answers, strict=True))
        known |= {row: graded(self._scorer, items[row], each) for row, each in said.items()}
        rows = [item.row_id for item in batch]
        return [said[row].text for row in rows], [known[row] for row in rows]

    def make_reflective_dataset(
        self, candidate: dict[str, str], eval_batch: Any, components_to_update: list[str]
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """What went wrong with the few samples."""
        del candidate
        seen: list[dict[str, Any]] = []
        for item, text, score in eval_batch.trajectories:
            expected = " / ".join(item.references)
            failure = f"- asked {item.question!r}: {text[:300]!r}, expected {expected!r}"
            failed = score.value is not None and score.value < 1
            seen.append({"row": item.row_id, "failure": failure if failed else ""})
        return dict.fromkeys(components_to_update, seen)

    def propose(
        self,
        candidate: dict[str, str],
        reflective_dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components_to_update: list[str],
    ) -> dict[str, str]:
        """Another text of the part whose turn it is."""
        (part,) = components_to_update
        seen = reflective_dataset[part]
        self._round += 1
        if part == "form":
            text, wrong = self._form(candidate)
        elif part == "examples":
            text, wrong = self._examples(candidate, [each["row"] for each in seen])
        else:
            failures = [each["failure"] for each in seen if each["failure"]]
            text, wrong = self._rewriting(candidate["instruction"], failures)
        content = self._content({**candidate, part: text})
        wrong = wrong or _wrong(self._spec.content, self._whole(content))
        if not wrong and any(each["content"] == content for each in self._search):
            wrong = "it was tried before"
        self._add(content if text else "", self._content(candidate), wrong, part)
        self._asking.save()
        return {part: candidate[part] if wrong else text}

    def _rewriting(self, instruction: str, failures: Sequence[str]) -> tuple[str, str]:
        body = {
            "model": self._spec.model,
            "messages": _request(self._spec, instruction, failures),
            "temperature": TEMPERATURE,
            "seed": self._spec.seed + self._round,
        }
        said = self._asking.reply(body)
        if said.error:
            return "", f"the model did not answer: {said.error}"
        fenced = _FENCED.search(said.text)
        text = (fenced[1] if fenced else said.text).strip()
        self._rewritten += bool(text)
        return text, "" if text else "it is empty"

    def _examples(self, candidate: Mapping[str, str], rows: Sequence[str]) -> tuple[str, str]:
        """These samples behind the examples that there are, as ids."""
        short = [row for row in dict.fromkeys(rows) if self._may_be_shown(self._of_row[row])]
        if not short:
            return "", "none of its samples can be an example: they are long, or decide"
        there: list[str] = msgspec.json.decode(candidate["examples"] or "[]")
        kept = [row for row in there if row not in short]
        return self._encoded([*kept, *short][-max(EXAMPLE_COUNTS) :]), ""

    def _form(self, candidate: Mapping[str, str]) -> tuple[str, str]:
        """The first closing line that this prompt has not been tried with."""
        known = {each["content"] for each in self._search}
        for line in self._words.tips(self._learning):
            if self._content({**candidate, "form": line}) not in known:
                return line, ""
        return "", "it was tried with every closing line"

    # Prompts

    def _content(self, candidate: Mapping[str, str]) -> str:
        """A prompt out of its parts: the instruction, then the closing line; worked examples are turns before it."""
        instruction, form = candidate["instruction"], candidate.get("form", "")
        rows: list[str] = msgspec.json.decode(candidate.get("examples") or "[]")
        if not rows:
            return f"{self._whole(instruction)}\n\n{form}" if form else instruction
        template = f"{self._whole(instruction)}\n\n{form}" if form else self._whole(instruction)
        turns: list[templates.Turn] = []
        for item in (self._of_row[row] for row in rows):
            turns.append(("user", template.replace(_INPUT, item.question)))
            turns.append(("assistant", item.references[0]))
        return templates.spelled_out([*turns, ("user", template)])

    @staticmethod
    def _whole(content: str) -> str:
        """With the place where the sample goes."""
        return content if _INPUT in content else f"{content}\n{_INPUT}"

    def _add(self, content: str, parent: str | None, wrong: str, change: str) -> None:
        tried: dict[str, Any] = {"content": content, "wrong": wrong, "round": self._round}
        if parent is not None:
            places = [each["content"] for each in self._search]
            tried |= {"parent": places.index(parent), "change": change}
        self._search.append(tried)

    def _judge(self, tried: dict[str, Any]) -> None:
        """Its figures on the samples that decide, if it came so far."""
        figure = None if tried["wrong"] else self._figure(tried["content"])
        if figure is None:
            return
        tried |= {"value": figure.value, "low": figure.low, "high": figure.high}
        tried |= {"graded": figure.graded, "ungradeable": dict(figure.ungradeable)}

    def _figure(self, content: str) -> figures.Figure | None:
        scores = self._scores.get(content, {})
        if not all(item.row_id in scores for item in self._deciding):
            return None
        return figures.figure(self._scorer, [scores[item.row_id] for item in self._deciding])

    def _note(self) -> str:
        return f"round {self._round} of {self._spec.rounds}"

    def _tell(self, done: int) -> None:
        self._task.progress(done, self._budget, "answers", self._note())


class _Words(msgspec.Struct, frozen=True):
    """What ``prompt_tips.toml`` has in one language.

    Attributes:
        unit: What `{most}` counts, one and several.
        lines: Closing lines.
    """

    unit: tuple[str, str]
    lines: list[str]

    def tips(self, items: Sequence[Item]) -> list[str]:
        """Closing lines, with the length that the longest expected answer has."""
        expected = [text for item in items for text in item.references]
        # Where words have spaces between them they are counted, else characters.
        spaced = not has_chinese(self.lines[0])
        most = max((len(text.split() if spaced else text) for text in expected), default=20)
        length = f"{most} {self.unit[most > 1]}"
        return [line.replace("{most}", length) for line in self.lines]


def _words_of(text: str) -> _Words:
    """In the language of `text`."""
    path = Path(__file__).parent.parent / "prompt_tips.toml"
    known = msgspec.convert(tomllib.loads(path.read_text("utf-8")), dict[str, _Words])
    return known["zh" if has_chinese(text) else "en"]


class _Log:
    """Where GEPA's own words go: nowhere, for they quote prompts."""

    def log(self, message: str) -> None:
        """Forget it."""


def _gepa() -> Any:
    """The package, which is heavy to import.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        return importlib.import_module("gepa")
    except ImportError:
        raise ConfigurationError(
            "measuring prompts on samples needs gepa, which is not installed here;"
            ' type: pip install "yangfan[prompts]"'
        ) from None


def _wrong(before: str, content: str) -> str:
    """Why a rewriting cannot be used; "" if it can."""
    if not content.strip():
        return "it is empty"
    lost = set(_VARIABLE.findall(before)) - set(_VARIABLE.findall(content))
    return f"it lost {', '.join(sorted(lost))}" if lost else ""
