"""`POST /v2/apikey?Action=…App…`: applications, which keys belong to. An extension of ours beside the keys (C.7)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v2.keys import ActionReply


class CreateApp(msgspec.Struct, kw_only=True):
    """What to call it."""

    name: Annotated[str, Meta(max_length=64, description="For people; not unique.")] = ""


class App(msgspec.Struct, kw_only=True):
    """An application. `keyCount` counts its keys that may be used."""

    appId: str  # noqa: N815 - the wire's spelling
    name: str = ""
    createTime: str  # noqa: N815 - the wire's spelling
    keyCount: int = 0  # noqa: N815 - the wire's spelling


class ListApps(msgspec.Struct):
    """Nothing to say."""


class AppList(msgspec.Struct):
    """All applications, oldest first."""

    items: list[App]


class DeleteApp(msgspec.Struct):
    """Which application to delete, and to revoke the keys of."""

    appId: str  # noqa: N815 - the wire's spelling


CREATE_APP = Endpoint(
    name="apps.create",
    dialect="action",
    method="POST",
    path="/v2/apikey",
    action="CreateApp",
    request=CreateApp,
    reply=ActionReply[App],
    auth="signature",
    summary="Create an application without keys.",
    summary_zh="创建应用（不含密钥）。",
    spec="C.7",
)

LIST_APPS = Endpoint(
    name="apps.list",
    dialect="action",
    method="POST",
    path="/v2/apikey",
    action="DescribeApps",
    request=ListApps,
    reply=ActionReply[AppList],
    auth="signature",
    summary="List applications.",
    summary_zh="列出应用。",
    spec="C.7",
)

DELETE_APP = Endpoint(
    name="apps.delete",
    dialect="action",
    method="POST",
    path="/v2/apikey",
    action="DeleteApp",
    request=DeleteApp,
    reply=ActionReply[bool],
    auth="signature",
    summary="Delete an application and revoke its keys, at once and for good.",
    summary_zh="立即且永久删除应用并吊销其全部密钥。",
    spec="C.7",
)
