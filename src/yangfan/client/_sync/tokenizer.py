# Generated from _async by scripts/unasync.py; edit there.
"""`client.tokenizer`: how many tokens a text has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.protocol.v1.tokenizer import DEFAULT_MODEL, TOKENIZER

if TYPE_CHECKING:
    from yangfan.client._sync.session import Session


class Tokenizer:
    """Counts by the tokenizer of the model that a name stands for."""

    def __init__(self, session: Session) -> None:
        """Made by the client."""
        self._session = session

    def count(self, text: str, *, model: str = DEFAULT_MODEL) -> int:
        """Tokens of `text` as it stands: what `usage.prompt_tokens` of a completion of it says.

        Args:
            text: Any text; the empty one has none.
            model: A name that writes text.

        Raises:
            RefusedError: The platform said no, such as ModelNotFound.
            UnreachableError: No usable answer came.
        """
        call = self._session.inference_call(TOKENIZER, 1, body={"prompt": text, "model": model})
        reply = self._session.fetch(call, TOKENIZER.reply)
        return reply.usage.total_tokens
