"""What the ways of training share that compare the model with itself before the first step."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from yangfan.trainers.pipeline import libraries
from yangfan.trainers.pipeline.forward import batch, by_row, log_probabilities

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from yangfan.trainers.pipeline.models import Network
    from yangfan.trainers.pipeline.tokens import Example

AT_ONCE = 8


def sums(network: Network, model: Any, examples: Sequence[Example], pad_id: int) -> Any:
    """The log-probability of each example's answer."""
    values, where = log_probabilities(
        network, model, batch([[item] for item in examples], pad_id, network.where)
    )
    return by_row(values, where, len(examples))


def reference(network: Network, examples: Sequence[Example], pad_id: int, file: Path) -> Any:
    """`sums` of every example by the model as it is now, kept in a file for a run that goes on."""
    torch = libraries.torch()
    safetensors = __import__("safetensors.torch", fromlist=["load_file"])
    if file.exists():
        found = safetensors.load_file(str(file))["log_probabilities"]
        if len(found) == len(examples):
            return found
    order = sorted(range(len(examples)), key=lambda number: len(examples[number].ids))
    found = torch.zeros(len(examples))
    network.model.eval()
    with torch.no_grad():
        for start in range(0, len(order), AT_ONCE):
            part = order[start : start + AT_ONCE]
            found[part] = sums(network, network.model, [examples[n] for n in part], pad_id).cpu()
    new = file.with_suffix(f".{os.getpid()}.new")
    safetensors.save_file({"log_probabilities": found}, str(new))
    new.replace(file)
    return found
