"""`yangfan tuning`: train models on datasets, follow that, publish what comes out."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.model_versions import parity_text
from yangfan.cli.terminal import printable, show_json, show_table
from yangfan.errors import ConfigurationError, Conflict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.client._sync.client import Client
    from yangfan.client.types import TuningMetric, TuningTask

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]
Id = Annotated[str, typer.Argument(metavar="TASK", help="See `tuning list` / 精调任务 ID")]
Watch = Annotated[
    bool, typer.Option("--watch", "-w", help="Follow it to its end / 持续跟踪直至结束")
]
_STYLES = {"Failed": "red", "Done": "green", "Running": "cyan", "Stopped": "yellow"}
_BARS = "▁▂▃▄▅▆▇█"
PLOT_ROWS, PLOT_COLUMNS = 8, 64


def tuning() -> None:
    """Train models on your data, follow it, publish the result. / 模型精调：训练、跟踪、发布。"""


@connected
def create(  # noqa: PLR0913 - what a run is made of, one option each
    connection: Connection,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="See `tuning models` / 基础模型")],
    datasets: Annotated[
        list[str],
        typer.Argument(
            metavar="DATASET...",
            help="Published versions, NAME:VERSION[=RATE] / 数据集版本[=采样率]",
        ),
    ],
    *,
    mode: Annotated[
        str, typer.Option(help="SFT, PostPretrain, DPO, KTO, RM, RFT / 训练方式")
    ] = "SFT",
    scale: Annotated[
        str | None, typer.Option(help="LoRA, FullFineTuning, PromptTuning / 训练参数范围")
    ] = None,
    name: Annotated[str, typer.Option(help="For people / 名称")] = "",
    description: Annotated[str, typer.Option(help="For people / 描述")] = "",
    split: Annotated[
        float, typer.Option(min=0, max=100, help="Percent to hold out / 验证集比例（%）")
    ] = 0,
    held_out: Annotated[
        list[str] | None, typer.Option("--eval", help="Hold out this dataset / 指定验证集")
    ] = None,
    hyper: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-p", metavar="KEY=VALUE", help="Hyper-parameter; repeatable / 超参数，可重复"
        ),
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="TASK", help="Go on from this run / 增量训练的基准任务")
    ] = None,
    after_step: Annotated[
        int | None, typer.Option(metavar="STEP", help="Its checkpoint / 基准检查点")
    ] = None,
    reward: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCORER[=JSON]",
            help="RFT: what an answer is worth; repeatable / 奖励规则，可重复",
        ),
    ] = None,
    reward_model: Annotated[
        str | None, typer.Option(metavar="TASK", help="RFT: a run of the mode RM / 奖励模型任务")
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(min=1, help="On so many machines / 使用的机器数")
    ] = None,
    watch: Watch = False,
    as_json: AsJSON = False,
) -> None:
    """Begin a run. / 创建并开始精调任务。"""
    with connection.client() as client:
        task = client.tuning.create(
            model,
            dict(map(_rated, datasets)),
            mode=mode,
            scale=scale,
            name=name,
            description=description,
            split_percent=split,
            eval_datasets=held_out or (),
            hyper_parameters=dict(map(_assigned, hyper or ())),
            after=after,
            after_step=after_step,
            rewards=rewards_told(reward or [], reward_model),
            nodes=nodes,
        )
        if watch:
            _follow(client, task.id, as_json=as_json)
        elif as_json:
            show_json(task)
        else:
            typer.echo(summary(task))


@connected
def list_tasks(
    connection: Connection,
    *,
    job: Annotated[str | None, typer.Option(help="Of this tuning job only / 指定作业")] = None,
    as_json: AsJSON = False,
) -> None:
    """List runs, the youngest first. / 列出精调任务，最新的在前。"""
    with connection.client() as client:
        found = client.tuning.list(job)
    if as_json:
        show_json(found)
        return
    show_table(
        ("task", "status", "mode", "scale", "model", "name", "created"),
        [
            (each.id, each.status, each.mode, each.scale, each.model, each.job_name, each.created)
            for each in found
        ],
        _STYLES,
    )


@connected
def show(connection: Connection, task: Id, *, as_json: AsJSON = False) -> None:
    """Show a run with its loss. / 查看精调任务与损失曲线。"""
    with connection.client() as client:
        found = client.tuning.get(task)
        metrics = client.tuning.metrics(task)
    if as_json:
        show_json(found)
        return
    rows = [
        ("task", found.id),
        ("status", found.status),
        ("error", found.error),
        ("job", f"{found.job_id}  {found.job_name}"),
        ("model", f"{found.model}  {found.base_id}"),
        ("training", f"{found.mode} {found.scale}"),
        ("progress", _progress(found)),
        *((name, value) for name, value in found.scores.items()),
        ("checkpoints", " ".join(map(str, found.checkpoints))),
        ("parameters", " ".join(f"{key}={value}" for key, value in found.hyper_parameters.items())),
        ("created", found.created),
        ("finished", found.finished or ""),
        ("published", " ".join(found.published_ids)),
        ("work", found.work_id),
    ]
    show_table(("", ""), [row for row in rows if row[1]], _STYLES)
    if sys.stdout.isatty():
        typer.echo(plot(_losses(metrics)))


@connected
def watch(connection: Connection, task: Id, *, as_json: AsJSON = False) -> None:
    """Follow a run: loss, learning rate, speed, time left; exit status 0 if it is done. / 实时跟踪精调任务。"""
    with connection.client() as client:
        _follow(client, task, as_json=as_json)


@connected
def stop(connection: Connection, task: Id) -> None:
    """Stop a run at its next step; it keeps a checkpoint. / 停止任务并保留检查点。"""
    with connection.client() as client:
        if not client.tuning.stop(task):
            raise Conflict(f"{task} does not run")


@connected
def resume(connection: Connection, task: Id, *, watch: Watch = False) -> None:
    """Let a stopped run go on. / 继续已停止的任务。"""
    with connection.client() as client:
        client.tuning.resume(task)
        if watch:
            _follow(client, task, as_json=False)


@connected
def rm(connection: Connection, task: Id) -> None:
    """Delete a run (or a job-… with all its runs) and its checkpoints. / 删除任务（或作业）及检查点。"""
    with connection.client() as client:
        if task.startswith("job-"):
            client.tuning.delete_job(task)
        else:
            client.tuning.delete(task)


@connected
def models(
    connection: Connection,
    name: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="Show its hyper-parameters / 查看该模型的超参数"),
    ] = None,
    *,
    as_json: AsJSON = False,
) -> None:
    """What can be tuned, and how. / 查看可精调的模型与超参数。"""
    with connection.client() as client:
        found = client.tuning.models()
    if name is not None:
        found = tuple(each for each in found if name in {each.name, each.version_id})
        if not found:
            raise ConfigurationError(f"no model {name!r} can be tuned; see `yangfan tuning models`")
    if as_json:
        show_json([_document(each) for each in found])
    elif name is None:
        show_table(
            ("model", "version", "architecture", "training"),
            [
                (
                    each.name,
                    each.version_id,
                    each.architecture,
                    " ".join(dict.fromkeys(mode for mode, _ in each.recipes)),
                )
                for each in found
            ],
        )
    else:
        show_table(
            ("training", "parameter", "default", "allowed", "meaning"),
            [
                (
                    f"{mode} {scale}",
                    each.key,
                    str(each.default),
                    (" to " if each.check == "range" else ", ").join(map(str, each.values)),
                    each.description,
                )
                for (mode, scale), parameters in found[0].recipes.items()
                for each in parameters
            ],
        )


@connected
def report(
    connection: Connection,
    task: Id,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write / 输出文件")
    ] = None,
) -> None:
    """Save a run's report, one HTML page. / 下载任务报告（HTML）。"""
    with connection.client() as client:
        page = client.tuning.report(task)
    path = out or Path(f"{task}.html")
    try:
        path.write_bytes(page)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None
    typer.echo(str(path))


@connected
def publish(  # noqa: PLR0913 - what a publication is made of, one option each
    connection: Connection,
    task: Id,
    model_set: Annotated[
        str, typer.Argument(metavar="SET", help="Model set that gets it / 目标模型集")
    ],
    *,
    step: Annotated[int | None, typer.Option(help="Checkpoint / 检查点步数")] = None,
    description: Annotated[str, typer.Option(help="For people / 描述")] = "",
    weights: Annotated[
        Literal["gguf", "safetensors", "adapter"] | None,
        typer.Option("--format", help="Of weights; adapter keeps LoRA beside its base / 格式"),
    ] = None,
    quantization: Annotated[
        Literal["Q8_0", "Q4_K_M"] | None, typer.Option(help="Make it smaller / 量化")
    ] = None,
    deploy: Annotated[
        str | None,
        typer.Option("--deploy", metavar="SUFFIX", help="And serve it as SUFFIX / 并部署为服务"),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Serve it even if its parity gate failed / 忽略一致性检查"),
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Make a run a model version, and serve it. / 将任务发布为模型版本并部署。"""
    with connection.client() as client:
        version = client.tuning.publish(
            task,
            model_set,
            step=step,
            description=description,
            format=weights,
            quantization=quantization,
        )
        if not as_json:
            typer.echo(f"{version.name}  {version.id}  {version.status}")
            if version.parity:
                typer.echo(f"parity  {printable(parity_text(version.parity))}")
        if deploy is not None:
            made = client.services.create(
                version.id, deploy, engine_options={"force": True} if force else None
            )
            serving = client.services.wait(made.id)
            if not as_json:
                typer.echo(f"{serving.suffix}  {serving.id}  {serving.status}")
        if as_json:
            show_json(version)


def rewards_told(rules: Sequence[str], model: str | None) -> dict[str, Any] | None:
    """What answers are worth: rules such as ``exact`` or ``regex={"pattern": "yes"}``, and a reward model."""
    told: dict[str, Any] = {}
    for rule in rules:
        scorer, equals, text = rule.partition("=")
        try:
            parameters = msgspec.json.decode(text, type=dict[str, Any]) if equals else {}
        except msgspec.DecodeError as error:
            raise ConfigurationError(
                f'--reward {rule}: write the arguments as JSON, such as regex={{"pattern": "yes"}} ({error})'
            ) from None
        told.setdefault("rules", []).append({"scorer": scorer, "parameters": parameters})
    if model is not None:
        told["taskId"] = model
    return told or None


def summary(task: TuningTask) -> str:
    """A run in one line."""
    parts = [task.id, task.status or "New", _progress(task)]
    if task.last is not None and task.status == "Running":
        parts += _figures(task.last)
    if task.error:
        parts.append(" ".join(task.error.split()))
    return printable("  ".join(filter(None, parts)))


def plot(values: Sequence[float]) -> str:
    """A curve in characters, with its greatest and least value beside it; "" for fewer than two values."""
    if len(values) < 2:
        return ""
    columns = _columns(values, PLOT_COLUMNS)
    least, most = min(columns), max(columns)
    span = (most - least) or 1.0
    heights = [round((value - least) / span * (PLOT_ROWS * 8 - 1)) + 1 for value in columns]
    lines: list[str] = []
    for row in reversed(range(PLOT_ROWS)):
        bars = [min(8, max(0, height - row * 8)) for height in heights]
        label = {PLOT_ROWS - 1: f"{most:.4g}", 0: f"{least:.4g}"}.get(row, "")
        lines.append(f"{label:>9} │" + "".join(_BARS[bar - 1] if bar else " " for bar in bars))
    return "\n".join(lines)


def _columns(values: Sequence[float], count: int) -> list[float]:
    """At most so many values: the mean of those that share a column."""
    if len(values) <= count:
        return [*values]
    edges = [len(values) * number // count for number in range(count + 1)]
    return [sum(values[begin:end]) / (end - begin) for begin, end in itertools.pairwise(edges)]


def _losses(metrics: Sequence[TuningMetric]) -> list[float]:
    return [each.loss for each in metrics if each.loss is not None]


def _follow(client: Client, task: str, *, as_json: bool) -> None:
    """Show a run until it has ended; ends the command with status 0 if it is done."""
    last: TuningTask | None = None
    if sys.stdout.isatty() and not as_json:
        last = _draw(client, task)
    else:
        shown = ""
        for last in client.tuning.watch(task):
            line = msgspec.json.encode(last).decode() if as_json else summary(last)
            if line != shown:
                typer.echo(line)
                shown = line
    assert last is not None, "a watch begins with the run as it is"
    if not as_json:
        for name, value in last.scores.items():
            typer.echo(f"{name}  {value}")
    raise typer.Exit(0 if last.status == "Done" else 1)


def _draw(client: Client, task: str) -> TuningTask | None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    losses = {each.step: each.loss for each in client.tuning.metrics(task)}
    last: TuningTask | None = None
    with Live(refresh_per_second=4) as live:
        for last in client.tuning.watch(task):
            if last.last is not None:
                losses[last.last.step] = last.last.loss
            curve = [loss for _, loss in sorted(losses.items()) if loss is not None]
            live.update(Group(Text(plot(curve)), Text(summary(last))))
    return last


def _progress(task: TuningTask) -> str:
    if not task.total_steps:
        return task.note
    text = f"{task.percent} %  step {task.step}/{task.total_steps}"
    if task.eta_seconds is not None:
        minutes, seconds = divmod(task.eta_seconds, 60)
        text += f"  {minutes}:{seconds:02} left"
    return text


def _figures(last: TuningMetric) -> list[str]:
    told = [
        ("loss", last.loss, ".4f"),
        ("eval", last.eval_loss, ".4f"),
        ("lr", last.learning_rate, ".3g"),
        ("tokens/s", last.tokens_per_second, ".0f"),
    ]
    return [f"{name} {value:{form}}" for name, value, form in told if value is not None]


def _document(model: Any) -> dict[str, Any]:
    """A model for `--json`, whose keys cannot be pairs."""
    found: dict[str, Any] = {"name": model.name, "version_id": model.version_id}
    found["architecture"] = model.architecture
    found["recipes"] = [
        {"mode": mode, "scale": scale, "parameters": parameters}
        for (mode, scale), parameters in model.recipes.items()
    ]
    return found


def _rated(text: str) -> tuple[str, float]:
    name, sign, rate = text.partition("=")
    try:
        return name, float(rate) if sign else 1.0
    except ValueError:
        raise ConfigurationError(
            f"{text!r}: behind = stands how often each row is taken, such as 0.5"
        ) from None


def _assigned(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not sign:
        raise ConfigurationError(f"{text!r} must be KEY=VALUE, such as epoch=5")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


SUBCOMMANDS = {
    "models": models,
    "create": create,
    "list": list_tasks,
    "show": show,
    "watch": watch,
    "stop": stop,
    "resume": resume,
    "rm": rm,
    "report": report,
    "publish": publish,
}
