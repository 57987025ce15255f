"""`client.completions(…)`: let a model go on from a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from yangfan.client import replies
from yangfan.client._async.stream import open_stream
from yangfan.client.v1 import V1
from yangfan.client.v2 import V2
from yangfan.protocol.v1.completions import COMPLETIONS as V1_COMPLETIONS
from yangfan.protocol.v2.completions import COMPLETIONS as V2_COMPLETIONS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from yangfan.client._async.session import AsyncSession
    from yangfan.client._async.stream import AsyncChatStream
    from yangfan.client.options import CompletionOptions, Prompt
    from yangfan.client.types import ChatResult


class AsyncCompletions:
    """Texts that go on where a prompt ends, in the dialect of the client."""

    def __init__(self, session: AsyncSession) -> None:
        """Made by the client."""
        self._session = session
        self._version = session.settings.version
        self._dialect = V1() if self._version == 1 else V2()

    @overload
    async def __call__(
        self,
        prompt: Prompt,
        *,
        model: str,
        stream: Literal[False] = False,
        request_id: str | None = None,
        timeout_seconds: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
        **options: Unpack[CompletionOptions],
    ) -> ChatResult: ...

    @overload
    async def __call__(
        self,
        prompt: Prompt,
        *,
        model: str,
        stream: Literal[True],
        request_id: str | None = None,
        timeout_seconds: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
        **options: Unpack[CompletionOptions],
    ) -> AsyncChatStream: ...

    async def __call__(
        self,
        prompt: Prompt,
        *,
        model: str,
        stream: bool = False,
        request_id: str | None = None,
        timeout_seconds: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
        **options: Unpack[CompletionOptions],
    ) -> ChatResult | AsyncChatStream:
        """Let `model` go on from `prompt`, without roles and without a chat template.

        Args:
            prompt: The text, or in v2 several: the k-th text of prompt i is the choice i * n + k. In v2 token ids, too, in place of texts.
            model: Any name that writes text, such as ``sqlcoder_7b`` or ``ernie_speed``.
            stream: Return the text piece by piece, as soon as its first piece has come.
            request_id: Value of the Request_id header, for finding this call in logs; a new one by default.
            timeout_seconds: Longest silence of the server, above 0; the client's by default.
            extra_headers: Further headers.
            **options: Every field of the request, see `yangfan.client.options.CompletionOptions`.

        Returns:
            The texts as the choices of a result, or with `stream=True` the pieces of them.

        Raises:
            RefusedError: The platform said no; its subclasses say why, such as ModelNotFound or RateLimited.
            UnreachableError: No usable answer came: ConnectionFailed, DeadlineExceeded, BadReply.
            ConfigurationError: An option, or several prompts, that this dialect does not have.
        """
        call = self._session.inference_call(
            V1_COMPLETIONS if self._version == 1 else V2_COMPLETIONS,
            self._version,
            path=self._dialect.completion_path(model),
            body=self._dialect.completion_body(model, prompt, options, stream=stream),
            request_id=request_id,
            timeout_seconds=timeout_seconds,
            headers=extra_headers,
        )
        if stream:
            return await open_stream(self._session, call, self._dialect, model=model)
        answer = await self._session.send(call)
        return self._dialect.result(
            answer.document, model=model, info=replies.info_of(answer.headers)
        )
