"""`yangfan data import|export`: files into datasets and out of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.following import end_status, follow, summary
from yangfan.cli.terminal import printable, show_json
from yangfan.errors import ConfigurationError, NotFound
from yangfan.protocol.dataset_files import FileFormat

if TYPE_CHECKING:
    from yangfan.client._sync.client import Client
    from yangfan.client.dataset_transfers import DatasetImport
    from yangfan.client.types import WorkProgress

SHOWN_ROWS = 10
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]
Reference = Annotated[
    str,
    typer.Argument(
        metavar="DATASET", help="NAME, NAME:VERSION or ds-... / 名称、名称:版本或版本 ID"
    ),
]


@connected
def import_data(  # noqa: PLR0913 -- what an import is made of, one option each
    connection: Connection,
    dataset: Reference,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="Files, or https: s3: bos: file: addresses / 文件或地址"
        ),
    ],
    *,
    create: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="Make the dataset if there is none: PromptResponse, Text, ... / 数据集不存在时新建",
        ),
    ] = "",
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=COLUMN", help="prompt=question; repeat / 字段与列的对应"),
    ] = None,
    file_format: Annotated[
        FileFormat | None, typer.Option("--file-format", help="If names do not say it / 文件格式")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="utf-8, gbk, gb18030, utf-16 / 文件编码")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="Of csv fields / 分隔符")] = None,
    sheet: Annotated[str | None, typer.Option(help="Of an xlsx file / 工作表")] = None,
    whole_files: Annotated[
        bool, typer.Option("--whole-files", help="A .txt file is one text / 每个 txt 文件为一条")
    ] = False,
    refused: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write refused rows and why / 保存被拒绝的行"),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch/--no-watch", help="Until it has ended / 等待结束")
    ] = True,
    as_json: AsJSON = False,
) -> None:
    """Import files into a dataset. / 向数据集导入文件。

    Files of this machine are sent to the server. Rows that are not of the dataset's format are refused, counted and kept with
    their line and a reason; --refused writes all of them to a file.
    """
    with connection.client() as client:
        if create:
            _ensure(client, dataset, create)
        with _Sent() as sent:
            begun = client.datasets.import_files(
                dataset,
                *[_source(source) for source in sources],
                columns=_columns(column or []),
                format=file_format,
                encoding=encoding,
                delimiter=delimiter,
                sheet=sheet,
                whole_files=whole_files,
                wait=False,
                progress=sent.update,
            )
        if not watch:
            _show_begun(begun, begun.id, begun.job_id, as_json=as_json)
            return
        follow(client, begun.job_id)
        ended = client.datasets.get_import(begun.id)
        if refused is not None and ended.refused_url:
            client.datasets.download(ended, refused)
    _show_import(ended, refused, as_json=as_json)


@connected
def export_data(
    connection: Connection,
    dataset: Reference,
    out: Annotated[
        Path | None,
        typer.Argument(metavar="[OUT]", help=".jsonl .json .csv .tsv .xlsx .parquet .txt .zip"),
    ] = None,
    *,
    file_format: Annotated[
        FileFormat | None, typer.Option("--file-format", help="Of a .zip's rows / 压缩包内格式")
    ] = None,
    annotations: Annotated[
        bool,
        typer.Option("--annotations/--no-annotations", help="With responses / 是否包含标注"),
    ] = True,
    bucket: Annotated[
        str, typer.Option(metavar="s3:BUCKET/DIR/", help="Put it there, too / 同时写入存储桶")
    ] = "",
    as_json: AsJSON = False,
) -> None:
    """Export a dataset to a file. / 将数据集导出为文件。"""
    archive, kind = _wanted(out, file_format)
    with connection.client() as client:
        begun = client.datasets.export(
            dataset,
            format=kind,
            archive=archive,
            annotations=annotations,
            bucket=bucket,
            wait=False,
        )
        job = follow(client, begun.job_id)
        if end_status(job):
            typer.echo(summary(job), err=True)
            raise typer.Exit(1)
        ended = client.datasets.get_export(begun.id)
        if out is not None:
            with _Sent() as bar:
                client.datasets.download(ended, out, progress=bar.update)
    if as_json:
        show_json(ended)
        return
    where = str(out) if out is not None else ended.location or ended.url
    typer.echo(f"{ended.rows} rows written: {printable(where)}")


SUBCOMMANDS = {"import": import_data, "export": export_data}


def _wanted(out: Path | None, kind: FileFormat | None) -> tuple[bool, FileFormat | None]:
    """Whether it is an archive, and the format of its rows, by the name of the file."""
    if out is None or out.suffix.lower() == ".zip":
        return True, kind
    said: Any = out.suffix.lower().removeprefix(".")
    if said not in FileFormat.__args__:
        known = ", ".join(f".{name}" for name in FileFormat.__args__)
        raise ConfigurationError(
            f"{out.name} has no format that is known; there are: {known}, .zip"
        )
    return False, kind or said


def _ensure(client: Client, name: str, data_format: str) -> None:
    try:
        client.datasets.get(name)
    except NotFound:
        client.datasets.create(name, data_format)


def _source(text: str) -> str | Path:
    from yangfan.client.dataset_transfers import is_address

    if is_address(text):
        return text
    path = Path(text).expanduser()
    if not path.exists():
        raise ConfigurationError(f"there is no file {path}")
    return path


def _columns(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in given:
        field, equals, column = item.partition("=")
        if not equals or not field or not column:
            raise ConfigurationError(
                f"--column takes FIELD=COLUMN, such as prompt=question; got {item!r}"
            )
        found[field] = column
    return found


def _show_begun(begun: object, task: str, job: str, *, as_json: bool) -> None:
    if as_json:
        show_json(begun)
        return
    typer.echo(f"{task}  job {job}")


def _show_import(ended: DatasetImport, refused: Path | None, *, as_json: bool) -> None:
    if as_json:
        show_json(ended)
    else:
        typer.echo(f"{ended.rows} rows taken, {ended.bad_rows} refused")
        for row in ended.refused[:SHOWN_ROWS]:
            typer.echo(printable(f"  {row.file} {row.line}: {row.reason}"), err=True)
        if len(ended.refused) > SHOWN_ROWS or ended.bad_rows > len(ended.refused):
            place = str(refused) if refused else ended.refused_url
            typer.echo(printable(f"  all of them: {place}"), err=True)
        for line in ended.skipped[:SHOWN_ROWS]:
            typer.echo(printable(f"  left alone: {line}"), err=True)
    if ended.state != "succeeded":
        typer.echo(printable(f"the import failed: {ended.error}"), err=True)
        raise typer.Exit(1)


class _Sent:
    """A bar of bytes on their way, on a terminal."""

    def __enter__(self) -> _Sent:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task: Any = None
        return self

    def __exit__(self, *_: object) -> None:
        if self._task is not None:
            self._bars.stop()

    def update(self, progress: WorkProgress) -> None:
        """Show how far it is."""
        if self._task is None:
            self._bars.start()
            self._task = self._bars.add_task(printable(progress.note))
        self._bars.update(self._task, completed=progress.done, total=progress.total)
