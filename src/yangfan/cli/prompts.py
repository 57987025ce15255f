"""`yangfan prompts`: templates in versions, on the server and as files in git."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.following import follow
from yangfan.cli.terminal import printable, show_json, show_table
from yangfan.client import prompt_file
from yangfan.client.prompts import FRAMEWORKS, Framework, Optimization, Prompt, Scene
from yangfan.errors import ConfigurationError
from yangfan.protocol.templates import IDENTIFIERS, Identifier

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]
Reference = Annotated[
    str,
    typer.Argument(
        metavar="PROMPT", help="Id or name, alone or with @LABEL or @VERSION / 模板 ID 或名称"
    ),
]
Note = Annotated[str, typer.Option("--note", "-n", help="Why, for people / 版本说明")]
File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        "-f",
        help="Take the text from a file / 从文件读取模板",
        exists=True,
        dir_okay=False,
    ),
]
Delimiter = Annotated[
    str,
    typer.Option("--identifier", help=f"Around variables: {' '.join(IDENTIFIERS)} / 变量标识符"),
]
MAX_FILE_BYTES = 2_000_000


def prompts() -> None:
    """Prompt templates: versions, labels such as production, files for git. / 管理 Prompt 模板。"""


@connected
def list_prompts(
    connection: Connection,
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A part of the name / 名称片段")
    ] = "",
    *,
    preset: Annotated[
        bool | None,
        typer.Option(
            "--preset/--own", help="Only those of the platform, or only others / 预置或自建"
        ),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(help="Only those with this tag; may be repeated / 按标签筛选"),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """List templates. / 列出模板。"""
    with connection.client() as client:
        found = client.prompts.list(name, preset=preset, tags=tag or ())
    if as_json:
        show_json(found)
        return
    show_table(
        ("id", "name", "version", "variables", "tags"),
        [
            (
                item.id,
                item.name,
                str(item.version),
                ",".join(item.variables),
                ", ".join(tag.name for tag in item.tags),
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
    """Show a template's text, or its versions. / 查看模板内容或其版本。"""
    with connection.client() as client:
        if not versions:
            found = client.prompts.get(reference)
            if as_json:
                show_json(found)
                return
            typer.echo(printable(found.text))
            if found.negative_text:
                typer.echo(f"negative / 反向: {printable(found.negative_text)}")
            return
        listed = client.prompts.versions(reference)
    if as_json:
        show_json(listed)
        return
    show_table(
        ("version", "labels", "created", "note"),
        [
            (
                str(item.version),
                ",".join(item.labels),
                item.created_at.strftime("%Y-%m-%d %H:%M:%SZ"),
                item.note,
            )
            for item in listed
        ],
    )


@connected
def create(  # noqa: PLR0913 - one parameter per option
    connection: Connection,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called / 名称")],
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="The template, or -f / 模板内容")
    ] = None,
    *,
    file: File = None,
    identifier: Delimiter = "{}",
    image: Annotated[
        bool, typer.Option("--image", help="It describes a picture / 文生图模板")
    ] = False,
    negative: Annotated[str, typer.Option(help="What a picture is not to show / 反向模板")] = "",
    framework: Annotated[str, typer.Option(help=f"{', '.join(FRAMEWORKS)} / 框架")] = "none",
    tag: Annotated[
        list[str] | None, typer.Option(help="Tag; may be repeated / 标签，可多次给出")
    ] = None,
    note: Note = "",
) -> None:
    """Make a template and print its id. / 创建模板并输出其 ID。"""
    scene: Scene = "image" if image else "text"
    with connection.client() as client:
        made = client.prompts.create(
            name,
            _text(text, file),
            identifier=_identifier(identifier),
            scene=scene,
            framework=_framework(framework),
            negative_text=negative,
            tags=tag or (),
            note=note,
        )
    typer.echo(made.id)


@connected
def render(
    connection: Connection,
    reference: Reference,
    variables: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=VALUE]...", help="Values; NAME=@FILE reads one / 变量值"),
    ] = None,
    *,
    as_json: AsJSON = False,
) -> None:
    """Print a template's text with values for its variables. / 用变量值渲染模板。"""
    values = dict(_pair(text) for text in variables or ())
    with connection.client() as client:
        rendered = client.prompts.render(reference, values)
    if as_json:
        show_json(
            {
                "text": str(rendered),
                "negative_text": rendered.negative,
                "name": rendered.prompt.name,
                "version": rendered.prompt.version,
                "options": rendered.options,
            }
        )
        return
    typer.echo(printable(rendered))
    if rendered.negative:
        typer.echo(f"negative / 反向: {printable(rendered.negative)}", err=True)


@connected
def update(
    connection: Connection,
    reference: Reference,
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="New text, or -f / 新内容")
    ] = None,
    *,
    file: File = None,
    name: Annotated[str | None, typer.Option(help="New name / 新名称")] = None,
    identifier: Annotated[str | None, typer.Option(help="New delimiters / 新变量标识符")] = None,
    negative: Annotated[str | None, typer.Option(help="New negative text / 新反向模板")] = None,
    note: Note = "",
) -> None:
    """Change a template; a new text is a new version. / 更新模板，内容变化产生新版本。"""
    new = None if text is None and file is None else _text(text, file)
    with connection.client() as client:
        found = client.prompts.update(
            reference,
            text=new,
            name=name,
            identifier=None if identifier is None else _identifier(identifier),
            negative_text=negative,
            note=note,
        )
    typer.echo(
        f"{found.name} is at version {found.version}. / 当前版本 {found.version}。", err=True
    )


@connected
def label(
    connection: Connection,
    reference: Reference,
    name: Annotated[str, typer.Argument(metavar="LABEL", help="Such as production / 版本标签")],
    *,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take it away instead / 移除标签")
    ] = False,
) -> None:
    """Have a label point at the version that PROMPT means. / 让标签指向某个版本。"""
    with connection.client() as client:
        if remove:
            client.prompts.unlabel(reference, name)
            typer.echo(f"The label {name} is gone. / 已移除标签 {name}。", err=True)
            return
        version = client.prompts.label(reference, name)
    typer.echo(f"{name} is version {version}. / {name} 指向版本 {version}。", err=True)


@connected
def diff(
    connection: Connection,
    first: Annotated[str, typer.Argument(metavar="FIRST", help="Such as greet@1 / 版本一")],
    second: Annotated[
        str | None,
        typer.Argument(metavar="[SECOND]", help="Default: the newest version / 版本二，默认最新"),
    ] = None,
) -> None:
    """Show what changed from one version to another. / 比较两个版本。"""
    with connection.client() as client:
        other = second or first.rpartition("@")[0] or first
        changed = client.prompts.diff(first, other)
    if changed:
        typer.echo(printable(changed))


@connected
def rollback(
    connection: Connection,
    reference: Reference,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="Which one / 版本号", min=1)],
    *,
    note: Note = "",
) -> None:
    """Make a former version the newest again, as a copy. / 将历史版本复制为最新版本。"""
    with connection.client() as client:
        found = client.prompts.rollback(reference, version, note=note)
    typer.echo(
        f"{found.name} is at version {found.version}. / 当前版本 {found.version}。", err=True
    )


@connected
def optimize(  # noqa: PLR0913 - one parameter per option
    connection: Connection,
    reference: Annotated[
        str | None,
        typer.Argument(
            metavar="[PROMPT]", help="Id or name of a template; or use --file / 模板 ID 或名称"
        ),
    ] = None,
    *,
    file: File = None,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="Measure on a dataset version, or on a file of {prompt, response} lines / 用于度量的数据集版本或文件",
        ),
    ] = "",
    scorer: Annotated[
        str, typer.Option("--scorer", help="What is measured: exact, f1, rouge, … / 度量指标")
    ] = "f1",
    model: Annotated[str, typer.Option("--model", "-m", help="Who rewrites / 改写模型")] = "",
    task_model: Annotated[
        str, typer.Option("--task-model", help="Who answers; the same by default / 作答模型")
    ] = "",
    rounds: Annotated[
        int | None,
        typer.Option("--rounds", help="Changes that are tried / 迭代轮次", min=1, max=10),
    ] = None,
    budget: Annotated[
        int,
        typer.Option(
            "--budget", help="Most answers to ask for; 0: what the rounds need / 回答数上限", min=0
        ),
    ] = 0,
    seed: Annotated[
        int, typer.Option("--seed", help="The same seed, the same search / 随机种子", min=0)
    ] = 0,
    simplify: Annotated[bool, typer.Option("--simplify", help="Make it short / 精简")] = False,
    chain_of_thought: Annotated[
        bool, typer.Option("--chain-of-thought", help="Have it think step by step / 思维链")
    ] = False,
    save: Annotated[
        bool, typer.Option("--save", help="Keep the result as a new version / 保存为新版本")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Rewrite a prompt; with --data search for the one that scores best. / 优化 Prompt。"""
    if save and reference is None:
        raise ConfigurationError("--save needs a template's name; a file has no versions")
    with connection.client() as client:
        given = None if reference is None else client.prompts.get(reference)
        content = given.text if given is not None else _text(None, file)
        if data and Path(data).is_file():
            data = client.files.upload(Path(data), "evals").id
        found = client.prompts.optimize(
            content,
            simplify=simplify,
            chain_of_thought=chain_of_thought,
            rounds=rounds,
            model=model,
            dataset=data,
            scorer=scorer,
            task_model=task_model,
            budget=budget,
            seed=seed,
        )
        typer.echo(found.id, err=True)
        follow(client, found.job_id)
        found = client.prompts.wait_optimization(found.id, poll_seconds=0.2)
        if save and given is not None and found.state == "done" and found.optimized != given.text:
            note = "optimised on samples" if found.measured else "rewritten; nobody measured it"
            version = client.prompts.update(given.id, text=found.optimized, note=note).version
            typer.echo(f"{given.name} is at version {version}. / 当前版本 {version}。", err=True)
    if as_json:
        show_json(found)
    else:
        _show_search(found)
    if found.state != "done":
        typer.echo(printable(found.message or "it was stopped"), err=True)
        raise typer.Exit(1)


@connected
def rm(
    connection: Connection,
    references: Annotated[
        list[str], typer.Argument(metavar="PROMPT...", help="Ids or names / 模板 ID 或名称")
    ],
) -> None:
    """Delete templates with all their versions, all or none. / 删除模板及其所有版本。"""
    with connection.client() as client:
        client.prompts.delete(*references)
    typer.echo(f"Deleted: {len(references)}. / 已删除 {len(references)} 个。", err=True)


@connected
def export(
    connection: Connection,
    references: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROMPT]...", help="Which ones; all of your own by default / 默认所有自建模板"
        ),
    ] = None,
    *,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", "-d", help="Write a file each here; stdout by default / 输出目录"),
    ] = None,
) -> None:
    """Write templates as YAML, one file each. / 将模板导出为 YAML。"""
    with connection.client() as client:
        if references:
            found = [client.prompts.get(reference) for reference in references]
        else:
            found = list(client.prompts.list(preset=False))
    if folder is None:
        if len(found) > 1:
            raise ConfigurationError(
                f"{len(found)} templates do not go into one file; name one, or a folder with --dir"
            )
        for prompt in found:
            typer.echo(prompt_file.dumps(prompt), nl=False)
        return
    for path in _write(folder, found):
        typer.echo(str(path))


@connected
def import_files(
    connection: Connection,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="YAML files or folders of them; - is stdin / YAML 文件"
        ),
    ],
    *,
    point: Annotated[
        str | None,
        typer.Option("--label", help="Have this label point at what was read / 导入后设置标签"),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Make or change templates as YAML files say; what is the same makes no version. / 从 YAML 导入模板。"""
    read = [_read(path) for path in _paths(files)]
    with connection.client() as client:
        saved = [client.prompts.save(prompt) for prompt in read]
        if point is not None:
            for prompt in saved:
                client.prompts.label(prompt.id, point, version=prompt.version)
    if as_json:
        show_json(saved)
        return
    show_table(("name", "version"), [(prompt.name, str(prompt.version)) for prompt in saved])


SUBCOMMANDS = {
    "list": list_prompts,
    "show": show,
    "create": create,
    "render": render,
    "update": update,
    "label": label,
    "diff": diff,
    "rollback": rollback,
    "rm": rm,
    "optimize": optimize,
    "export": export,
    "import": import_files,
}


def _show_search(found: Optimization) -> None:
    """The search, and the prompt that came of it."""
    if found.measured:
        shown = [
            (
                str(place),
                "-" if tried.parent is None else str(tried.parent),
                tried.change or "given",
                "-" if tried.value is None else f"{tried.value:.4f}",
                "-"
                if tried.low is None or tried.high is None
                else f"{tried.low:.4f} to {tried.high:.4f}",
                "best" if tried.content == found.optimized else printable(tried.wrong),
            )
            for place, tried in enumerate(found.search)
        ]
        show_table(("prompt", "of", "change", "score", "95 %", ""), shown)
        typer.echo()
    elif found.state == "done":
        typer.echo("Nobody measured it: there were no samples. / 未使用样本度量。", err=True)
    if found.optimized:
        typer.echo(printable(found.optimized))


def _text(text: str | None, file: Path | None) -> str:
    if (text is None) == (file is None):
        raise ConfigurationError("give the text of the template, or a file with -f; one of the two")
    return text if text is not None else _contents(file or Path())


def _contents(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigurationError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from None


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigurationError(
            f"{text!r} is no NAME=VALUE; write the variable's name, =, and its value"
        )
    return name, _contents(Path(value[1:])) if value.startswith("@") else value


def _identifier(text: str) -> Identifier:
    for identifier in IDENTIFIERS:
        if text == identifier:
            return identifier
    raise ConfigurationError(f"--identifier must be one of {' '.join(IDENTIFIERS)}, got {text!r}")


def _framework(text: str) -> Framework:
    for framework in FRAMEWORKS:
        if text == framework:
            return framework
    raise ConfigurationError(f"--framework must be one of {', '.join(FRAMEWORKS)}, got {text!r}")


def _paths(files: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in files:
        if path.is_dir():
            found += sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
        else:
            found.append(path)
    if not found:
        raise ConfigurationError("there is no .yaml file in there")
    return found


def _read(path: Path) -> Prompt:
    if str(path) == "-":
        return prompt_file.loads(sys.stdin.read(prompt_file.MAX_FILE_BYTES), "stdin")
    return prompt_file.read(path)


def _write(folder: Path, found: list[Prompt]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for prompt in found:
        path = folder / prompt_file.file_name(prompt)
        if path in written:
            path = folder / f"{path.stem}-{prompt.id}.yaml"
        path.write_text(prompt_file.dumps(prompt), "utf-8")
        written.append(path)
    return written
