"""Supervised fine-tuning: learn the answers of conversations (specification D.6, SFT).

The loss is the mean of -log p over the tokens of all answers, each to the token that ends it; with `learn_prompts` over what is asked, too.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from yangfan.errors import Invalid
from yangfan.trainers.pipeline import libraries, rows
from yangfan.trainers.pipeline.forward import batch, log_probabilities, mixed
from yangfan.trainers.pipeline.objective import Loss
from yangfan.trainers.pipeline.packing import pack
from yangfan.trainers.pipeline.tokens import Example, example

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from yangfan.trainers.base import HyperParameters
    from yangfan.trainers.pipeline.forward import Batch
    from yangfan.trainers.pipeline.models import Network
    from yangfan.trainers.pipeline.rows import Row
    from yangfan.trainers.pipeline.tokens import Words

SUMMARY = "learns the answers of conversations"
METHODS = frozenset({"full", "lora", "prompt_tuning"})
SCORES = False
COMPARES = False
ANSWERS = True


class Texts:
    """Examples, one or (packed) several to an item.

    Args:
        examples: What is learnt.
        words: Of the model.
        hyper: What is set.
    """

    def __init__(self, examples: list[Example], words: Words, hyper: HyperParameters) -> None:
        if not examples:
            raise Invalid(
                f"no row has an answer that begins within max_seq_len = {hyper.max_seq_len} tokens; raise it, or shorten the rows",
                param="maxSeqLen",
            )
        self._examples, self._words = examples, words
        self._pseudo = hyper.pseudo_sampling_prob
        lengths = [len(item.ids) for item in examples]
        self._groups = (
            pack(lengths, hyper.max_seq_len)
            if hyper.packing
            else [[n] for n in range(len(lengths))]
        )
        self._weights = [sum(examples[n].learnt_count for n in group) for group in self._groups]
        self._tokens = [sum(lengths[n] for n in group) for group in self._groups]

    def count(self) -> int:
        """Items."""
        return len(self._groups)

    def tokens(self, item: int) -> int:
        """Tokens that are read."""
        return self._tokens[item]

    def weight(self, item: int) -> float:
        """Tokens that are learnt."""
        return self._weights[item]

    def prepare(self, network: Network, folder: Path) -> None:
        """Where several rows stand in one: make sure that none sees another.

        Raises:
            Invalid: The model lets them.
        """
        del folder
        packed = next((group for group in self._groups if len(group) > 1), None)
        if packed is None:
            return
        if network.offset:
            raise Invalid(
                "a soft prompt stands before every row: switch packing off", param="Packing"
            )
        pair = [self._examples[number] for number in packed[:2]]
        apart, together = (
            self._cost(network, network.model, self._batch(network, groups))
            for groups in ([[item] for item in pair], [pair])
        )
        if not abs(float(apart - together)) <= 0.02 * abs(float(apart)) + 0.01:
            raise Invalid(
                "this model's attention reaches from one row into the next one: switch packing off",
                param="Packing",
            )

    def loss(self, network: Network, model: Any, items: Sequence[int], seed: int) -> Loss:
        """Sum of -log p."""
        groups = [[self._examples[number] for number in self._groups[item]] for item in items]
        given = self._batch(network, groups)
        ids = None
        if self._pseudo and model.training:
            ids = self._as_said(network, given, seed)
        return Loss(self._cost(network, model, given, ids))

    def _batch(self, network: Network, groups: Sequence[Sequence[Example]]) -> Batch:
        return batch(groups, self._words.pad_id, network.where)

    def _cost(self, network: Network, model: Any, given: Batch, ids: Any = None) -> Any:
        return -log_probabilities(network, model, given, ids)[0].sum()

    def _as_said(self, network: Network, given: Batch, seed: int) -> Any:
        """Tokens of which some are what the model itself would have said (scheduled sampling, arXiv 1506.03099)."""
        torch = libraries.torch()
        read: dict[str, Any] = {"input_ids": given.ids, "use_cache": False}
        if given.positions is not None:
            read["position_ids"] = given.positions
        with torch.no_grad(), mixed(network):
            logits = network.model(**read).logits[:, network.offset :]
        said = given.ids.clone()
        said[:, 1:] = logits[:, :-1].argmax(-1)
        dice = torch.Generator().manual_seed(seed)
        replaced = torch.rand(given.ids.shape, generator=dice).to(network.where) < self._pseudo
        return torch.where(replaced & given.learnt, said, given.ids)


def examples_of(row: Row, words: Words, hyper: HyperParameters) -> list[Example]:
    """What is learnt from a row.

    Raises:
        Invalid: Nothing can be.
    """
    sample, limit = row.sample, hyper.max_seq_len
    if sample.get("prefix") or sample.get("suffix"):
        filled = words.fill_in(
            sample.get("prefix", ""), sample.get("suffix", ""), sample.get("middle", "")
        )
        if filled is not None:
            return [example(*filled, limit)] if len(filled[0]) < limit else []
    found = words.answers(row, rows.conversation(row), limit)
    if hyper.learn_prompts:
        return [Example(item.ids, array("b", [1] * len(item.ids))) for item in found]
    return found


def objective(given: Iterable[Row], words: Words, hyper: HyperParameters) -> Texts:
    """Read conversations.

    Raises:
        Invalid: One cannot be learnt from; the message names it.
    """
    return Texts([item for row in given for item in examples_of(row, words, hyper)], words, hyper)
