"""`POST /v2/memory?Action=…`: what a model is told about itself and about its users before every conversation (D.16).

User memory follows Baidu's pages 7m7a3v2bp, 7lywo2ga5, 5m7a47isq, jm7a47tff, Vm7a483xo and xm7a48lkt
(https://cloud.baidu.com/doc/WENXINWORKSHOP/s/…).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Actions
from yangfan.protocol.v2.keys import ActionReply

MAX_PAIRS = 1000
"""Most questions with their answers in one memory."""

AppId = Annotated[
    str,
    Meta(min_length=1, max_length=64, description="The application that the memory belongs to."),
]
MemoryId = Annotated[str, Meta(min_length=1, max_length=64)]
Description = Annotated[str, Meta(max_length=1024)]


class MemoryTurn(msgspec.Struct, kw_only=True):
    """One half of a pair: what a user says, or what the system answers."""

    role: Literal["user", "system"]
    content: Annotated[str, Meta(min_length=1, max_length=4096)]
    memoryContentId: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling


Pairs = Annotated[
    list[Annotated[list[MemoryTurn], Meta(min_length=2, max_length=2)]],
    Meta(min_length=1, max_length=MAX_PAIRS, description="Pairs of a user's and a system's turn."),
]


class CreateMemory(msgspec.Struct, kw_only=True):
    """Whose memory to make."""

    appId: AppId  # noqa: N815 - the wire's spelling
    description: Description = ""


class ListMemories(msgspec.Struct, kw_only=True):
    """Which page to show; `marker` is the id to begin with."""

    appId: str | None = None  # noqa: N815 - the wire's spelling
    marker: str | None = None
    maxKeys: Annotated[int, Meta(ge=1, le=100)] | None = None  # noqa: N815 - the wire's spelling
    pageReverse: bool | None = None  # noqa: N815 - the wire's spelling


class NameSystemMemory(msgspec.Struct, kw_only=True):
    """Which memory."""

    systemMemoryId: MemoryId  # noqa: N815 - the wire's spelling


class ModifySystemMemory(NameSystemMemory, kw_only=True):
    """All that it holds from now on."""

    memories: Pairs


class NameUserMemory(msgspec.Struct, kw_only=True):
    """Which memory, or which pair in it."""

    appId: AppId  # noqa: N815 - the wire's spelling
    userMemoryId: MemoryId  # noqa: N815 - the wire's spelling
    memoryContentId: MemoryId | None = None  # noqa: N815 - the wire's spelling


class ModifyUserMemory(msgspec.Struct, kw_only=True):
    """Pairs to put in place of all (cover) or behind them (insert)."""

    appId: AppId  # noqa: N815 - the wire's spelling
    userMemoryId: MemoryId  # noqa: N815 - the wire's spelling
    operator: Literal["cover", "insert"] = "cover"
    memories: Pairs


class ModifyUserMemoryContent(msgspec.Struct, kw_only=True):
    """Pairs that replace those with the same `memoryContentId`."""

    appId: AppId  # noqa: N815 - the wire's spelling
    userMemoryId: MemoryId  # noqa: N815 - the wire's spelling
    memories: Pairs


class PageInfo(msgspec.Struct, kw_only=True):
    """Where a page stands; `nextMarker` is there if more follows."""

    marker: str
    maxKeys: int  # noqa: N815 - the wire's spelling
    isTruncated: bool  # noqa: N815 - the wire's spelling
    nextMarker: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling


class SystemMemory(msgspec.Struct, kw_only=True):
    """A system memory; its pairs only where it is shown alone."""

    appId: str  # noqa: N815 - the wire's spelling
    systemMemoryId: str  # noqa: N815 - the wire's spelling
    description: str = ""
    memories: list[list[MemoryTurn]] | UnsetType = UNSET


class SystemMemories(msgspec.Struct, kw_only=True):
    """A page of system memories."""

    items: list[SystemMemory]
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


class UserMemory(msgspec.Struct, kw_only=True):
    """A user memory; its pairs only where it is shown alone."""

    appId: str  # noqa: N815 - the wire's spelling
    userMemoryId: str  # noqa: N815 - the wire's spelling
    description: str = ""
    memories: list[list[MemoryTurn]] | UnsetType = UNSET


class UserMemories(msgspec.Struct, kw_only=True):
    """A page of user memories."""

    items: list[UserMemory]
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


_memory = Actions("v2.memory", "/v2/memory", "D.16")


CREATE_SYSTEM = _memory(
    "create_system_memory",
    "CreateSystemMemory",
    CreateMemory,
    ActionReply[str],
    "Create an empty system memory.",
    "创建系统记忆。",
)
LIST_SYSTEM = _memory(
    "describe_system_memories",
    "DescribeSystemMemories",
    ListMemories,
    ActionReply[SystemMemories],
    "List system memories, without what they hold.",
    "查询系统记忆列表。",
)
SHOW_SYSTEM = _memory(
    "describe_system_memory",
    "DescribeSystemMemory",
    NameSystemMemory,
    ActionReply[SystemMemory],
    "Show a system memory.",
    "查询系统记忆。",
)
MODIFY_SYSTEM = _memory(
    "modify_system_memory",
    "ModifySystemMemory",
    ModifySystemMemory,
    ActionReply[bool],
    "Replace what a system memory holds.",
    "更新系统记忆。",
)
DELETE_SYSTEM = _memory(
    "delete_system_memory",
    "DeleteSystemMemory",
    NameSystemMemory,
    ActionReply[bool],
    "Delete a system memory.",
    "删除系统记忆。",
)
CREATE_USER = _memory(
    "create_user_memory",
    "CreateUserMemory",
    CreateMemory,
    ActionReply[str],
    "Create an empty user memory.",
    "创建用户记忆。",
)
LIST_USER = _memory(
    "describe_user_memories",
    "DescribeUserMemories",
    ListMemories,
    ActionReply[UserMemories],
    "List user memories, without what they hold.",
    "查询应用内所有用户记忆。",
)
SHOW_USER = _memory(
    "describe_user_memory",
    "DescribeUserMemory",
    NameUserMemory,
    ActionReply[UserMemory],
    "Show a user memory, or one pair of it.",
    "查询用户记忆内容。",
)
MODIFY_USER = _memory(
    "modify_user_memory",
    "ModifyUserMemory",
    ModifyUserMemory,
    ActionReply[bool],
    "Replace what a user memory holds, or add to it.",
    "写入用户记忆内容。",
)
MODIFY_USER_CONTENT = _memory(
    "modify_user_memory_content",
    "ModifyUserMemoryContent",
    ModifyUserMemoryContent,
    ActionReply[bool],
    "Replace single pairs of a user memory.",
    "修改用户记忆内容。",
)
DELETE_USER = _memory(
    "delete_user_memory",
    "DeleteUserMemory",
    NameUserMemory,
    ActionReply[bool],
    "Delete a user memory, or one pair of it.",
    "删除用户记忆或其中一条内容。",
)
