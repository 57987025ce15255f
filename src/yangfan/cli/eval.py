"""`yangfan eval`: evaluate models on datasets."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.following import follow
from yangfan.cli.terminal import printable, show_json, show_table
from yangfan.client.evaluations import (
    Evaluation,
    EvaluationReport,
    HumanScore,
    ScoredAnswer,
    paired,
)
from yangfan.errors import ConfigurationError

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]
EvalId = Annotated[str, typer.Argument(metavar="EVAL_ID", help="ame-…, see `list` / 评估 ID")]


def eval() -> None:
    """Evaluate models on datasets: run, show, compare, export. / 模型评估。"""


@connected
def run(
    connection: Connection,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="YAML, see the how-to / 评估配置", exists=True, dir_okay=False
        ),
    ],
    *,
    as_json: AsJSON = False,
) -> None:
    """Run the evaluation that a file describes; status 1 if it fails or misses its `require`. / 运行评估，未达标时退出码为 1。"""
    given = _read(file)
    with connection.client() as client:
        dataset = str(given.get("dataset") or "")
        local = file.parent / dataset
        if dataset and local.is_file():
            dataset = client.files.upload(local, "evals").id
        id = client.evaluations.create(
            str(given.get("name") or file.stem),
            dataset=dataset,
            models=given.get("models") or (),
            answers=given.get("answers") or (),
            scorers=given.get("scorers") or (),
            pairwise=given.get("pairwise"),
            dimensions=given.get("dimensions") or (),
            result_dataset=str(given.get("result_dataset") or ""),
        )
        typer.echo(id, err=True)
        follow(client, client.evaluations.get(id).job_id)
        found = client.evaluations.wait(id, poll_seconds=0.2)
        report = client.evaluations.report(id)
    if as_json:
        show_json(report)
    else:
        _show_units(found, apart_from="Done")
        _show(report)
    missed = _missed(report, given.get("require") or {})
    for line in missed:
        typer.echo(line, err=True)
    if missed or found.state not in {"Successed", "RunningWithManualBegin"}:
        if found.message:
            typer.echo(printable(found.message), err=True)
        raise typer.Exit(1)


@connected
def list_evaluations(connection: Connection, *, as_json: AsJSON = False) -> None:
    """List evaluations, the newest first. / 列出评估任务。"""
    with connection.client() as client:
        found = client.evaluations.list()
    if as_json:
        show_json(found)
        return
    show_table(
        ("id", "name", "state", "created"),
        [(each.id, printable(each.name), each.state, each.created) for each in found],
    )


@connected
def show(connection: Connection, eval_id: EvalId, *, as_json: AsJSON = False) -> None:
    """Show how far an evaluation is, and its figures. / 查看评估进度与报告。"""
    with connection.client() as client:
        found = client.evaluations.get(eval_id)
        report = client.evaluations.report(eval_id)
    if as_json:
        show_json(report)
        return
    typer.echo(f"{found.id}  {found.state}  {printable(found.name)}")
    _show_units(found)
    if report.models:
        _show(report)


@connected
def compare(
    connection: Connection,
    eval_id: EvalId,
    other_id: Annotated[str, typer.Argument(metavar="OTHER_ID", help="ame-… / 另一评估 ID")],
    *,
    as_json: AsJSON = False,
) -> None:
    """Compare two evaluations sample by sample. / 逐条比较两次评估。"""
    with connection.client() as client:
        pairs = paired(client.evaluations.results(eval_id), client.evaluations.results(other_id))
    if as_json:
        show_json([{"one": one, "other": other} for one, other in pairs])
        return
    rows: list[tuple[str, ...]] = []
    for label in dict.fromkeys(name for one, _ in pairs for name in one.scores):
        graded = [
            (a, b)
            for a, b in ((one.scores.get(label), other.scores.get(label)) for one, other in pairs)
            if a is not None and b is not None
        ]
        rows.append(
            (
                label,
                str(len(graded)),
                str(sum(b > a for a, b in graded)),
                str(sum(b < a for a, b in graded)),
                str(sum(b == a for a, b in graded)),
                str(len(pairs) - len(graded)),
            )
        )
    show_table(("score", "samples", "better", "worse", "equal", "ungradeable"), rows)


@connected
def score(  # noqa: PLR0913 - one parameter per option
    connection: Connection,
    eval_id: EvalId,
    answer: Annotated[
        str | None, typer.Argument(metavar="[ANSWER]", help="r-…, see `export` / 回答 ID")
    ] = None,
    value: Annotated[
        float | None, typer.Argument(metavar="[SCORE]", help="How good it is / 分数")
    ] = None,
    *,
    dimension: Annotated[
        str, typer.Option("--dimension", "-d", help="What is scored / 评分维度")
    ] = "满意度",
    scorer: Annotated[
        str, typer.Option("--scorer", help="Who says so, where there are several / 评分人")
    ] = "",
    comment: Annotated[str, typer.Option("--comment", help="Why / 理由")] = "",
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            help="JSON lines {answer, score, dimension, scorer, comment} / 评分文件",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    finish: Annotated[bool, typer.Option("--finish", help="People are through / 结束评分")] = False,
    impression: Annotated[
        str, typer.Option("--impression", help="What they say of it all / 总体印象")
    ] = "",
) -> None:
    """Enter people's scores of answers, one or a file of them. / 提交人工评分。"""
    scores = [] if file is None else _scores(file)
    if answer is not None:
        if value is None:
            raise ConfigurationError(f"give a score behind {answer}")
        scores.append(HumanScore(answer, value, dimension, scorer, comment))
    if not scores and not finish:
        raise ConfigurationError("give an answer and its score, a file with -f, or --finish")
    with connection.client() as client:
        for start in range(0, len(scores), 1000):
            client.evaluations.score(eval_id, scores[start : start + 1000])
        if finish:
            client.evaluations.finish(eval_id, impression=impression)
        report = client.evaluations.report(eval_id)
    typer.echo(f"{report.manual}: {report.scored}/{report.to_score}")


@connected
def export(
    connection: Connection,
    eval_id: EvalId,
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="report.html, .jsonl or .xlsx / 输出文件")
    ],
) -> None:
    """Write a report with all answers. / 导出报告。"""
    writer = _WRITERS.get(out.suffix)
    if writer is None:
        raise ConfigurationError(f"--out must end in {', '.join(_WRITERS)}, got {out.name!r}")
    with connection.client() as client:
        report = client.evaluations.report(eval_id)
        answers = client.evaluations.results(eval_id)
    try:
        writer(out, report, answers)
    except OSError as error:
        raise ConfigurationError(f"cannot write {out}: {error.strerror}") from None


SUBCOMMANDS = {
    "run": run,
    "list": list_evaluations,
    "show": show,
    "compare": compare,
    "score": score,
    "export": export,
}


def _read(file: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} is no YAML: {error}") from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{file} must be a mapping with dataset, models and scorers")
    given = cast("dict[str, Any]", found)
    for name in () if given.get("answers") else ("dataset", "models"):
        if not given.get(name):
            raise ConfigurationError(f"{file} lacks {name}; it has dataset, models and scorers")
    if not given.get("scorers") and not given.get("dimensions"):
        raise ConfigurationError(f"{file} lacks scorers, or dimensions that people score")
    return given


def _scores(file: Path) -> list[HumanScore]:
    found: list[HumanScore] = []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        if line.strip():
            try:
                found.append(msgspec.json.decode(line, type=HumanScore))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise ConfigurationError(
                    f"line {number} of {file} is no score {{answer, score}}: {error}"
                ) from None
    return found


def _missed(report: EvaluationReport, wanted: dict[str, Any]) -> list[str]:
    """What is below what the file requires: a figure's value, of every model."""
    missed: list[str] = []
    for label, least in wanted.items():
        for model in report.models:
            figure = model.figures.get(label)
            value = None if figure is None else figure.value
            if value is None or value < float(least):
                shown = "no grade" if value is None else f"{value:.4g}"
                missed.append(f"{model.name}: {label} is {shown}, at least {least} is required")
    return missed


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _show_units(found: Evaluation, *, apart_from: str = "") -> None:
    """How far each model is, what it waits for, and why one has no answers."""
    for each in found.models:
        if each.state != apart_from:
            told = f": {each.message}" if each.message else ""
            typer.echo(printable(f"{each.name}  {each.state}{told}"))


def _show(report: EvaluationReport) -> None:
    rows = [
        (
            printable(model.name),
            label,
            _figure(figure.value),
            f"{_figure(figure.low)} to {_figure(figure.high)}",
            str(figure.graded),
            str(sum(figure.ungradeable.values())),
        )
        for model in report.models
        for label, figure in model.figures.items()
    ]
    show_table(("model", "score", "value", "95 %", "graded", "ungradeable"), rows)
    for model, strength in report.strengths.items():
        typer.echo(f"{printable(model)}: strength {strength:+.3f}")


def _jsonl(out: Path, report: EvaluationReport, answers: tuple[ScoredAnswer, ...]) -> None:
    del report
    lines = [json.dumps(_plain(answer), ensure_ascii=False) for answer in answers]
    out.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def _plain(answer: ScoredAnswer) -> dict[str, Any]:
    names = ("id", "model", "name", "row_id", "prompt", "references", "answer", "error")
    return {
        **{name: getattr(answer, name) for name in names},
        "scores": dict(answer.scores),
        "reasons": dict(answer.reasons),
    }


def _xlsx(out: Path, report: EvaluationReport, answers: tuple[ScoredAnswer, ...]) -> None:
    try:
        import xlsxwriter  # pyright: ignore[reportMissingTypeStubs] - it has none
    except ImportError:
        raise ConfigurationError("xlsx needs xlsxwriter: pip install 'yangfan[data]'") from None
    labels = [*dict.fromkeys(label for answer in answers for label in answer.scores)]
    # Text is text: a cell that begins with "=" must never become a formula.
    options = {"strings_to_formulas": False, "strings_to_urls": False}
    workbook: Any = xlsxwriter.Workbook(str(out), options)
    with workbook as book:
        sheet = book.add_worksheet("figures")
        head = ("model", "score", "value", "low", "high", "graded", "ungradeable")
        sheet.write_row(0, 0, head)
        row = 0
        for model in report.models:
            for label, figure in model.figures.items():
                row += 1
                values = (figure.value, figure.low, figure.high)
                sheet.write_row(
                    row, 0, (model.name, label, *("" if v is None else v for v in values))
                )
                sheet.write_row(row, 5, (figure.graded, sum(figure.ungradeable.values())))
        sheet = book.add_worksheet("answers")
        sheet.write_row(0, 0, ("id", "model", "prompt", "expected", "answer", "error", *labels))
        for row, answer in enumerate(answers, 1):
            texts = (
                answer.id,
                answer.name or answer.model,
                answer.prompt,
                " / ".join(answer.references),
            )
            sheet.write_row(row, 0, (*texts, answer.answer[:32_000], answer.error))
            for place, label in enumerate(labels):
                value = answer.scores.get(label)
                shown = answer.reasons.get(label, "") if value is None else value
                sheet.write(row, 6 + place, shown)


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;color:#222}"
    "table{border-collapse:collapse;width:100%;margin:1rem 0}td,th{border:1px solid #ddd;padding:.3rem .5rem;"
    "text-align:left;vertical-align:top}td{white-space:pre-wrap;overflow-wrap:anywhere}.none{color:#a33}"
)


def _html(out: Path, report: EvaluationReport, answers: tuple[ScoredAnswer, ...]) -> None:
    """One page without anything from elsewhere: figures as bars with their intervals, then every answer."""
    labels = [*dict.fromkeys(label for model in report.models for label in model.figures)]
    parts = [
        f"<!doctype html><meta charset=utf-8><title>{_text(report.id)}</title><style>{_STYLE}</style>",
        f"<h1>{_text(report.id)}</h1><p>{report.samples} samples, {len(report.models)} models</p>",
    ]
    parts += [f"<h2>{_text(label)}</h2>{_chart(report, label)}" for label in labels]
    head = "".join(
        f"<th>{_text(name)}" for name in ("model", "prompt", "expected", "answer", *labels)
    )
    parts.append(f"<h2>Answers</h2><table><tr>{head}")
    for answer in answers:
        texts = (
            answer.name or answer.model,
            answer.prompt,
            " / ".join(answer.references),
            answer.answer,
        )
        cells = "".join(f"<td>{_text(text)}" for text in texts)
        for label in labels:
            value = answer.scores.get(label)
            reason = answer.reasons.get(label, "")
            if value is None:
                cells += f"<td class=none>ungradeable: {_text(reason)}"
            else:
                cells += f"<td title='{_text(reason)}'>{value:.4g}"
        parts.append(f"<tr>{cells}")
    parts.append("</table>")
    out.write_text("\n".join(parts), "utf-8")


def _chart(report: EvaluationReport, label: str) -> str:
    figures = [(model.name, model.figures[label]) for model in report.models]
    top = max((figure.high or figure.value or 0.0 for _, figure in figures), default=0.0) or 1.0
    bars: list[str] = []
    for place, (name, figure) in enumerate(figures):
        y = 28 * place
        bars.append(f"<text x=0 y={y + 17}>{_text(name[:28])}</text>")
        if figure.value is None:
            bars.append(f"<text x=230 y={y + 17} fill='#a33'>ungradeable</text>")
            continue
        width = max(0.0, 500 * figure.value / top)
        bars.append(f"<rect x=230 y={y + 5} width={width:.1f} height=16 fill='#5b8db8'/>")
        if figure.low is not None and figure.high is not None:
            ends = [230 + max(0.0, 500 * end / top) for end in (figure.low, figure.high)]
            bars.append(
                f"<path d='M{ends[0]:.1f} {y + 13}H{ends[1]:.1f}' stroke='#222' stroke-width=2 />"
            )
        bars.append(f"<text x=745 y={y + 17}>{figure.value:.4g}</text>")
    return f"<svg width=830 height={28 * len(figures)} font-size=14>{''.join(bars)}</svg>"


def _text(text: str) -> str:
    return html.escape(text, quote=True)


_WRITERS = {".html": _html, ".jsonl": _jsonl, ".xlsx": _xlsx}
