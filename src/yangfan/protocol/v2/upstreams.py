"""`POST /v2/upstream?Action=…`: other people's servers behind our names. An extension of ours in the shape of Qianfan's Actions."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v2.keys import ActionReply

Dialect = Literal["openai", "qianfan"]
RemoteKind = Literal["chat", "embeddings", "rerank", "images"]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
Models = Annotated[list[Annotated[str, Meta(min_length=1, max_length=256)]], Meta(max_length=1024)]
Seconds = Annotated[float, Meta(gt=0, le=86400)]


class CreateUpstream(msgspec.Struct, kw_only=True):
    """A server to ask from now on."""

    name: Name
    baseUrl: Annotated[str, Meta(min_length=1, max_length=2048)]  # noqa: N815 - the wire's spelling
    dialect: Dialect = "openai"
    apiKey: Annotated[str, Meta(max_length=4096)] = ""  # noqa: N815 - the wire's spelling
    models: Models | None = None
    kinds: dict[str, RemoteKind] = {}
    rename: dict[str, str] = {}
    presets: Annotated[bool, Meta(description="Whether it answers Qianfan's names.")] = True
    firstByteTimeoutInSeconds: Seconds = 120.0  # noqa: N815 - the wire's spelling
    idleTimeoutInSeconds: Seconds = 120.0  # noqa: N815 - the wire's spelling


class ModifyUpstream(msgspec.Struct, kw_only=True):
    """What to change; what is absent stays. `models` null offers all again."""

    name: Name
    baseUrl: Annotated[str, Meta(min_length=1, max_length=2048)] | UnsetType = UNSET  # noqa: N815
    dialect: Dialect | UnsetType = UNSET
    apiKey: Annotated[str, Meta(max_length=4096)] | UnsetType = UNSET  # noqa: N815
    models: Models | UnsetType | None = UNSET
    kinds: dict[str, RemoteKind] | UnsetType = UNSET
    rename: dict[str, str] | UnsetType = UNSET
    presets: bool | UnsetType = UNSET
    firstByteTimeoutInSeconds: Seconds | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    idleTimeoutInSeconds: Seconds | UnsetType = UNSET  # noqa: N815 - the wire's spelling


class DescribeUpstreams(msgspec.Struct):
    """Nothing to say."""


class NamedUpstream(msgspec.Struct):
    """Which one."""

    name: Name


class Upstream(msgspec.Struct, kw_only=True):
    """An upstream; of its key only the end is shown. `models` is absent where all that it lists are offered."""

    name: str
    baseUrl: str  # noqa: N815 - the wire's spelling
    dialect: Dialect
    apiKey: str  # noqa: N815 - the wire's spelling
    models: list[str] | UnsetType = UNSET
    kinds: dict[str, RemoteKind] = {}
    rename: dict[str, str] = {}
    presets: bool = True
    firstByteTimeoutInSeconds: float = 120.0  # noqa: N815 - the wire's spelling
    idleTimeoutInSeconds: float = 120.0  # noqa: N815 - the wire's spelling
    source: Literal["database", "settings"] = "database"
    modelCount: int = 0  # noqa: N815 - the wire's spelling
    error: str = ""
    """What went wrong when it was last asked for its models."""
    createTime: str = ""  # noqa: N815 - the wire's spelling


class UpstreamList(msgspec.Struct):
    """All upstreams, in the order in which they are asked."""

    items: list[Upstream]


class UpstreamTrial(msgspec.Struct):
    """What came of asking an upstream for its models."""

    ok: bool
    message: str
    modelCount: int  # noqa: N815 - the wire's spelling
    milliseconds: int


CREATE_UPSTREAM = Endpoint(
    name="upstreams.create",
    dialect="action",
    method="POST",
    path="/v2/upstream",
    action="CreateUpstream",
    request=CreateUpstream,
    reply=ActionReply[Upstream],
    auth="signature",
    summary="Ask another server from now on; its key is kept sealed.",
    summary_zh="添加上游服务，其密钥加密保存。",
    spec="C.7",
)

DESCRIBE_UPSTREAMS = Endpoint(
    name="upstreams.list",
    dialect="action",
    method="POST",
    path="/v2/upstream",
    action="DescribeUpstreams",
    request=DescribeUpstreams,
    reply=ActionReply[UpstreamList],
    auth="signature",
    summary="List upstreams, their keys masked.",
    summary_zh="列出上游服务（密钥打码）。",
    spec="C.7",
)

MODIFY_UPSTREAM = Endpoint(
    name="upstreams.modify",
    dialect="action",
    method="POST",
    path="/v2/upstream",
    action="ModifyUpstream",
    request=ModifyUpstream,
    reply=ActionReply[Upstream],
    auth="signature",
    summary="Change an upstream; calls under way end as they began.",
    summary_zh="修改上游服务，进行中的调用不受影响。",
    spec="C.7",
)

DELETE_UPSTREAM = Endpoint(
    name="upstreams.remove",
    dialect="action",
    method="POST",
    path="/v2/upstream",
    action="DeleteUpstream",
    request=NamedUpstream,
    reply=ActionReply[bool],
    auth="signature",
    summary="Forget an upstream and its key.",
    summary_zh="删除上游服务及其密钥。",
    spec="C.7",
)

TEST_UPSTREAM = Endpoint(
    name="upstreams.test",
    dialect="action",
    method="POST",
    path="/v2/upstream",
    action="TestUpstream",
    request=NamedUpstream,
    reply=ActionReply[UpstreamTrial],
    auth="signature",
    summary="Ask an upstream for its models now.",
    summary_zh="立即检测上游服务是否可用。",
    spec="C.7",
)
