"""New samples out of seeds: self-instruct (https://arxiv.org/abs/2212.10560) and evolution of prompts (https://arxiv.org/abs/2304.12244).

Everything that is made follows from the seeds, the settings and the answers: with the same answers a second run makes the same samples in the
same order. Questions go out in rounds of `at_once`, each round made up before its first answer comes.
"""

from __future__ import annotations

import functools
import random
import re
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from yangfan.worker.augmentation.similarity import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from yangfan.worker.augmentation.journal import Journal
    from yangfan.worker.augmentation.similarity import Nearest

FILE = Path(__file__).with_name("prompts.toml")
IN_ONE_QUESTION = 5
"""New instructions that one question asks for."""
OWN_SHARE = 0.25
"""Of the examples in a question so many are own ones, as 2 of 8 are in the paper."""
FRUITLESS = 20
"""Questions in a row that brought nothing new, after which the work gives up."""
MAX_PROMPT_CHARACTERS = 8000
HAN = re.compile(r"[\u4e00-\u9fff]")

Strategy = Literal["addConstraint", "complexScene", "direction", "precondition"]
Count = Annotated[int, Meta(ge=1, le=5000)]

_NUMBERED = re.compile(r"^\s*(?:[-*•]|[(（]?\d{1,3}\s*[.、:：)）])\s*(.+?)\s*$")
_FENCES = re.compile(r"<think>.*?</think>|```\w*", re.DOTALL)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What to make.

    Attributes:
        model: Which of the platform's models is asked.
        seeds_in_prompt: Examples in one question.
        number: How many samples to make, where there is no `evolution`.
        similarity_threshold: A prompt whose ROUGE-L with an earlier one is at least this is left out.
        evolution: How many prompts to make with each strategy, in each round.
        iterations: Rounds of evolution; each begins with what the one before made.
        context: What everything has to do with.
        words: What it is about.
        with_responses: Whether the model also answers each new prompt.
        at_once: Questions under way at once.
        temperature: Of the model, where the samples are made up.
        seed: Another one draws other examples.
    """

    model: str
    seeds_in_prompt: Annotated[int, Meta(ge=1, le=10)] = 3
    number: Count = 100
    similarity_threshold: Annotated[float, Meta(ge=0, le=1)] = 0.7
    evolution: dict[Strategy, Annotated[int, Meta(ge=1, le=1000)]] = {}
    iterations: Annotated[int, Meta(ge=1, le=10)] = 1
    context: str = ""
    words: str = ""
    with_responses: bool = True
    at_once: Annotated[int, Meta(ge=1, le=32)] = 4
    temperature: Annotated[float, Meta(gt=0, le=1)] = 0.9
    seed: int = 0


class Seed(NamedTuple):
    """A sample to begin with: its row id and its prompt."""

    id: str
    prompt: str


class Made(NamedTuple):
    """A new sample.

    Attributes:
        id: Its row id.
        prompt: The new prompt.
        response: The model's answer to it; "" where none is wanted.
        provenance: Where it comes from: method, model, the rows it was made from, what is nearest to it.
    """

    id: str
    prompt: str
    response: str
    provenance: dict[str, Any]


class Counts(msgspec.Struct):
    """What became of what the model wrote."""

    asked: int = 0
    """Questions, those among them that had been answered before a restart."""
    made: int = 0
    rejected: int = 0
    """Prompts too like another one."""
    unusable: int = 0
    """Answers without anything in them."""
    gave_up: bool = False
    """Whether too many questions in a row brought nothing new."""


class _Question(NamedTuple):
    key: str
    text: str
    parents: tuple[str, ...]
    strategy: str
    iteration: int


class Maker:
    """Makes samples.

    Args:
        settings: What to make.
        seeds: What to begin with; at least one.
        ask: Asks the model: a prompt and a temperature (None for the model's own) in, its text out. Called by several threads.
        journal: Answers that are there already, and where further ones go.
        prefix: What the new rows' ids begin with.

    Attributes:
        counts: What became of everything so far.
    """

    def __init__(
        self,
        settings: Settings,
        seeds: Sequence[Seed],
        ask: Callable[[str, float | None], str],
        journal: Journal,
        prefix: str,
    ) -> None:
        self._settings, self._seeds, self._ask = settings, seeds, ask
        self._journal, self._prefix = journal, prefix
        self._pool = Pool()
        for seed in seeds:
            self._pool.add(seed.id, seed.prompt)
        self._made: list[Seed] = []
        self.counts = Counts()

    def __iter__(self) -> Iterator[Made]:
        """The samples, in order."""
        with ThreadPoolExecutor(self._settings.at_once) as threads:
            rounds = self._evolution() if self._settings.evolution else self._instruction()
            for questions in rounds:
                yield from self._round(questions, threads)

    def _instruction(self) -> Iterator[list[_Question]]:
        fruitless = number = 0
        while (left := self._settings.number - len(self._made)) > 0:
            if fruitless >= FRUITLESS:
                self.counts.gave_up = True
                return
            size = min(self._settings.at_once, -(-left // IN_ONE_QUESTION))
            before = len(self._made)
            yield [self._instruct(number + place, left) for place in range(size)]
            number += size
            fruitless = 0 if len(self._made) > before else fruitless + size

    def _instruct(self, number: int, left: int) -> _Question:
        settings = self._settings
        draw = random.Random(f"{settings.seed}:{number}")  # noqa: S311 - which examples, not a secret
        own = min(int(settings.seeds_in_prompt * OWN_SHARE), len(self._made))
        theirs = min(settings.seeds_in_prompt - own, len(self._seeds))
        examples = [*draw.sample(self._seeds, theirs), *draw.sample(self._made, own)]
        draw.shuffle(examples)
        prompts = _prompts(_language(examples))
        text = prompts["instruct"].format(
            examples="\n".join(
                f"{place}. {_one_line(example.prompt)}" for place, example in enumerate(examples, 1)
            ),
            number=min(IN_ONE_QUESTION, left),
            context=self._context(prompts),
        )
        parents = tuple(example.id for example in examples)
        return _Question(f"instruct:{number}", text, parents, "self-instruct", 1)

    def _evolution(self) -> Iterator[list[_Question]]:
        settings = self._settings
        base: Sequence[Seed] = self._seeds
        for iteration in range(1, settings.iterations + 1):
            first = len(self._made)
            questions = [
                self._evolve(strategy, base[place % len(base)], iteration, place)
                for strategy, count in settings.evolution.items()
                for place in range(count)
            ]
            for start in range(0, len(questions), settings.at_once):
                yield questions[start : start + settings.at_once]
            base = self._made[first:]
            if not base:
                self.counts.gave_up = iteration < settings.iterations
                return

    def _evolve(self, strategy: str, seed: Seed, iteration: int, place: int) -> _Question:
        prompts = _prompts(_language([seed]))
        text = prompts["evolution"][strategy].format(
            prompt=seed.prompt, context=self._context(prompts)
        )
        return _Question(f"{strategy}:{iteration}:{place}", text, (seed.id,), strategy, iteration)

    def _context(self, prompts: Mapping[str, Any]) -> str:
        settings = self._settings
        said = ((settings.context, "context"), (settings.words, "words"))
        return "".join(prompts[name].format(**{name: text}) for text, name in said if text)

    def _round(self, questions: list[_Question], threads: ThreadPoolExecutor) -> Iterator[Made]:
        temperature = self._settings.temperature

        def answer_of(question: _Question) -> str:
            return self._answer(question.key, question.text, temperature)

        def response_to(made: Seed) -> str:
            return self._answer(f"respond:{made.id}", made.prompt, None)

        answers = list(threads.map(answer_of, questions))
        found: list[tuple[_Question, Seed, Nearest]] = []
        for question, answer in zip(questions, answers, strict=True):
            self.counts.asked += 1
            candidates = (
                _listed(answer) if question.strategy == "self-instruct" else _single(answer)
            )
            if not candidates:
                self.counts.unusable += 1
            for candidate in candidates:
                if not self._settings.evolution and len(self._made) >= self._settings.number:
                    break
                nearest = self._pool.nearest(candidate)
                if nearest.similarity >= self._settings.similarity_threshold:
                    self.counts.rejected += 1
                    continue
                made = Seed(f"{self._prefix}-{len(self._made)}", candidate)
                self._pool.add(*made)
                self._made.append(made)
                found.append((question, made, nearest))
        responses = [""] * len(found)
        if self._settings.with_responses:
            responses = list(threads.map(response_to, [made for _, made, _ in found]))
        for (question, made, nearest), response in zip(found, responses, strict=True):
            if self._settings.with_responses:
                self.counts.asked += 1
                if not response:
                    self.counts.unusable += 1
                    continue
            self.counts.made += 1
            yield Made(*made, response, self._provenance(question, nearest))

    def _provenance(self, question: _Question, nearest: Nearest) -> dict[str, Any]:
        return {
            "method": question.strategy,
            "iteration": question.iteration,
            "model": self._settings.model,
            "seeds": list(question.parents),
            "nearest": nearest.id,
            "similarity": round(nearest.similarity, 4),
        }

    def _answer(self, key: str, text: str, temperature: float | None) -> str:
        known = self._journal.get(key)
        if known is not None:
            return known
        answer = _FENCES.sub("", self._ask(text, temperature)).strip()
        self._journal.put(key, answer)
        return answer


def _listed(answer: str) -> list[str]:
    """The instructions of a numbered list; of an answer without numbers, its lines."""
    lines = [line for line in answer.splitlines() if line.strip()]
    numbered = [match[1] for line in lines if (match := _NUMBERED.match(line))]
    return [line for line in numbered or map(str.strip, lines) if _usable(line)]


def _single(answer: str) -> list[str]:
    text = re.sub(r"^(?:指令|Instruction|New instruction)\s*[:：]\s*", "", answer.strip())
    return [text] if _usable(text) else []


def _usable(text: str) -> bool:
    return 2 <= len(text) <= MAX_PROMPT_CHARACTERS and any(letter.isalnum() for letter in text)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _language(seeds: Sequence[Seed]) -> str:
    """Chinese if the most of them are."""
    chinese = sum(HAN.search(seed.prompt) is not None for seed in seeds)
    return "zh" if 2 * chinese >= len(seeds) else "en"


@functools.cache
def _prompts(language: str) -> Mapping[str, Any]:
    return tomllib.loads(FILE.read_text("utf-8"))[language]
