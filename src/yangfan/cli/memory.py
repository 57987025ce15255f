"""`yangfan memory`: what models are told before every conversation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.terminal import show_json, show_table
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]
MemoryId = Annotated[str, typer.Argument(metavar="MEMORY_ID", help="sm-…, see `list` / 记忆 ID")]


def memory() -> None:
    """What models are told before every conversation. / 管理系统记忆。"""


@connected
def create(
    connection: Connection,
    app_id: Annotated[str, typer.Argument(metavar="APP_ID", help="Whose / 所属应用")],
    *,
    description: Annotated[str, typer.Option(help="For people / 描述")] = "",
) -> None:
    """Make an empty system memory and print its id. / 创建系统记忆并输出其 ID。"""
    with connection.client() as client:
        typer.echo(client.memory.create_system(app_id, description))


@connected
def list_memories(connection: Connection, *, as_json: AsJSON = False) -> None:
    """List system memories. / 列出系统记忆。"""
    with connection.client() as client:
        found = client.memory.list_system()
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
    """Show what a system memory holds. / 查看系统记忆的内容。"""
    with connection.client() as client:
        found = client.memory.get_system(memory_id)
    if as_json:
        show_json(found)
        return
    show_table(("user", "system"), [(pair.user, pair.system) for pair in found.pairs], {})


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
) -> None:
    """Replace what a system memory holds by a file's pairs. / 用文件中的问答对覆盖系统记忆。"""
    pairs = list(_read(file))
    with connection.client() as client:
        client.memory.set_system(memory_id, pairs)
    typer.echo(f"{memory_id} holds {len(pairs)} pairs. / 已写入 {len(pairs)} 组。", err=True)


@connected
def delete(connection: Connection, memory_id: MemoryId) -> None:
    """Delete a system memory. / 删除系统记忆。"""
    with connection.client() as client:
        client.memory.delete_system(memory_id)
    typer.echo(f"{memory_id} is deleted. / 已删除。", err=True)


SUBCOMMANDS = {
    "create": create,
    "list": list_memories,
    "show": show,
    "set": set_pairs,
    "delete": delete,
}


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
