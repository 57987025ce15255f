"""What a way of training offers: what it makes of rows, and the loss of some of them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from yangfan.trainers.base import HyperParameters
    from yangfan.trainers.pipeline.models import Network
    from yangfan.trainers.pipeline.rows import Row
    from yangfan.trainers.pipeline.tokens import Words


class Loss(NamedTuple):
    """What a part of a batch costs.

    Attributes:
        total: Sum over what counts (`Objective.weight`), to be made smaller.
        more: Sums over rows of what else is worth to be seen.
    """

    total: Any
    more: Mapping[str, Any] = MappingProxyType({})


class Parts(NamedTuple):
    """How a base model is opened: for models that are no language models.

    Attributes:
        marker: A file that its folder must have.
        words: Opens what rows are read with.
        network: Opens what learns.
    """

    marker: str
    words: Callable[[Path], Any]
    network: Callable[..., Network]


class Objective(Protocol):
    """Rows as a way of training reads them. Items are numbered from 0; each is a row of a batch."""

    def count(self) -> int:
        """How many items there are."""
        ...

    def tokens(self, item: int) -> int:
        """Tokens that are read for an item."""
        ...

    def weight(self, item: int) -> float:
        """By how much an item adds to what the loss is divided by."""
        ...

    def prepare(self, network: Network, folder: Path) -> None:
        """Ask the model as it is before the first step. `folder` keeps what it said for a run that goes on."""
        ...

    def loss(self, network: Network, model: Any, items: Sequence[int], seed: int) -> Loss:
        """What some items cost."""
        ...


class Way(Protocol):
    """The module of a way of training."""

    SUMMARY: str
    """What is learnt, in one line."""
    METHODS: frozenset[str]
    """Which numbers can be learnt so."""
    SCORES: bool
    """Whether the model gives one score for a text instead of tokens."""
    COMPARES: bool
    """Whether `Objective.prepare` asks the model as it is before the first step."""
    ANSWERS: bool
    """Whether held-out rows are answered at the end, for BLEU and ROUGE."""

    def objective(self, rows: Iterable[Row], words: Words, hyper: HyperParameters) -> Objective:
        """Read rows.

        Raises:
            Invalid: One cannot be learnt from; the message names it.
        """
        ...
