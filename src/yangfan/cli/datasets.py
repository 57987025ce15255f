"""`yangfan data`, the part that needs a server: datasets in versions, their samples, and what they look like."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yangfan.cli import data_transfers
from yangfan.cli.connection import Connection, connected
from yangfan.cli.terminal import printable, show_json, show_table
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from yangfan.client.datasets import DatasetInsight, DatasetVersion, Spread

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]
Reference = Annotated[
    str,
    typer.Argument(
        metavar="DATASET", help="NAME, NAME:VERSION or ds-... / 名称、名称:版本或版本 ID"
    ),
]
Limit = Annotated[
    int, typer.Option("--rows", "-n", min=1, max=1000, help="How many at most / 最多条数")
]
WIDTH = 100
"""Characters of a sample in a table."""
BAR = 40
"""Characters of the longest bar."""


@connected
def create(
    connection: Connection,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the new dataset / 数据集名称")],
    *,
    data_format: Annotated[
        str,
        typer.Option("--format", "-f", help="PromptResponse, Role, Text, Prompt, ... / 数据格式"),
    ] = "PromptResponse",
    description: Annotated[str, typer.Option(help="For people / 描述")] = "",
    source: Annotated[
        str,
        typer.Option(
            "--from", help="Make the next version of NAME from this one / 基于已有版本创建新版本"
        ),
    ] = "",
    as_json: AsJSON = False,
) -> None:
    """Make a dataset, or with --from its next version. / 创建数据集或新版本。"""
    with connection.client() as client:
        if source:
            made = client.datasets.create_version(name, source=source, description=description)
        else:
            made = client.datasets.create(name, data_format, description=description)
    if as_json:
        show_json(made)
        return
    typer.echo(f"{made.reference}  {made.id}")


@connected
def list_datasets(
    connection: Connection,
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A part of the name / 名称片段")
    ] = "",
    *,
    as_json: AsJSON = False,
) -> None:
    """List datasets. / 列出数据集。"""
    with connection.client() as client:
        found = client.datasets.list(name)
    if as_json:
        show_json(found)
        return
    show_table(
        ("name", "format", "newest", "samples", "annotated", "state"),
        [
            (
                item.name,
                item.data_format,
                "" if item.latest is None else str(item.latest.version),
                "" if item.latest is None else str(item.latest.samples),
                "" if item.latest is None else str(item.latest.annotated),
                "" if item.latest is None else _state(item.latest),
            )
            for item in found
        ],
    )


@connected
def show(
    connection: Connection,
    reference: Reference,
    *,
    versions: Annotated[
        bool, typer.Option("--versions", help="List its versions instead / 列出所有版本")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Show a version and where its rows come from, or list the versions. / 查看版本及其来源，或列出版本。"""
    with connection.client() as client:
        found = client.datasets.get(reference)
        listed = client.datasets.versions(found.dataset_id) if versions else [found]
    if as_json:
        show_json(listed if versions else found)
        return
    if versions:
        show_table(
            ("version", "id", "samples", "edits", "state", "created", "description"),
            [
                (
                    str(item.version),
                    item.id,
                    str(item.samples),
                    str(item.edits),
                    _state(item),
                    item.created_at.strftime("%Y-%m-%d %H:%M:%SZ"),
                    item.description,
                )
                for item in listed
            ],
        )
        return
    show_table(
        ("", ""),
        [
            ("reference / 引用", found.reference),
            ("id", found.id),
            ("dataset / 数据集", found.dataset_id),
            ("format / 格式", found.data_format),
            ("state / 状态", _state(found)),
            ("samples / 样本数", f"{found.samples} ({found.annotated} annotated / 已标注)"),
            ("edits / 未落盘修改", str(found.edits)),
            ("characters / 字符数", str(found.characters)),
            ("size / 大小", f"{found.size_mb} MiB"),
            ("description / 描述", found.description),
            *(
                ("from / 来源", json.dumps(dict(item), ensure_ascii=False))
                for item in found.lineage
            ),
        ],
    )


@connected
def head(
    connection: Connection,
    reference: Reference,
    *,
    rows: Limit = 10,
    offset: Annotated[int, typer.Option(min=0, help="Rows to leave out / 跳过条数")] = 0,
    text: Annotated[str, typer.Option("--grep", "-g", help="Only with this text / 全文检索")] = "",
    label: Annotated[str, typer.Option(help="Only with this label / 按标签筛选")] = "",
    annotated: Annotated[
        bool | None,
        typer.Option("--annotated/--unannotated", help="Only those / 按标注状态筛选"),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Show rows: the first, or those that say something. / 查看样本。"""
    with connection.client() as client:
        page = client.datasets.samples(
            reference, offset=offset, limit=rows, text=text, label=label, annotated=annotated
        )
    if as_json:
        show_json([sample.content for sample in page.samples])
        return
    show_table(
        ("sample", "labels", "content"),
        [(sample.id, ",".join(sample.labels), _short(sample.content)) for sample in page.samples],
    )
    typer.echo(f"{len(page.samples)} of {page.total}", err=True)


@connected
def stats(connection: Connection, reference: Reference, *, as_json: AsJSON = False) -> None:
    """Lengths, languages, repetition, duplicates; measured at the first call. / 数据洞察。"""
    with connection.client() as client:
        found = client.datasets.stats(reference)
    if as_json:
        show_json(found)
        return
    _show_insight(found)


@connected
def diff(
    connection: Connection,
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="Earlier version / 旧版本")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="Later version / 新版本")],
    *,
    rows: Limit = 20,
    as_json: AsJSON = False,
) -> None:
    """Show which rows are different between two versions. / 比较两个版本。"""
    with connection.client() as client:
        found = client.datasets.diff(before, after, limit=rows)
    if as_json:
        show_json(found)
        return
    signs = {"added": "+", "removed": "-", "changed": "~"}
    lines: list[tuple[str, str, str]] = []
    for item in found.differences:
        if item.before is not None:
            lines.append((signs[item.kind], item.id, f"- {_short(item.before)}"))
        if item.after is not None:
            sign = "" if item.before is not None else signs[item.kind]
            lines.append(
                (sign, "" if item.before is not None else item.id, f"+ {_short(item.after)}")
            )
    show_table(("", "sample", "content"), lines)
    typer.echo(
        f"+{found.added} -{found.removed} ~{found.changed}  (added, removed, changed / 新增、删除、修改)",
        err=True,
    )


@connected
def publish(connection: Connection, reference: Reference) -> None:
    """Publish a version: it never changes again. / 发布版本，发布后不可修改。"""
    with connection.client() as client:
        done = client.datasets.publish(reference)
    typer.echo(f"{done.reference} {done.publish_state}")


@connected
def rm(
    connection: Connection,
    reference: Reference,
    *,
    every: Annotated[
        bool, typer.Option("--all", help="The dataset with all its versions / 删除整个数据集")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask / 不再确认")] = False,
) -> None:
    """Delete a version, or with --all the dataset. / 删除版本或整个数据集。"""
    with connection.client() as client:
        found = client.datasets.get(reference)
        what = f"{found.name} with all its versions" if every else found.reference
        if not yes and not typer.confirm(f"delete {what}?", err=True):
            raise typer.Exit(1)
        if every:
            client.datasets.delete(found.dataset_id)
        else:
            client.datasets.delete_version(found.id)
    typer.echo(f"deleted {what}")


@connected
def annotate(
    connection: Connection,
    reference: Reference,
    sample: Annotated[str, typer.Argument(metavar="SAMPLE", help="Its id / 样本 ID")],
    content: Annotated[
        str,
        typer.Argument(metavar="[CONTENT]", help="JSON of the row, - for stdin / 样本内容（JSON）"),
    ] = "",
    *,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Its labels; may be repeated / 标签，可重复"),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete it / 删除样本")] = False,
) -> None:
    """Say what a sample is to say, label it, or delete it. / 标注、打标签或删除样本。"""
    with connection.client() as client:
        if delete:
            if client.datasets.delete_samples(reference, [sample]):
                raise ConfigurationError(f"{reference} has no sample {sample}")
            typer.echo(f"deleted {sample}")
            return
        if not content and label is None:
            raise ConfigurationError("say what the sample is to say, or give --label or --delete")
        done = client.datasets.annotate(
            reference, sample, _json(content) if content else None, labels=label
        )
    typer.echo(f"{done.id}  {_short(done.content)}")


SUBCOMMANDS = {
    "create": create,
    "list": list_datasets,
    "show": show,
    "head": head,
    "stats": stats,
    "diff": diff,
    "publish": publish,
    "rm": rm,
    "annotate": annotate,
    **data_transfers.SUBCOMMANDS,
}


def _json(text: str) -> Any:
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        text = Path(text[1:]).read_text("utf-8")
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"the content is no JSON: {error}") from None


def _state(version: DatasetVersion) -> str:
    if version.publish_state == "Unpublished":
        return version.import_state
    return version.publish_state


def _short(content: object) -> str:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    line = printable(" ".join(text.split()))
    return line if len(line) <= WIDTH else line[:WIDTH] + "…"


def _show_insight(found: DatasetInsight) -> None:
    typer.echo(
        f"{found.rows} samples / 样本, {found.characters} characters / 字符, {found.duplicates} duplicates / 重复"
    )
    if found.near_duplicates is not None:
        typer.echo(f"{found.near_duplicates} near-duplicates / 近似重复 (simhash)")
    most = max(found.languages.values(), default=1)
    show_table(
        ("language / 语种", "samples", ""),
        [(name or "-", str(count), _bar(count, most)) for name, count in found.languages.items()],
    )
    show_table(
        ("measure / 指标", "min", "p5", "median", "mean", "p95", "max"),
        [
            (
                name,
                *(
                    f"{value:.4g}"
                    for value in (
                        spread.minimum,
                        spread.percentiles[5],
                        spread.percentiles[50],
                        spread.mean,
                        spread.percentiles[95],
                        spread.maximum,
                    )
                ),
            )
            for name, spread in found.measures.items()
        ],
    )
    if "characters" in found.measures:
        _show_histogram("characters / 字符数", found.measures["characters"])
    for name, what in found.missing.items():
        typer.echo(f"{name}: not measured / 未计算: {what}", err=True)


def _show_histogram(name: str, spread: Spread) -> None:
    most = max(spread.counts, default=1)
    show_table(
        (name, "samples", ""),
        [
            (
                f"{spread.edges[index]:.0f} - {spread.edges[index + 1]:.0f}",
                str(count),
                _bar(count, most),
            )
            for index, count in enumerate(spread.counts)
            if count
        ],
    )


def _bar(count: int, most: int) -> str:
    eighths = round(count * BAR * 8 / max(most, 1))
    full, rest = divmod(eighths, 8)
    return "█" * full + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[rest]
