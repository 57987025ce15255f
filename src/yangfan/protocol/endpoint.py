"""An Endpoint is one thing a caller can do over the wire, declared once under its types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")

Dialect = Literal["v1", "data", "v2", "oauth", "iam", "action"]
"""Which table of errors and which success shape apply: v1 inference, v1 data and prompts, v2 inference, OAuth, IAM, `?Action=` console."""

Auth = Literal["none", "inference", "signature"]
"""none; any inference credential (access_token, bearer, signature); or bce-auth-v1 only."""


@dataclass(frozen=True)
class Endpoint(Generic[RequestT, ReplyT]):
    """The contract of one call.

    Attributes:
        name: Stable name, `capability.verb` with the dialect in front: ``v1.chat``.
        dialect: Which errors and envelope it speaks.
        method: HTTP method.
        path: Path; one ``{name}`` parameter is allowed, the last segment or the one before it.
        action: Value of the `Action` query parameter where several endpoints share a path.
        request: Type of the JSON body; None when there is no body, bytes when it is whatever the caller sends, of any length.
        reply: Type of the JSON reply; bytes when it is a file.
        stream: Type of one event when the request asks for a stream; None when it cannot stream.
        auth: Which credentials it takes.
        asks_models: Whether a call with an inference credential and a JSON body uses a model, and so the caller's limits.
        aliases: Further paths that answer the same.
        summary: One English sentence for the reference.
        summary_zh: The same in Chinese.
        spec: Section of the wire specification.
    """

    name: str
    dialect: Dialect
    method: Literal["GET", "POST", "DELETE"]
    path: str
    request: type[RequestT] | None
    reply: type[ReplyT]
    stream: type[Any] | None = None
    auth: Auth = "inference"
    asks_models: bool = True
    action: str | None = None
    aliases: tuple[str, ...] = ()
    summary: str = ""
    summary_zh: str = ""
    spec: str = ""


@dataclass(frozen=True)
class Actions:
    """Makes the Endpoints of one console path, which differ by their `Action`.

    Attributes:
        prefix: What their names begin with.
        path: Where they are sent.
        spec: Section of the wire specification, for those that name no other.
    """

    prefix: str
    path: str
    spec: str

    def __call__(  # noqa: PLR0913 - what an Action is made of, one argument each
        self,
        name: str,
        action: str,
        request: type[Any],
        reply: Any,
        summary: str,
        summary_zh: str,
        *,
        path: str | None = None,
        spec: str | None = None,
        stream: type[Any] | None = None,
    ) -> Endpoint[Any, Any]:
        """One of them."""
        return Endpoint(
            name=f"{self.prefix}.{name}",
            dialect="action",
            method="POST",
            path=self.path if path is None else path,
            action=action,
            request=request,
            reply=reply,
            stream=stream,
            auth="signature",
            summary=summary,
            summary_zh=summary_zh,
            spec=self.spec if spec is None else spec,
        )
