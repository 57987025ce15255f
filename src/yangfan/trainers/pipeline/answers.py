"""The tuned model's own answers to held-out rows, beside what they should have been."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.hub.disk import write_atomically
from yangfan.trainers.pipeline import libraries, rows
from yangfan.trainers.pipeline.events import Stopped
from yangfan.trainers.pipeline.forward import mixed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from yangfan.trainers.base import HyperParameters
    from yangfan.trainers.pipeline.events import Channel
    from yangfan.trainers.pipeline.models import Network
    from yangfan.trainers.pipeline.rows import Row
    from yangfan.trainers.pipeline.tokens import Words

FILE = "predictions.jsonl"
MOST_TOKENS = 256


def write(
    held_out: Iterable[Row],
    words: Words,
    network: Network,
    hyper: HyperParameters,
    channel: Channel,
    output: Path,
) -> int:
    """Answer the last question of each row, the likeliest token each time; how many were answered.

    Raises:
        Stopped: That is wanted.
    """
    torch = libraries.torch()
    lines: list[bytes] = []
    network.model.eval()
    for row in held_out:
        if len(lines) >= hyper.max_predictions:
            break
        if channel.stop_wanted:
            raise Stopped
        messages = rows.conversation(row)
        place = max(n for n, message in enumerate(messages) if message.role == "assistant")
        prompt = words.prompt(row, messages[:place])
        reference = str(messages[place].content)
        most = min(MOST_TOKENS, 2 * len(words.tokens(reference)) + 16)
        with torch.no_grad(), mixed(network):
            ids = torch.tensor([prompt], device=network.where)
            made = network.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=most,
                do_sample=False,
                eos_token_id=words.end_ids or None,
                pad_token_id=words.pad_id,
            )
        told: dict[str, Any] = {
            "row_id": row.id,
            "prompt": str(messages[place - 1].content) if place else "",
            "answer": words.tokenizer.decode(made[0, len(prompt) :], skip_special_tokens=True),
            "reference": reference,
        }
        lines.append(msgspec.json.encode(told) + b"\n")
    write_atomically(output / FILE, b"".join(lines))
    return len(lines)
