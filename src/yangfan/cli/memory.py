"""`yangfan memory`: what models are told before every conversation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.terminal import show_json, show_table
from yangfan.errors import ConfigurationError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yangfan import Client

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]
MemoryId = Annotated[
    str, typer.Argument(metavar="MEMORY_ID", help="sm-… or um-…, see `list` / 记忆 ID")
]
OfUser = Annotated[
    bool, typer.Option("--user", help="About a user, not about the model / 用户记忆")
]
USER_PREFIX = "um-"


def memory() -> None:
    """What models are told before every conversation. / 管理系统记忆。"""


@connected
def create(
    connection: Connection,
    app_id: Annotated[str, typer.Argument(metavar="APP_ID", help="Whose / 所属应用")],
    *,
    description: Annotated[
        str, typer.Option(help="For people; of a user, told to models too / 描述")
    ] = "",
    user: OfUser = False,
) -> None:
    """Make an empty memory and print its id. / 创建记忆并输出其 ID。"""
    with connection.client() as client:
        make = client.memory.create_user if user else client.memory.create_system
        typer.echo(make(app_id, description))


@connected
def list_memories(connection: Connection, *, user: OfUser = False, as_json: AsJSON = False) -> None:
    """List system memories, or those of users. / 列出系统记忆或用户记忆。"""
    with connection.client() as client:
        found = client.memory.list_user() if user else client.memory.list_system()
    if as_json:
        show_json(found)
        return
    show_table(
        ("id", "application", "description"),
        [(item.id, item.app_id, item.description) for item in found],
        {},
    )


@connected
def show(connection: Connection, memory_id: MemoryId, *, as_json: AsJSON = False) -> None:
    """Show what a memory holds; pairs of a user memory have ids. / 查看记忆的内容。"""
    with connection.client() as client:
        if not memory_id.startswith(USER_PREFIX):
            found = client.memory.get_system(memory_id)
        else:
            found = client.memory.get_user(_app_of(client, memory_id), memory_id)
    if as_json:
        show_json(found)
        return
    rows = [(pair.id, pair.user, pair.system) for pair in found.pairs]
    if memory_id.startswith(USER_PREFIX):
        show_table(("id", "user", "system"), rows, {})
    else:
        show_table(("user", "system"), [row[1:] for row in rows], {})


@connected
def set_pairs(
    connection: Connection,
    memory_id: MemoryId,
    file: Annotated[
        Path,
        typer.Argument(
            help="JSON or JSON lines of [user, system], or text: a line each, pairs apart by a blank line / 内容文件",
            exists=True,
            dir_okay=False,
        ),
    ],
    *,
    keep: Annotated[
        bool, typer.Option("--keep", help="Add to a user memory / 追加到用户记忆而不覆盖")
    ] = False,
) -> None:
    """Replace what a memory holds by a file's pairs. / 用文件中的问答对覆盖记忆。"""
    pairs = list(_read(file))
    with connection.client() as client:
        if memory_id.startswith(USER_PREFIX):
            app_id = _app_of(client, memory_id)
            client.memory.set_user(app_id, memory_id, pairs, keep=keep)
        elif keep:
            raise ConfigurationError(
                f"--keep is for user memories ({USER_PREFIX}…): give {memory_id} all its pairs in one file"
            )
        else:
            client.memory.set_system(memory_id, pairs)
    typer.echo(f"{len(pairs)} pairs written to {memory_id}. / 已写入 {len(pairs)} 组。", err=True)


@connected
def delete(
    connection: Connection,
    memory_id: MemoryId,
    *,
    pair: Annotated[
        str | None,
        typer.Option("--pair", metavar="ID", help="Only this pair of a user memory / 仅删除一组"),
    ] = None,
) -> None:
    """Delete a memory, or one pair of a user memory. / 删除记忆，或用户记忆中的一组。"""
    with connection.client() as client:
        if memory_id.startswith(USER_PREFIX):
            client.memory.delete_user(_app_of(client, memory_id), memory_id, pair)
        elif pair is not None:
            raise ConfigurationError(
                f"pairs of system memories have no ids; write {memory_id} anew with `memory set`"
            )
        else:
            client.memory.delete_system(memory_id)
    typer.echo(f"{pair or memory_id} is deleted. / 已删除。", err=True)


SUBCOMMANDS = {
    "create": create,
    "list": list_memories,
    "show": show,
    "set": set_pairs,
    "delete": delete,
}


def _app_of(client: Client, memory_id: str) -> str:
    """The application of a user memory, which every Action on one must name."""
    for found in client.memory.list_user():
        if found.id == memory_id:
            return found.app_id
    raise NotFound(f"no user memory {memory_id[:64]!r}; `yangfan memory list --user` shows them")


def _read(file: Path) -> Iterator[tuple[str, str]]:
    try:
        text = file.read_text("utf-8")
        if file.suffix == ".json":
            items = msgspec.json.decode(text)
        elif file.suffix == ".jsonl":
            items = [msgspec.json.decode(line) for line in text.splitlines() if line.strip()]
        else:
            items = [block.split("\n", 1) for block in text.strip().split("\n\n")]
        yield from msgspec.convert([_plain(item) for item in items], list[tuple[str, str]])
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError, TypeError) as error:
        raise ConfigurationError(
            f"{file} does not hold pairs of a user's and the system's words: {error}"
        ) from None


def _plain(item: Any) -> Any:
    """A pair as two texts, also where it has Qianfan's shape: two objects of role and content."""
    return [turn.get("content") if isinstance(turn, dict) else turn for turn in item]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
