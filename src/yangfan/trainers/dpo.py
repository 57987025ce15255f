"""Direct preference optimisation: prefer the chosen answer to the rejected one (arXiv 2305.18290; specification D.6, DPO).

    loss = -(1 - ε) log σ(h) - ε log σ(-h)    h = β [(log p(chosen) - log p(rejected)) - (the same of the model before the first step)]

Log-probabilities are summed over the answer. The model before the first step is asked once and not kept in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from yangfan.errors import Invalid
from yangfan.trainers.pipeline import libraries, rows
from yangfan.trainers.pipeline.objective import Loss
from yangfan.trainers.pipeline.pairs import reference, sums
from yangfan.trainers.pipeline.tokens import example

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from yangfan.trainers.base import HyperParameters
    from yangfan.trainers.pipeline.models import Network
    from yangfan.trainers.pipeline.rows import Row
    from yangfan.trainers.pipeline.tokens import Example, Words

SUMMARY = "learns to prefer one answer to another"
METHODS = frozenset({"full", "lora"})
SCORES = False
COMPARES = True
ANSWERS = False


class Pair(NamedTuple):
    """Two answers to one question."""

    chosen: Example
    rejected: Example


class Preferences:
    """Pairs of answers."""

    def __init__(self, pairs: list[Pair], words: Words, hyper: HyperParameters) -> None:
        """Keep what is learnt."""
        if not pairs:
            raise Invalid(
                f"every prompt is longer than max_seq_len = {hyper.max_seq_len} tokens; raise it",
                param="maxSeqLen",
            )
        self._pairs, self._words, self._hyper = pairs, words, hyper
        self._before: Any = None

    def count(self) -> int:
        """Pairs."""
        return len(self._pairs)

    def tokens(self, item: int) -> int:
        """Tokens of both answers and their prompts."""
        return sum(len(one.ids) for one in self._pairs[item])

    def weight(self, item: int) -> float:
        """The loss is a mean over pairs."""
        del item
        return 1.0

    def prepare(self, network: Network, folder: Path) -> None:
        """Ask for every answer how probable it is before the first step."""
        answers = [one for pair in self._pairs for one in pair]
        found = reference(network, answers, self._words.pad_id, folder)
        self._before = found[0::2] - found[1::2]

    def loss(self, network: Network, model: Any, items: Sequence[int], seed: int) -> Loss:
        """Sum over pairs."""
        del seed
        torch = libraries.torch()
        pairs = [self._pairs[item] for item in items]
        answers = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
        found = sums(network, model, answers, self._words.pad_id)
        now = found[: len(pairs)] - found[len(pairs) :]
        margin = self._hyper.beta * (now - self._before[list(items)].to(now.device))
        log_sigmoid = torch.nn.functional.logsigmoid
        smooth = self._hyper.label_smoothing
        total = -((1 - smooth) * log_sigmoid(margin) + smooth * log_sigmoid(-margin)).sum()
        seen = margin.detach()
        return Loss(total, {"accuracy": (seen > 0).float().sum(), "margin": seen.sum()})


def pairs_of(given: Iterable[Row], words: Words, hyper: HyperParameters) -> list[Pair]:
    """Pairs of answers; those whose prompt alone is longer than `max_seq_len` are left out.

    Raises:
        Invalid: A row has no two answers, or its template refuses it.
    """
    limit, found = hyper.max_seq_len, list[Pair]()
    for row in given:
        messages, chosen, rejected = rows.preference(row)
        prompt = words.prompt(row, messages)
        if len(prompt) < limit:
            two = (words.answer(row, messages, answer) for answer in (chosen, rejected))
            found.append(Pair(*(example(prompt, said, limit) for said in two)))
    return found


def objective(given: Iterable[Row], words: Words, hyper: HyperParameters) -> Preferences:
    """Read pairs.

    Raises:
        Invalid: A row has no two answers, or its template refuses it.
    """
    return Preferences(pairs_of(given, words, hyper), words, hyper)
