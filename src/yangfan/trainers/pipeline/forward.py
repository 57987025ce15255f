"""What a model makes of rows: the log-probabilities of the tokens that it is to say."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from yangfan.trainers.pipeline import libraries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.trainers.pipeline.models import Network
    from yangfan.trainers.pipeline.tokens import Example


class Batch(NamedTuple):
    """Rows of one length, filled up behind their ends.

    Attributes:
        ids: Tokens, rows by places.
        learnt: Which tokens are to be said.
        positions: Place of each token in its own row, where several rows stand in one; None otherwise.
        mask: 1 for tokens, 0 behind the end of a row.
    """

    ids: Any
    learnt: Any
    positions: Any
    mask: Any


def batch(groups: Sequence[Sequence[Example]], pad_id: int, where: str) -> Batch:
    """Make a batch in which each group of examples is a row."""
    torch = libraries.torch()
    longest = max(sum(len(item.ids) for item in group) for group in groups)
    ids = torch.full((len(groups), longest), pad_id, dtype=torch.long)
    learnt = torch.zeros((len(groups), longest), dtype=torch.bool)
    mask = torch.zeros((len(groups), longest), dtype=torch.long)
    several = any(len(group) > 1 for group in groups)
    positions = torch.arange(longest).repeat(len(groups), 1) if several else None
    for row, group in enumerate(groups):
        start = 0
        for item in group:
            end = start + len(item.ids)
            ids[row, start:end] = torch.tensor(item.ids, dtype=torch.long)
            learnt[row, start:end] = torch.tensor(item.learnt, dtype=torch.bool)
            learnt[row, start] = False  # nothing stands before it that could foretell it
            mask[row, start:end] = 1
            if positions is not None:
                positions[row, start:end] = torch.arange(end - start)
            start = end
        if positions is not None:
            positions[row, start:] = torch.arange(longest - start)
    moved = (None if part is None else part.to(where) for part in (ids, learnt, positions, mask))
    return Batch(*moved)


def log_probabilities(
    network: Network, model: Any, given: Batch, ids: Any = None, temperature: float = 1.0
) -> tuple[Any, Any]:
    """The log-probability of each token that is to be said, and the row that it stands in.

    Nothing is masked: rows are filled up behind their ends, and no token looks ahead. Logits are made only of places behind which
    something is learnt.

    Args:
        network: Whose model it is.
        model: The model, or what wraps it to share gradients.
        given: Rows.
        ids: Read these tokens instead of the batch's (the ones to be said stay the same).
        temperature: Of the probabilities, where the tokens were drawn with one.
    """
    torch = libraries.torch()
    foretelling = given.learnt[:, 1:]
    places = foretelling.any(0).nonzero().squeeze(1)
    read: dict[str, Any] = {"input_ids": given.ids if ids is None else ids, "use_cache": False}
    if given.positions is not None:
        read["position_ids"] = given.positions
    if network.keeps_logits:
        read["logits_to_keep"] = places + network.offset
    with mixed(network):
        logits = model(**read).logits
    if not network.keeps_logits:
        logits = logits[:, network.offset :][:, places]
    chosen = foretelling[:, places]
    targets = given.ids[:, 1:][:, places][chosen]
    scores = logits[chosen].float() / temperature
    found = -torch.nn.functional.cross_entropy(scores, targets, reduction="none")
    return found, chosen.nonzero()[:, 0]


def by_row(values: Any, rows: Any, count: int) -> Any:
    """The sum of the values of each row."""
    return libraries.torch().zeros(count, device=values.device).index_add(0, rows, values)


def mixed(network: Network) -> Any:
    """Compute in bfloat16 with weights that are kept in float32, where that is ordered."""
    if not network.mixed:
        return contextlib.nullcontext()
    torch = libraries.torch()
    return torch.autocast(network.where.partition(":")[0], dtype=torch.bfloat16)
