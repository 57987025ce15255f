"""Ask models about the samples of a dataset, and grade what they say (specification D.14).

Spec: ``folder`` (of the evaluation), ``samples`` (a file of JSON lines) or ``manifest`` and ``blobs`` (a dataset version), ``candidates``, ``scorers``, ``pairwise``, ``results``,
``at_once``, ``answers`` (dataset versions with what candidates said before, by the candidates' places) and ``borrowed`` (model versions that no service serves, by the names of models that stand for them). Result: the figures; the answers with their scores
lie in ``results.jsonl``. Where ``results`` says what their ids begin with, they become rows of a dataset, too, and the result has their ``manifest``.

Borrowed versions run one after another, each for as long as it is asked; a judge among them runs while answers are graded. One that cannot run has no answers, and
the others go on.

Whatever a model says, judges included, is kept in ``said.jsonl`` under what it was asked as soon as it is said: another attempt asks nothing twice, and
borrows nothing that has nothing left to say.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from yangfan.errors import (
    Conflict,
    ConnectionFailed,
    EngineFailed,
    InternalError,
    Invalid,
    Overloaded,
    RefusedError,
)
from yangfan.protocol.templates import turns_of
from yangfan.scorers import base, figures
from yangfan.scorers.pairwise import Pairwise, bradley_terry
from yangfan.worker.lending import Patience, Wanted, borrowed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from yangfan.worker.task import Task

MAX_SAMPLES = 100_000
SAVE_SECONDS = 1.0
ATTEMPTS = 20
"""Times that a model is asked that has no room."""

FAILURES = 3
"""Times that a model is asked whose engine fails."""

PRIOR = 0.5
"""Wins that everybody is given over everybody else, so that strengths have an end."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A model to be asked; or answers that are there already, under `answers` of the samples."""

    id: str
    name: str
    model: str = ""
    template: str = ""
    parameters: dict[str, Any] = {}


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """A scorer and its arguments; `label` names its figures."""

    name: str
    label: str
    parameters: dict[str, Any] = {}


class _Spec(msgspec.Struct, kw_only=True):
    folder: str
    candidates: list[Candidate]
    scorers: list[Chosen]
    samples: str = ""
    manifest: dict[str, Any] | None = None
    blobs: str = ""
    pairwise: dict[str, Any] | None = None
    results: str = ""
    at_once: int = 4
    borrowed: dict[str, Wanted] = {}
    answers: dict[str, dict[str, Any]] = {}


class _Line(msgspec.Struct):
    """A sample as callers write it in a file."""

    prompt: str | list[dict[str, str]]
    response: str | list[str] = ""
    system: str = ""
    answers: dict[str, str] = {}


class Item(msgspec.Struct, kw_only=True):
    """A sample."""

    row_id: str
    messages: list[dict[str, str]]
    references: list[str] = []
    answers: dict[str, str] = {}

    @property
    def question(self) -> str:
        """What is asked last."""
        return self.messages[-1]["content"]


class Said(msgspec.Struct, omit_defaults=True):
    """What a model said, or why it said nothing."""

    key: str
    text: str = ""
    error: str = ""
    tokens: tuple[int, int] = (0, 0)
    vectors: list[list[float]] | None = None


def run(task: Task) -> dict[str, Any]:
    """Evaluate.

    Raises:
        Invalid: The spec or a sample is not right.
    """
    try:
        spec = msgspec.convert(task.spec, _Spec)
    except msgspec.ValidationError as error:
        raise Invalid(f"this is no evaluation: {error}") from error
    found = items_of(spec.manifest, Path(spec.samples), Path(spec.blobs))
    items = list(itertools.islice(found, MAX_SAMPLES))
    if not items:
        raise Invalid("the dataset has no samples that can be asked")
    for place, manifest in spec.answers.items():
        _answered(items, spec.candidates[int(place)].id, manifest, Path(spec.blobs))
    with ExitStack() as stack:
        asking = stack.enter_context(
            Asking(task, Path(spec.folder) / "said.jsonl", spec.at_once, spec.borrowed)
        )
        scorers = {
            chosen.label: base.create(chosen.name, chosen.parameters, asking)
            for chosen in spec.scorers
        }
        units = [(candidate, item) for candidate in spec.candidates for item in items]
        total = 2 * len(units)
        answers = _answers(asking, spec, units, total)

        def grade(unit: tuple[Candidate, Item], said: Said) -> dict[str, base.Score]:
            return {label: graded(scorer, unit[1], said) for label, scorer in scorers.items()}

        pairs = list(zip(units, answers, strict=True))
        judges = [chosen.parameters.get("model") for chosen in spec.scorers]
        with asking.borrowing(judges):
            scores = asking.each(pairs, lambda pair: grade(*pair), total, len(units), "answers")
        with asking.borrowing([(spec.pairwise or {}).get("model")]):
            comparison = _compared(asking, spec, items, answers)
    _write(Path(spec.folder), pairs, scores)
    shown = [
        {
            **_shown(candidate, items, position, answers, scores, scorers),
            "message": asking.lacking.get(candidate.model, ""),
        }
        for position, candidate in enumerate(spec.candidates)
    ]
    outcome: dict[str, Any] = {
        "samples": len(items),
        "candidates": shown,
        "comparison": comparison,
        "message": "; ".join(asking.lacking.values()),
    }
    if spec.results and importlib.util.find_spec("pyarrow") is None:
        task.log("the answers become no dataset here: that needs the extra data")
    elif spec.results:
        outcome["manifest"] = _rows(spec, pairs, scores)
    return outcome


def _answers(
    asking: Asking, spec: _Spec, units: Sequence[tuple[Candidate, Item]], total: int
) -> list[Said]:
    """What everybody says: first those that are served, then those that are borrowed, one after another."""

    def lent(candidate: Candidate) -> str:
        return candidate.model if candidate.model in spec.borrowed else ""

    answers: list[Said] = [Said("")] * len(units)
    done = 0
    asking.units = [{"state": "Pending"} for _ in spec.candidates]
    for name in sorted(dict.fromkeys(map(lent, spec.candidates)), key=bool):
        own = [place for place, each in enumerate(spec.candidates) if lent(each) == name]
        places = [place for place, (candidate, _) in enumerate(units) if lent(candidate) == name]
        asked = [units[place] for place in places]
        asking.tell_units(own, "Doing")
        with asking.borrowing([] if all(map(asking.knows, asked)) else [name]):
            said = asking.each(asked, asking.answer, total, done, "answers")
        for place, each in zip(places, said, strict=True):
            answers[place] = each
        message = asking.lacking.get(name, "")
        asking.tell_units(own, "Failed" if message else "Done", message)
        done += len(places)
    return answers


class Asking:
    """Asks models once; also what scorers ask with.

    Args:
        task: Who asks.
        path: Where everything that is said is kept.
        at_once: How many questions are asked side by side.
        wanted: Versions that must be borrowed, by the names that bodies have for them.

    Attributes:
        lacking: Why those that cannot be asked cannot, by the same names.
        units: How far each candidate is; the checkpoint tells it.
    """

    def __init__(
        self, task: Task, path: Path, at_once: int, wanted: Mapping[str, Wanted] | None = None
    ) -> None:
        self._task = task
        self._path = path
        self._lock = threading.Lock()
        self._said: dict[str, Said] = {}
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="ask")
        self._wanted = wanted or {}
        self._names: dict[str, str] = {}
        self._patience: dict[str, Patience] = {}
        self.lacking: dict[str, str] = {}
        self.units: list[dict[str, str]] = []
        self._now = (0, 0, "")

    def __enter__(self) -> Asking:
        """Read what was said before, and cut off what was not written to its end."""
        self._file = self._path.open("ab", buffering=0)
        whole = 0
        for line in self._path.read_bytes().splitlines(keepends=True):
            try:
                said = msgspec.json.decode(line, type=Said)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                break
            if not line.endswith(b"\n"):
                break
            self._said[said.key] = said
            whole += len(line)
        self._file.truncate(whole)
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._file.close()

    def each(
        self,
        units: Sequence[Any],
        do: Callable[[Any], Any],
        total: int,
        before: int,
        what: str,
        *,
        note: str = "",
    ) -> list[Any]:
        """What `do` makes of each, a few at a time; saved every second."""
        found: list[Any] = [None] * len(units)
        self._now = (before, total, what)
        places = {self._threads.submit(do, unit): place for place, unit in enumerate(units)}
        saved_at, done = time.monotonic(), 0
        for future in as_completed(places):
            found[places[future]] = future.result()
            done += 1
            if time.monotonic() - saved_at > SAVE_SECONDS:
                self.save()
                self._task.progress(before + done, total, what, note)
                saved_at = time.monotonic()
        self.save()
        self._task.progress(before + done, total, what, note)
        return found

    def save(self) -> None:
        """Have everything that was said so far kept."""
        with self._lock:
            os.fsync(self._file.fileno())
            size = os.fstat(self._file.fileno()).st_size
        state = {"said_bytes": size, "units": self.units} if self.units else {"said_bytes": size}
        if state != self._task.state:
            self._task.save(state)

    def tell_units(self, places: Iterable[int], state: str, message: str = "") -> None:
        """Some candidates are as far as that now."""
        units = [*self.units]
        for place in places:
            units[place] = {"state": state, "message": message}
        self.units = units
        self.save()

    @contextmanager
    def borrowing(self, names: Iterable[Any]) -> Generator[None]:
        """Have those of these models that must be borrowed run within the block; why one cannot is in `lacking` then."""
        before, total, what = self._now

        def tell(note: str) -> None:
            self._task.progress(before, total or None, what, note)

        with ExitStack() as stack:
            lent = [name for name in dict.fromkeys(names) if name in self._wanted]
            for name in lent:
                try:
                    self._names[name] = stack.enter_context(
                        borrowed(self._task, self._wanted[name], tell)
                    )
                except Conflict as error:
                    self.lacking[name] = error.message
                    self._task.log(error.message)
                else:
                    self._patience[name] = Patience(self._wanted[name].title or name)
            yield
            for name in lent:
                self._names.pop(name, None)
                self._patience.pop(name, None)

    def knows(self, unit: tuple[Candidate, Item]) -> bool:
        """Whether a candidate has answered a sample before."""
        candidate, item = unit
        with self._lock:
            return _key(_body(candidate, item)) in self._said

    def answer(self, unit: tuple[Candidate, Item]) -> Said:
        """A candidate's answer to a sample."""
        candidate, item = unit
        if not candidate.model:
            given = item.answers.get(candidate.id)
            error = "" if given is not None else "the dataset has no answer of this candidate"
            return Said("", given or "", error)
        return self.reply(_body(candidate, item))

    def chat(
        self,
        model: str,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any] | None = None,
        temperature: float | None = None,
    ) -> str:
        """What a judge says. Raises RefusedError where it says nothing."""
        body: dict[str, Any] = {"model": model, "messages": list(messages)}
        if temperature is not None:
            body["temperature"] = temperature
        if schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "verdict", "schema": schema, "strict": True},
            }
        said = self.reply(body)
        if said.error:
            raise InternalError(said.error)
        return said.text

    def embed(self, model: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One vector for each text."""
        body = {"model": model, "input": list(texts)}

        def ask() -> Said:
            reply = self._ask("/v2/embeddings", body)
            return Said("", vectors=[each["embedding"] for each in reply["data"]])

        said = self._once(body, ask)
        if said.error or said.vectors is None:
            raise InternalError(said.error or "no vectors came back")
        return said.vectors

    def reply(self, body: dict[str, Any]) -> Said:
        """What a model says to a body of /v2/chat/completions, or why it says nothing."""

        def ask() -> Said:
            reply = self._ask("/v2/chat/completions", body)
            used: dict[str, Any] = reply.get("usage") or {}
            return Said(
                "",
                reply["choices"][0]["message"].get("content") or "",
                tokens=(used.get("prompt_tokens", 0), used.get("completion_tokens", 0)),
            )

        return self._once(body, ask)

    def _once(self, body: dict[str, Any], ask: Callable[[], Said]) -> Said:
        key = _key(body)
        with self._lock:
            known = self._said.get(key)
        if known is not None:
            return known
        if lacking := self.lacking.get(body["model"]):
            return Said("", error=lacking)
        try:
            said = ask()
        except (RefusedError, ConnectionFailed) as error:
            said = Said("", error=error.message)
        said.key = key
        with self._lock:
            self._said[key] = said
            self._file.write(msgspec.json.encode(said) + b"\n")
        return said

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        model = body["model"]
        patience = self._patience.get(model)
        body = {**body, "model": self._names.get(model, model)}
        failures = 0
        for attempt in range(ATTEMPTS):
            try:
                reply = self._task.ask(path, body)
            except RefusedError as error:
                if patience is not None and isinstance(error, (EngineFailed, Overloaded)):
                    if reason := patience.failed(error):
                        self.lacking.setdefault(model, reason.message)
                    raise
                failures += error.status is None or error.status >= 500
                if not error.retryable or attempt + 1 == ATTEMPTS or failures == FAILURES:
                    raise
            else:
                if patience is not None:
                    patience.answered()
                return reply
        raise AssertionError("the last attempt raises")


def _key(body: Mapping[str, Any]) -> str:
    encoded = msgspec.json.encode(body, order="deterministic")
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


def _body(candidate: Candidate, item: Item) -> dict[str, Any]:
    """What a candidate is asked about a sample."""
    messages = _asked(candidate.template, item) if candidate.template else item.messages
    parameters = dict(candidate.parameters)
    if system := parameters.pop("system", None):
        messages = [{"role": "system", "content": system}, *messages]
    return {**parameters, "model": candidate.model, "messages": messages}


def items_of(manifest: dict[str, Any] | None, samples: Path, blobs: Path) -> Iterable[Item]:
    """Samples of a dataset version, or of a file where there is no manifest.

    Raises:
        Invalid: A line of the file is none.
    """
    return _of_file(samples) if manifest is None else _of_dataset(manifest, blobs)


def _of_file(path: Path) -> Iterable[Item]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                given = msgspec.json.decode(line, type=_Line)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise Invalid(f"line {number} is no sample {{prompt, response}}: {error}") from None
            messages = (
                [{"role": "user", "content": given.prompt}]
                if isinstance(given.prompt, str)
                else given.prompt
            )
            if given.system:
                messages = [{"role": "system", "content": given.system}, *messages]
            responses = [given.response] if isinstance(given.response, str) else given.response
            yield Item(
                row_id=str(number),
                messages=messages,
                references=[each for each in responses if each],
                answers=given.answers,
            )


def _of_dataset(manifest: dict[str, Any], blobs: Path) -> Iterable[Item]:
    from yangfan.datasets.manifest import Manifest
    from yangfan.datasets.shards import BlobFolder, read_rows

    for row in read_rows(BlobFolder(blobs), msgspec.convert(manifest, Manifest)):
        sample = row.sample
        messages = [{"role": "system", "content": sample.system}] if sample.system else []
        references: list[str] = []
        if sample.messages:
            said = [{"role": each.role, "content": each.content} for each in sample.messages]
            if said[-1]["role"] == "assistant":
                references = [said.pop()["content"]]
            messages += said
        for turn in sample.turns[:-1]:
            messages.append({"role": "user", "content": turn.prompt})
            if turn.responses:
                messages.append({"role": "assistant", "content": turn.responses[0]})
        for turn in sample.turns[-1:]:
            messages.append({"role": "user", "content": turn.prompt})
            references = [*turn.responses[:1], *([sample.chosen] if sample.chosen else [])]
        if messages and messages[-1]["role"] == "user":
            answers: Any = sample.extra.get("answers")
            yield Item(
                row_id=row.row_id,
                messages=messages,
                references=[each for each in references if each],
                answers=cast("dict[str, str]", answers) if isinstance(answers, dict) else {},
            )


def _answered(items: Sequence[Item], candidate: str, manifest: dict[str, Any], blobs: Path) -> None:
    """Give samples the answers of a dataset: the first row with a question is of the first sample that asks it, and so on."""
    from yangfan.datasets.manifest import Manifest
    from yangfan.datasets.shards import BlobFolder, read_rows

    said: dict[str, list[str]] = {}
    for row in read_rows(BlobFolder(blobs), msgspec.convert(manifest, Manifest)):
        completion = row.sample.extra.get("completion")
        if row.sample.turns and isinstance(completion, str) and "error" not in row.sample.extra:
            said.setdefault(row.sample.turns[-1].prompt, []).append(completion)
        elif row.sample.turns:
            said.setdefault(row.sample.turns[-1].prompt, []).append("")
    asked = dict.fromkeys(said, 0)
    for item in items:
        answers, place = said.get(item.question, []), asked.get(item.question, 0)
        asked[item.question] = place + 1
        if place < len(answers) and answers[place]:
            item.answers.setdefault(candidate, answers[place])


def _asked(template: str, item: Item) -> list[dict[str, str]]:
    """A sample in a prompt; the examples that it spells out come after the system's word and before what was said already."""
    *before, last = item.messages
    *examples, (_, asked) = [
        (role, text.replace("{input}", last["content"])) for role, text in turns_of(template)
    ]
    shown = [{"role": role, "content": text} for role, text in examples]
    place = sum(each["role"] == "system" for each in before[:1])
    return [*before[:place], *shown, *before[place:], {**last, "content": asked}]


def graded(scorer: base.Scorer, item: Item, said: Said) -> base.Score:
    """The score of an answer; ungradeable where there is none."""
    if said.error:
        return base.ungradeable(f"no answer: {said.error}")
    return scorer.score(base.Sample(said.text, tuple(item.references), item.question))


def _compared(
    asking: Asking, spec: _Spec, items: Sequence[Item], answers: Sequence[Said]
) -> dict[str, Any] | None:
    """Who is better than whom, and how strong each is."""
    if spec.pairwise is None or len(spec.candidates) < 2:
        return None
    judge = base.create("pairwise", spec.pairwise, asking)
    assert isinstance(judge, Pairwise)
    count = len(items)
    places = list(itertools.combinations(range(len(spec.candidates)), 2))
    units = [(i, j, place) for i, j in places for place in range(count)]

    def compare(unit: tuple[int, int, int]) -> base.Score:
        i, j, place = unit
        one, other = answers[i * count + place], answers[j * count + place]
        if one.error or other.error:
            return base.ungradeable(f"no answer: {one.error or other.error}")
        return judge.compare(items[place].question, one.text, other.text)

    scores = asking.each(units, compare, len(units), 0, "pairs")
    wins = [[0.0] * len(spec.candidates) for _ in spec.candidates]
    called = _told_apart(spec.candidates)
    shown: list[dict[str, Any]] = []
    for number, (i, j) in enumerate(places):
        own = scores[number * count : (number + 1) * count]
        for score in own:
            if score.value is not None:
                wins[i][j] += score.value
                wins[j][i] += 1 - score.value
        shown.append(
            {
                "a": called[i],
                "b": called[j],
                **_figure(figures.figure(None, own)),
            }
        )
    strengths = bradley_terry(wins, prior=PRIOR)
    return {
        "pairs": shown,
        "strengths": dict(zip(called, strengths, strict=True)),
    }


def _told_apart(candidates: Sequence[Candidate]) -> list[str]:
    """Their ids; where those are the same, as those of one model with several prompts, their names, and else their numbers, too."""
    ids = [each.id for each in candidates]
    names = [each.id if ids.count(each.id) == 1 else each.name or each.id for each in candidates]
    return [
        name if names.count(name) == 1 else f"{name} #{place + 1}"
        for place, name in enumerate(names)
    ]


def _shown(
    candidate: Candidate,
    items: Sequence[Item],
    position: int,
    answers: Sequence[Said],
    scores: Sequence[Mapping[str, base.Score]],
    scorers: Mapping[str, base.Scorer],
) -> dict[str, Any]:
    own = slice(position * len(items), (position + 1) * len(items))
    said = answers[own]
    found: dict[str, Any] = {}
    for label, scorer in scorers.items():
        graded = [each[label] for each in scores[own]]
        found[label] = _figure(figures.figure(scorer, graded))
        values = [each.value for each in graded if each.value is not None]
        if len(set(values)) <= 101 and all(value.is_integer() for value in values):
            found[label]["distribution"] = {
                f"{value:g}": values.count(value) for value in sorted(set(values))
            }
    return {
        "id": candidate.id,
        "name": candidate.name,
        "answered": sum(not each.error for each in said),
        "failed": sum(bool(each.error) for each in said),
        "prompt_tokens": sum(each.tokens[0] for each in said),
        "completion_tokens": sum(each.tokens[1] for each in said),
        "figures": found,
    }


def _figure(figure: figures.Figure) -> dict[str, Any]:
    return {
        "value": figure.value,
        "low": figure.low,
        "high": figure.high,
        "graded": figure.graded,
        "ungradeable": dict(figure.ungradeable),
    }


def _rows(
    spec: _Spec,
    pairs: Sequence[tuple[tuple[Candidate, Item], Said]],
    scores: Sequence[Mapping[str, base.Score]],
) -> dict[str, Any]:
    """The answers as rows of a dataset, as Qianfan writes them: prompt, response (what was expected), completion (what came)."""
    from yangfan.datasets.formats import DataFormat, Sample, Turn
    from yangfan.datasets.shards import BlobFolder, ShardWriter

    now_ms = time.time_ns() // 1_000_000
    blobs = BlobFolder(Path(spec.blobs))
    with ShardWriter(blobs, DataFormat.PROMPT_RESPONSE, created_ms=now_ms) as writer:
        for number, (((candidate, item), said), own) in enumerate(zip(pairs, scores, strict=True)):
            extra: dict[str, Any] = {"completion": said.text, "model": candidate.name}
            if own:
                extra["scores"] = {
                    label: score.reason if score.value is None else score.value
                    for label, score in own.items()
                }
            if said.error:
                extra["error"] = said.error
            system = "\n".join(
                each["content"] for each in item.messages if each["role"] == "system"
            )
            writer.add(
                f"{spec.results}-{number}",
                Sample(
                    system=system,
                    turns=(*_turns(item), Turn(item.question, tuple(item.references[:1]))),
                    extra=extra,
                ),
            )
        return msgspec.to_builtins(writer.finish())


def _turns(item: Item) -> Iterable[Any]:
    """What was said before the question."""
    from yangfan.datasets.formats import Turn

    prompt = ""
    for each in item.messages[:-1]:
        if each["role"] == "user":
            prompt = each["content"]
        elif each["role"] == "assistant":
            yield Turn(prompt, (each["content"],))


def _write(
    folder: Path,
    pairs: Sequence[tuple[tuple[Candidate, Item], Said]],
    scores: Sequence[Mapping[str, base.Score]],
) -> None:
    part = folder / "results.coming"
    with part.open("wb") as file:
        for number, (((candidate, item), said), graded) in enumerate(
            zip(pairs, scores, strict=True)
        ):
            line = {
                "id": f"r-{number}",
                "candidate": candidate.id,
                "name": candidate.name,
                "row_id": item.row_id,
                "prompt": item.question,
                "references": item.references,
                "answer": said.text,
                "error": said.error,
                "scores": {
                    label: {"value": score.value, "reason": score.reason}
                    for label, score in graded.items()
                },
            }
            file.write(msgspec.json.encode(line) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / "results.jsonl")
