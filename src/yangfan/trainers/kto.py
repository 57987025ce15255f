"""Kahneman-Tversky optimisation: learn from single answers that are wanted or not (arXiv 2402.01306; specification D.6, KTO).

    wanted:      λ_D (1 - σ(β (r - z)))       not wanted:  λ_U (1 - σ(β (z - r)))

with r = log p(answer) - log p before the first step, and z the mean of the same over other rows' answers, at least 0, which no gradient
goes through. Another row's answer is that of the next row; z is taken over what is computed at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    from yangfan.trainers.pipeline.tokens import Words

SUMMARY = "learns from answers that are wanted or not"
METHODS = frozenset({"full", "lora"})
SCORES = False
COMPARES = True
ANSWERS = False


class Judgements:
    """Single answers, each beside the next row's answer to the same question."""

    def __init__(
        self,
        answers: list[tuple[list[int], list[int], bool]],
        words: Words,
        hyper: HyperParameters,
    ) -> None:
        """Keep what is learnt: prompts, answers, and whether each is wanted."""
        if len(answers) < 2:
            raise Invalid(
                "kto compares each answer with another row's: two rows with prompts within "
                f"max_seq_len = {hyper.max_seq_len} tokens are needed at least"
            )
        limit = hyper.max_seq_len
        self._own = [example(prompt, said, limit) for prompt, said, _ in answers]
        self._other = [
            example(prompt, answers[(place + 1) % len(answers)][1], limit)
            for place, (prompt, _, _) in enumerate(answers)
        ]
        self._wanted = [wanted for _, _, wanted in answers]
        self._words, self._hyper = words, hyper
        self._before: Any = None

    def count(self) -> int:
        """Answers."""
        return len(self._own)

    def tokens(self, item: int) -> int:
        """Tokens of an answer, its prompt, and both with the other's."""
        return len(self._own[item].ids) + len(self._other[item].ids)

    def weight(self, item: int) -> float:
        """The loss is a mean over answers."""
        del item
        return 1.0

    def prepare(self, network: Network, folder: Path) -> None:
        """Ask for every answer how probable it is before the first step."""
        self._before = reference(network, [*self._own, *self._other], self._words.pad_id, folder)

    def loss(self, network: Network, model: Any, items: Sequence[int], seed: int) -> Loss:
        """Sum over answers."""
        del seed
        torch, hyper = libraries.torch(), self._hyper
        numbers, pad_id = list(items), self._words.pad_id
        with torch.no_grad():
            others = sums(network, network.model, [self._other[n] for n in numbers], pad_id)
            before = self._before[[len(self._own) + n for n in numbers]].to(others.device)
            baseline = (others - before).mean().clamp(min=0)
        found = sums(network, model, [self._own[n] for n in numbers], pad_id)
        reward = found - self._before[numbers].to(found.device)
        wanted = torch.tensor([self._wanted[n] for n in numbers], device=found.device)
        gain = hyper.beta * torch.where(wanted, reward - baseline, baseline - reward)
        weight = torch.where(wanted, hyper.desirable_weight, hyper.undesirable_weight)
        total = (weight * (1 - torch.sigmoid(gain))).sum()
        right = (torch.where(wanted, reward, -reward).detach() > 0).float().sum()
        return Loss(total, {"accuracy": right, "margin": gain.detach().sum()})


def objective(given: Iterable[Row], words: Words, hyper: HyperParameters) -> Judgements:
    """Read answers; those whose prompt alone is longer than `max_seq_len` are left out.

    Raises:
        Invalid: A row has no answer, or its template refuses it.
    """
    found: list[tuple[list[int], list[int], bool]] = []
    for row in given:
        for messages, answer, desirable in rows.judged(row):
            prompt = words.prompt(row, messages)
            if len(prompt) < hyper.max_seq_len:
                found.append((prompt, words.answer(row, messages, answer), desirable))
    return Judgements(found, words, hyper)
