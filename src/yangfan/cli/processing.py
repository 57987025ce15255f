"""Cleaning and augmenting datasets on a server: the part of `yangfan data` that needs one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import msgspec
import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.following import end_status, follow, summary
from yangfan.cli.terminal import printable, show_json, show_table
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from yangfan.client._sync.client import Client
    from yangfan.client.processing import CleaningTask, OperatorCounts

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]
Watch = Annotated[bool, typer.Option("--watch", help="Follow it to its end / 跟踪直至结束")]
FILES = frozenset({".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".parquet"})
SHOWN = 200


class DatasetOrder(NamedTuple):
    """What `data clean` was told, for a dataset."""

    source: str
    into: str | None
    recipe: Path | None
    preview: int
    watch: bool
    as_json: bool


def is_dataset(given: Path) -> bool:
    """Whether a name means a dataset: no file of that name, and not what a file would be called."""
    return not given.exists() and given.suffix.lower() not in FILES


def clean_dataset(connection: Connection, order: DatasetOrder) -> None:
    """Clean a version of a dataset by the server."""
    if order.recipe is None:
        raise ConfigurationError("name the recipe with --recipe FILE")
    recipe = read_recipe(order.recipe)
    with connection.client() as client:
        if order.preview:
            found = client.cleaning.preview(order.source, recipe, rows=min(order.preview, 200))
            if order.as_json:
                show_json(found)
                return
            rows: list[tuple[str, str, str]] = []
            for sample in found.samples:
                why = f"dropped by {sample.operator}: {sample.reason}"
                after = why if sample.after is None else _short(sample.after)
                rows += [(str(sample.row), "before", _short(sample.before)), ("", "after", after)]
            show_table(("row", "", "text"), rows)
            _show_counts(found.operators)
            return
        task = client.cleaning.create(order.source, recipe, into=order.into)
        if order.watch:
            _follow(client, task.job_id, as_json=order.as_json)
            task = client.cleaning.get(task.id)
        _show(task, as_json=order.as_json)


@connected
def cleaned(
    connection: Connection,
    task: Annotated[
        str | None, typer.Argument(metavar="[TASK]", help="task-…; all without one / 任务 ID")
    ] = None,
    *,
    rows: Annotated[
        Literal["dropped", "changed"] | None,
        typer.Option(help="List the rows instead, and why / 列出样本及原因"),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Show what cleanings of datasets did, and why rows went. / 查看数据集清洗结果与原因。"""
    with connection.client() as client:
        if task is None:
            found = client.cleaning.list()
            if as_json:
                show_json(found)
                return
            show_table(
                ("task", "status", "done", "source", "destination", "rows", "remaining"),
                [
                    (
                        item.id,
                        item.status,
                        f"{item.progress} %",
                        item.source,
                        item.destination,
                        str(item.rows),
                        str(item.remaining) if item.status == "Succeeded" else "",
                    )
                    for item in found
                ],
            )
        elif rows is None:
            _show(client.cleaning.get(task), as_json=as_json)
        else:
            # A line a row: there may be millions.
            for row in client.cleaning.rows(task, rows):
                typer.echo(msgspec.json.encode(row).decode())


@connected
def pause_clean(
    connection: Connection,
    task: Annotated[str, typer.Argument(metavar="TASK", help="task-… / 任务 ID")],
) -> None:
    """Hold a cleaning; it goes on later where it was, inside of a shard. / 暂停清洗。"""
    with connection.client() as client:
        found = client.cleaning.pause(task)
    typer.echo(f"{found.id} {found.status} {found.progress} %")


@connected
def resume_clean(
    connection: Connection,
    task: Annotated[str, typer.Argument(metavar="TASK", help="task-… / 任务 ID")],
    *,
    watch: Watch = False,
) -> None:
    """Go on with a cleaning that was held. / 继续清洗。"""
    with connection.client() as client:
        found = client.cleaning.resume(task)
        if watch:
            _follow(client, found.job_id, as_json=False)
            found = client.cleaning.get(task)
    typer.echo(f"{found.id} {found.status} {found.progress} %")


@connected
def undo_clean(
    connection: Connection,
    task: Annotated[str, typer.Argument(metavar="TASK", help="task-… / 任务 ID")],
) -> None:
    """Delete the version that a cleaning made; the source is as it was. / 撤销清洗。"""
    with connection.client() as client:
        found = client.cleaning.get(task)
        client.cleaning.undo(task)
    typer.echo(f"{found.destination} is gone; {found.source} is as it was", err=True)


@connected
def augment(  # noqa: PLR0913 - one parameter per option
    connection: Connection,
    source: Annotated[
        str, typer.Argument(metavar="NAME:VERSION", help="With the seeds / 种子数据集版本")
    ],
    into: Annotated[
        str | None, typer.Argument(metavar="[INTO]", help="An empty version / 目标版本")
    ] = None,
    *,
    model: Annotated[str, typer.Option("--model", "-m", help="Which one is asked / 模型")],
    count: Annotated[int, typer.Option(min=1, max=5000, help="How many / 生成数量")] = 100,
    seeds: Annotated[
        int, typer.Option(min=1, max=10, help="Examples in a question / 每次的示例数")
    ] = 3,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="ROUGE-L from which on it is too alike / 相似度阈值")
    ] = 0.7,
    evolve: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STRATEGY=COUNT",
            help="addConstraint, complexScene, direction, precondition; may be repeated / 演化策略",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=10, help="Of evolution / 演化轮数")] = 1,
    context: Annotated[str, typer.Option(help="What it has to do with / 背景")] = "",
    words: Annotated[str, typer.Option(help="What it is about / 主题词")] = "",
    rpm: Annotated[int, typer.Option(min=0, help="Questions a minute / 每分钟请求数上限")] = 0,
    watch: Watch = False,
    as_json: AsJSON = False,
) -> None:
    """Let a model make more samples out of those of a dataset. / 用模型扩充数据集。"""
    with connection.client() as client:
        task = client.augmentation.create(
            source,
            model,
            into=into,
            count=count,
            seeds_in_prompt=seeds,
            similarity_threshold=threshold,
            evolution=_evolution(evolve or []),
            iterations=rounds,
            context=context,
            words=words,
            requests_per_minute=rpm,
        )
        if watch:
            _follow(client, task.job_id, as_json=as_json)
            task = client.augmentation.get(task.id)
    if as_json:
        show_json(task)
        return
    typer.echo(task.id)
    typer.echo(
        f"{task.status}: {task.made} samples in {task.destination}, {task.rejected} too alike",
        err=True,
    )
    if task.status == "Failed":
        typer.echo(printable(task.error), err=True)
        raise typer.Exit(1)


def read_recipe(file: Path) -> dict[str, Any]:
    """What a recipe's file says.

    Raises:
        ConfigurationError: It cannot be read.
    """
    import yaml

    try:
        content = file.read_bytes()
        found = msgspec.json.decode(content) if file.suffix == ".json" else yaml.safe_load(content)
    except (OSError, msgspec.DecodeError, yaml.YAMLError, UnicodeError, RecursionError) as error:
        raise ConfigurationError(f"the recipe {file} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{file} is no recipe: it must be an object with stages")
    return found  # pyright: ignore[reportUnknownVariableType] - YAML says what it likes; the client checks it


def _evolution(given: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in given:
        name, _, count = item.partition("=")
        if not count.isdecimal():
            raise ConfigurationError(f"--evolve takes STRATEGY=COUNT, got {item!r}")
        found[name] = int(count)
    return found


def _follow(client: Client, job_id: str, *, as_json: bool) -> None:
    ended = follow(client, job_id)
    if not as_json:
        typer.echo(summary(ended), err=True)
    if status := end_status(ended):
        raise typer.Exit(status)


def _show(task: CleaningTask, *, as_json: bool) -> None:
    if as_json:
        show_json(task)
        return
    typer.echo(task.id)
    _show_counts(task.operators)
    kept = f", {task.remaining} of {task.rows} rows" if task.status == "Succeeded" else ""
    typer.echo(f"{task.status}: {task.source} into {task.destination}{kept}", err=True)
    if task.error:
        typer.echo(printable(task.error), err=True)


def _show_counts(operators: tuple[OperatorCounts, ...]) -> None:
    if operators:
        show_table(
            ("stage", "operator", "matched", "dropped", "remaining"),
            [
                (item.stage, item.name, str(item.matched), str(item.dropped), str(item.remaining))
                for item in operators
            ],
        )


def _short(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= SHOWN else line[:SHOWN] + "…"
