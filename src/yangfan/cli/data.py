"""`yangfan data`: datasets on a server, and cleaning files of texts on this machine without one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yangfan.cli import datasets
from yangfan.cli.connection import Connection, connected
from yangfan.cli.processing import (
    DatasetOrder,
    augment,
    clean_dataset,
    cleaned,
    is_dataset,
    pause_clean,
    resume_clean,
    undo_clean,
)
from yangfan.cli.terminal import human_size, printable, show_json, show_table
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from yangfan.operators.pipeline.recipe import Recipe
    from yangfan.operators.pipeline.run import Preview, Progress, Report

SHOWN = 200
"""Characters of a text that a preview shows in a table."""


def data() -> None:
    """Datasets in versions; clean files without a server. / 数据集与版本；无需服务的本地数据清洗。"""


OPERATORS = typer.Option(
    "--operators", help="Folder of your own operators, one file each / 自定义算子文件夹"
)


def operators(
    *,
    folder: Annotated[Path | None, OPERATORS] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")] = False,
) -> None:
    """List the cleaning operators with their arguments. / 列出清洗算子及其参数。"""
    _needs_numpy()
    from yangfan.operators import base

    found, foreign = base.available(), base.foreigners(folder)
    if as_json:
        theirs = [
            {"name": name, "from": str(place.file or place.module)}
            for name, place in foreign.items()
        ]
        show_json([*found, *theirs])
        return
    rows: list[tuple[str, str, str, str]] = []
    for operator in found:
        state = f" (needs {operator.missing})" if operator.missing else ""
        rows.append(
            (
                operator.stage,
                operator.name,
                "",
                operator.summary["en"] + " / " + operator.summary["zh"] + state,
            )
        )
        rows += [
            (
                "",
                "",
                f"{known.name}={known.default}",
                f"{known.type} {known.range}  {known.description}",
            )
            for known in operator.parameters
        ]
    rows += [("", name, "", str(place.file or place.module)) for name, place in foreign.items()]
    show_table(("stage", "operator", "argument", "meaning"), rows)


@connected
def clean(  # noqa: PLR0913 -- each is an option of the command
    connection: Connection,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help=".jsonl, .csv, .tsv, .txt or .parquet, or NAME:VERSION of a dataset / 输入文件或数据集版本",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Argument(metavar="OUT", help="File of the same format / 输出文件，格式同输入"),
    ] = None,
    *,
    recipe: Annotated[
        Path | None,
        typer.Option(help="YAML or JSON; all operators without one / 配方文件，缺省为全部算子"),
    ] = None,
    field: Annotated[
        str | None, typer.Option(help="Key or column of the text / 文本字段名，默认 text")
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="zh, en, ... or auto / 语种代码，默认 auto")
    ] = None,
    folder: Annotated[Path | None, OPERATORS] = None,
    processes: Annotated[
        int,
        typer.Option(min=0, help="0: what suits the file / 进程数，0 为自动"),
    ] = 0,
    ray: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Ray cluster that runs the operators, HOST:PORT or auto / 运行算子的 Ray 集群地址",
        ),
    ] = "",
    preview: Annotated[
        int,
        typer.Option(min=0, help="Only show what becomes of the first rows / 只预览前若干行"),
    ] = 0,
    restart: Annotated[
        bool, typer.Option("--restart", help="Do not go on where it was stopped / 从头开始")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="OUT may exist / 允许覆盖输出文件")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Of a dataset: follow it to its end / 跟踪数据集清洗")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")] = False,
) -> None:
    """Clean a file, or a version of a dataset, with the operators of a recipe. / 按配方清洗文件或数据集。

    A dataset (NAME:VERSION or ds-...) is cleaned by the server into a new version of it, or into the version OUT.

    The input never changes. Beside OUT come OUT.dropped.jsonl, every dropped row with the operator and the reason, and
    OUT.report.json, the counts. A run that is stopped goes on when the same command is given again.
    """
    if is_dataset(file):
        into = None if out is None else str(out)
        order = DatasetOrder(str(file), into, recipe, preview, watch=watch, as_json=as_json)
        clean_dataset(connection, order)
        return
    _needs_numpy()
    from yangfan.operators.pipeline import recipe as recipes
    from yangfan.operators.pipeline import run as runs

    wanted = _changed(
        recipes.everything() if recipe is None else recipes.read(recipe), field, language
    )
    if preview:
        _show_preview(runs.preview(wanted, file, preview, operators=folder), as_json=as_json)
        return
    if out is None:
        raise ConfigurationError("name the file to write, or ask for --preview ROWS")
    with _Bar() as bar:
        run = runs.Run(
            wanted, file, out, bar.update, operators=folder, processes=processes, cluster=ray
        )
        if restart:
            run.forget()
        if run.can_go_on:
            typer.echo(f"going on from {run.work}", err=True)
        elif out.exists() and not overwrite:
            raise ConfigurationError(f"{out} exists; --overwrite replaces it")
        try:
            report = run()
        except KeyboardInterrupt:
            bar.close()
            typer.echo("\nstopped; the same command goes on from here", err=True)
            raise typer.Exit(130) from None
    if as_json:
        show_json(report)
        return
    _show_report(report)
    typer.echo(f"written: {out}; dropped rows and why: {run.dropped}", err=True)


SUBCOMMANDS = {
    "clean": clean,
    "cleaned": cleaned,
    "pause": pause_clean,
    "resume": resume_clean,
    "undo": undo_clean,
    "augment": augment,
    "operators": operators,
    **datasets.SUBCOMMANDS,
}


def _needs_numpy() -> None:
    import importlib.util

    if importlib.util.find_spec("numpy") is None:
        raise ConfigurationError('cleaning needs numpy: pip install "yangfan[data]"')


def _changed(recipe: Recipe, field: str | None, language: str | None) -> Recipe:
    import msgspec

    changes = {"field": field, "language": language}
    return msgspec.structs.replace(
        recipe, **{name: value for name, value in changes.items() if value is not None}
    )


def _show_report(report: Report) -> None:
    rows = [
        (
            stage,
            tally.name,
            str(tally.entity_match_count),
            str(tally.drop_count),
            str(tally.remaining_count),
        )
        for stage, result in report.pipeline_stage_result.items()
        for tally in result.each_operator_result
    ]
    show_table(("stage", "operator", "matched", "dropped", "remaining"), rows)
    rate = report.entity_count / max(report.seconds, 1e-3)
    typer.echo(
        f"{report.entity_count} rows read, {report.remaining_entity} written, "
        f"{report.unreadable_entity} unreadable, {report.seconds:.1f} s, {rate:.0f} rows/s",
        err=True,
    )


def _show_preview(preview: Preview, *, as_json: bool) -> None:
    if as_json:
        show_json(preview)
        return
    rows: list[tuple[str, str, str]] = []
    for sample in preview.samples:
        why = f"dropped by {sample.operator}: {sample.reason}"
        rows.append((str(sample.row), "before", _short(sample.before)))
        rows.append(("", "after", why if sample.after is None else _short(sample.after)))
    show_table(("row", "", "text"), rows)
    _show_report(preview.report)


def _short(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= SHOWN else line[:SHOWN] + "…"


class _Bar:
    """A bar of bytes read, on a terminal."""

    def __enter__(self) -> _Bar:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[told]}", markup=False),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = None
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._bar.stop()

    def update(self, progress: Progress) -> None:
        """Show how far the run is."""
        told = (
            f"{human_size(progress.done_bytes)}, {progress.rows} rows, {progress.dropped} dropped"
        )
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task("", total=progress.total_bytes, told=told)
        self._bar.update(self._task, completed=progress.done_bytes, told=told)
