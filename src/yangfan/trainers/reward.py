"""A reward model: one score for an answer, higher for the better of two (arXiv 2203.02155, equation 1).

    loss = -log σ(score(chosen) - score(rejected))

What is left is a model for the classification of sequences with one label; `accuracy` is the share of pairs that it orders rightly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.trainers.dpo import Preferences, pairs_of
from yangfan.trainers.pipeline import libraries
from yangfan.trainers.pipeline.forward import batch, mixed
from yangfan.trainers.pipeline.objective import Loss

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from yangfan.trainers.base import HyperParameters
    from yangfan.trainers.pipeline.models import Network
    from yangfan.trainers.pipeline.rows import Row
    from yangfan.trainers.pipeline.tokens import Words

SUMMARY = "learns to score answers"
METHODS = frozenset({"full", "lora"})
SCORES = True
COMPARES = False
ANSWERS = False


class Scores(Preferences):
    """Pairs of answers that are scored."""

    def prepare(self, network: Network, folder: Path) -> None:
        """Nothing has to be asked before."""
        del folder
        network.model.config.pad_token_id = self._words.pad_id

    def loss(self, network: Network, model: Any, items: Sequence[int], seed: int) -> Loss:
        """Sum over pairs."""
        del seed
        pairs = [self._pairs[item] for item in items]
        answers = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
        given = batch([[one] for one in answers], self._words.pad_id, network.where)
        with mixed(network):
            read = {"input_ids": given.ids, "attention_mask": given.mask, "use_cache": False}
            scores = model(**read).logits[:, 0].float()
        margin = scores[: len(pairs)] - scores[len(pairs) :]
        total = -libraries.torch().nn.functional.logsigmoid(margin).sum()
        seen = margin.detach()
        return Loss(total, {"accuracy": (seen > 0).float().sum(), "margin": seen.sum()})


def objective(given: Iterable[Row], words: Words, hyper: HyperParameters) -> Scores:
    """Read pairs.

    Raises:
        Invalid: A row has no two answers, or its template refuses it.
    """
    return Scores(pairs_of(given, words, hyper), words, hyper)
