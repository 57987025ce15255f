# Generated from _async by scripts/unasync.py; edit there.
"""`client.rerank(…)`: sort documents by how well they answer a query."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.client import replies, rerank
from yangfan.client.paths import Paths
from yangfan.protocol.v1.rerank import RERANK as V1_RERANK
from yangfan.protocol.v2.rerank import RERANK as V2_RERANK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.client._sync.session import Session
    from yangfan.client.types import RerankResult


class Rerank:
    """Sort documents, in the dialect of the client."""

    def __init__(self, session: Session) -> None:
        """Made by the client."""
        self._session = session
        self._version = session.settings.version
        self._paths = Paths(V1_RERANK, "reranker")

    def __call__(
        self,
        query: str,
        documents: Sequence[str],
        *,
        model: str,
        top_n: int | None = None,
        user: str | None = None,
        request_id: str | None = None,
        timeout_seconds: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
    ) -> RerankResult:
        """Sort documents by how well they answer a query.

        Args:
            query: What is looked for, at most 1600 characters.
            documents: 1 to 64 texts of at most 4096 characters each.
            model: A name such as ``bce-reranker-base_v1``; `models.list()` has all.
            top_n: How many to return, at least 1; all by default.
            user: Your own end user, for your logs.
            request_id: Value of the Request_id header, for finding this call in logs; a new one by default.
            timeout_seconds: Longest silence of the server, above 0; the client's by default.
            extra_headers: Further headers.

        Returns:
            The documents, the most relevant first.

        Raises:
            RefusedError: The platform said no: Invalid for texts that are too many or too long, ModelNotFound and so on.
            UnreachableError: No usable answer came: ConnectionFailed, DeadlineExceeded, BadReply.
        """
        call = self._session.inference_call(
            V1_RERANK if self._version == 1 else V2_RERANK,
            self._version,
            path=self._paths.of(model) if self._version == 1 else None,
            body=rerank.body(
                query, documents, model=model, top_n=top_n, user=user, version=self._version
            ),
            request_id=request_id,
            timeout_seconds=timeout_seconds,
            headers=extra_headers,
        )
        answer = self._session.send(call)
        return rerank.result(answer, model=model, info=replies.info_of(answer.headers))
