"""`client.image2text(…)`: ask about a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from yangfan.client import replies
from yangfan.client._async.stream import open_stream
from yangfan.client.v1 import V1
from yangfan.client.v2 import V2
from yangfan.protocol.v1.image2text import IMAGE2TEXT
from yangfan.protocol.v2.chat import CHAT as V2_CHAT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from yangfan.client._async.session import AsyncSession
    from yangfan.client._async.stream import AsyncChatStream
    from yangfan.client.options import ChatOptions
    from yangfan.client.pictures import Image
    from yangfan.client.types import ChatResult


class AsyncImage2Text:
    """Questions about one picture: v1's own call, and a chat with two parts in v2."""

    def __init__(self, session: AsyncSession) -> None:
        """Made by the client."""
        self._session = session
        self._version = session.settings.version
        self._dialect = V1() if self._version == 1 else V2()

    @overload
    async def __call__(
        self,
        prompt: str,
        image: Image,
        *,
        model: str,
        stream: Literal[False] = False,
        request_id: str | None = None,
        timeout_seconds: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
        **options: Unpack[ChatOptions],
    ) -> ChatResult: ...

    @overload
    async def __call__(
        self,
        prompt: str,
        image: Image,
        *,
        model: str,
        stream: Literal[True],
        request_id: str | None = None,
        timeout_seconds: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
        **options: Unpack[ChatOptions],
    ) -> AsyncChatStream: ...

    async def __call__(
        self,
        prompt: str,
        image: Image,
        *,
        model: str,
        stream: bool = False,
        request_id: str | None = None,
        timeout_seconds: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
        **options: Unpack[ChatOptions],
    ) -> ChatResult | AsyncChatStream:
        """Ask `model` about a picture.

        Args:
            prompt: The question.
            image: The picture: bytes, a path, or as text a data URI or, in v2, a URL that the server fetches.
            model: A name that reads pictures, such as ``fuyu_8b``.
            stream: Return the answer piece by piece, as soon as its first piece has come.
            request_id: Value of the Request_id header, for finding this call in logs; a new one by default.
            timeout_seconds: Longest silence of the server, above 0; the client's by default.
            extra_headers: Further headers.
            **options: As for a chat; v1 has temperature, top_p, top_k, penalty_score, stop, max_output_tokens and user_id.

        Returns:
            The answer, or with `stream=True` the pieces of it.

        Raises:
            RefusedError: The platform said no; its subclasses say why, such as ModelNotFound or RateLimited.
            UnreachableError: No usable answer came: ConnectionFailed, DeadlineExceeded, BadReply.
            ConfigurationError: An option that this dialect does not have, or no picture.
        """
        call = self._session.inference_call(
            IMAGE2TEXT if self._version == 1 else V2_CHAT,
            self._version,
            path=self._dialect.picture_path(model),
            body=self._dialect.picture_body(model, prompt, image, options, stream=stream),
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
