"""`client.embeddings(…)`: turn texts into vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.client import embeddings, replies
from yangfan.client.paths import Paths
from yangfan.protocol.v1.embeddings import EMBEDDINGS as V1_EMBEDDINGS
from yangfan.protocol.v2.embeddings import EMBEDDINGS as V2_EMBEDDINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.client._async.session import AsyncSession
    from yangfan.client.embeddings import Inputs
    from yangfan.client.types import EmbeddingsResult


class AsyncEmbeddings:
    """Texts to vectors, in the dialect of the client."""

    def __init__(self, session: AsyncSession) -> None:
        """Made by the client."""
        self._session = session
        self._version = session.settings.version
        self._paths = Paths(V1_EMBEDDINGS, "embeddings")

    async def __call__(
        self,
        texts: Inputs,
        *,
        model: str,
        dimensions: int | None = None,
        user: str | None = None,
        request_id: str | None = None,
        timeout_seconds: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
    ) -> EmbeddingsResult:
        """Turn texts into vectors.

        Args:
            texts: One text or several, none of them blank: at most 16, of tao-8k 1. In v2 also token ids of the served model's own
                vocabulary, which are read as they stand: of one text or, in lists, of several. In v2 a multimodal model also takes one mapping
                with an ``image`` (bytes, a path, or as text a URL or data URI), alone or beside its ``text``.
            model: A name such as ``embedding-v1`` or ``bge_large_zh``; `models.list()` has all.
            dimensions: v2: length of the vectors, for models elsewhere that have several; the model's own by default.
            user: Your own end user, for your logs.
            request_id: Value of the Request_id header, for finding this call in logs; a new one by default.
            timeout_seconds: Longest silence of the server, above 0; the client's by default.
            extra_headers: Further headers.

        Returns:
            One vector of length 1 for each text, in order.

        Raises:
            RefusedError: The platform said no: Invalid for texts that are too many or too long, ModelNotFound and so on.
            UnreachableError: No usable answer came: ConnectionFailed, DeadlineExceeded, BadReply.
            ConfigurationError: A picture, token ids or dimensions in v1, or no picture.
        """
        call = self._session.inference_call(
            V1_EMBEDDINGS if self._version == 1 else V2_EMBEDDINGS,
            self._version,
            path=self._paths.of(model) if self._version == 1 else None,
            body=embeddings.body(
                texts, model=model, user=user, version=self._version, dimensions=dimensions
            ),
            request_id=request_id,
            timeout_seconds=timeout_seconds,
            headers=extra_headers,
        )
        answer = await self._session.send(call)
        return embeddings.result(answer.document, model=model, info=replies.info_of(answer.headers))
