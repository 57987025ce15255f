"""`yangfan models …` for what a server's registry keeps: import, compress, export, label and remove model versions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.following import end_status, follow, summary
from yangfan.cli.terminal import human_size, show_json, show_table
from yangfan.errors import ConfigurationError, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.client._sync.client import Client
    from yangfan.client.types import ModelSet, ModelVersion, WorkProgress

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]
Watch = Annotated[
    bool, typer.Option("--watch", "-w", help="Wait and show how far it is / 等待并显示进度")
]
Reference = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="SET:VERSION, SET@label, SET or amv-… / 模型版本：集:版本、集@标签等"
    ),
]
Application = Literal[
    "chat", "completion", "embedding", "reranker", "Text-to-Image", "Image-to-Text"
]
STYLES = {"Ready": "green", "Creating": "yellow", "Fail": "red"}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", None})
_UNUSABLE = re.compile(r"[^\w.-]+")


@connected
def import_model(  # noqa: PLR0913 - what an import is made of, one option each
    connection: Connection,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder, file or archive, or hf: modelscope: s3: pypi: https: / 本地路径或地址",
        ),
    ],
    *,
    into: Annotated[
        str | None,
        typer.Option("--set", metavar="SET", help="Model set; made if missing / 模型集，缺则新建"),
    ] = None,
    application: Annotated[
        Application | None, typer.Option(help="What it is for; else read from it / 应用类型")
    ] = None,
    form: Annotated[
        Literal["HuggingFace.Transformers", "Safetensors", "GGUF"] | None,
        typer.Option("--format", help="Nothing else will do / 要求的模型格式"),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit / 分支、标签或提交")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="What a LoRA adapter changes / LoRA 适配器的基础模型"),
    ] = None,
    description: Annotated[str, typer.Option(help="For people / 描述")] = "",
    upload: Annotated[
        bool | None,
        typer.Option(
            help="Send the files; by default where the server is another machine / 上传文件"
        ),
    ] = None,
    watch: Watch = False,
    as_json: AsJSON = False,
) -> None:
    """Import a model version into the registry. / 导入模型版本。"""
    with connection.client() as client:
        name = into or _set_name(source)
        _ensure_set(client, name, application)
        place = _place(client, connection, source, upload=upload)
        made = client.models.import_(
            name,
            place,
            application=application,
            format=form,
            revision=revision,
            base=base,
            description=description,
        )
        _tell(client, made, watch=watch, as_json=as_json)


@connected
def compress(
    connection: Connection,
    model: Reference,
    *,
    weight: Annotated[
        Literal["INT8-PTQ", "W8A16C16", "W4A16C16"],
        typer.Option(help="8 bits a weight, or 4 / 权重位数"),
    ] = "W4A16C16",
    into: Annotated[
        str | None, typer.Option("--set", metavar="SET", help="Another model set / 目标模型集")
    ] = None,
    watch: Watch = False,
    as_json: AsJSON = False,
) -> None:
    """Make a smaller version of a model version. / 压缩模型版本。"""
    with connection.client() as client:
        task = client.models.compress(model, weight=weight, set=into, name=f"{weight} of {model}")
        if not watch:
            _show_one(task, f"{task.id}: makes {task.version_id}, job {task.job_id}", as_json)
            return
        ended = follow(client, task.job_id)
        if end_status(ended):
            typer.echo(summary(ended), err=True)
            raise typer.Exit(1)
        task = client.models.compression(task.id)
        before, after = task.size_before_bytes or 0, task.size_after_bytes or 0
        lines = f"{task.version_id}: {human_size(before)} -> {human_size(after)}"
        if task.perplexity_before is not None and task.perplexity_after is not None:
            lines += f", perplexity {task.perplexity_before:.2f} -> {task.perplexity_after:.2f}"
        _show_one(task, lines, as_json)


@connected
def compressions(
    connection: Connection,
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Of this version / 只看该版本")
    ] = None,
    *,
    cancel: Annotated[
        str | None, typer.Option(metavar="ID", help="Stop this one / 停止压缩任务")
    ] = None,
    delete: Annotated[
        str | None, typer.Option(metavar="ID", help="Forget this one / 删除压缩任务")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """List compressions, stop one or forget one. / 管理压缩任务。"""
    with connection.client() as client:
        if cancel is not None:
            client.models.cancel_compression(cancel)
        if delete is not None:
            client.models.delete_compression(delete)
        if cancel is not None or delete is not None:
            return
        source = None if model is None else client.models.version(model).id
        found = client.models.compressions(source)
    if as_json:
        show_json(found)
        return
    show_table(
        ("compression", "name", "status", "of", "makes", "job"),
        [(t.id, t.name, t.status, t.source_id, t.version_id, t.job_id) for t in found],
    )


@connected
def upload(
    connection: Connection,
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH|UPLOAD", help="File or folder to send; or upload:… to show / 文件或上传"
        ),
    ],
    *,
    delete: Annotated[bool, typer.Option("--delete", help="Throw it away / 删除上传")] = False,
    as_json: AsJSON = False,
) -> None:
    """Send files for an import, see what arrived, or throw it away. / 上传模型文件。"""
    with connection.client() as client:
        if not path.startswith("upload:"):
            if delete:
                raise ConfigurationError("--delete throws an upload away; name it, upload:…")
            path = _send(client, Path(path))
            _show_one({"source": path}, path, as_json)
        elif delete:
            client.models.delete_upload(path)
        else:
            files = client.models.get_upload(path)
            if as_json:
                show_json(files)
            else:
                show_table(
                    ("file", "size"), [(name, human_size(size)) for name, size in files.items()]
                )


@connected
def create_set(
    connection: Connection,
    name: Annotated[str, typer.Argument(metavar="SET", help="Its name / 模型集名称")],
    *,
    of: Annotated[
        Literal["Text2Text", "Text2Image", "TextRepresentation", "ImageUnderstanding", "Industry"],
        typer.Option("--type", help="What its models are for / 模型类型"),
    ] = "Text2Text",
    tag: Annotated[list[str] | None, typer.Option(help="To find it by; repeatable / 标签")] = None,
    description: Annotated[str, typer.Option(help="For people / 描述")] = "",
    as_json: AsJSON = False,
) -> None:
    """Make an empty model set; an import makes one by itself. / 创建模型集。"""
    with connection.client() as client:
        made = client.models.create_set(name, of, tags=tag or (), description=description)
        _show_one(made, f"{made.name}: {made.id}", as_json)


@connected
def describe(
    connection: Connection,
    model: Reference,
    description: Annotated[str, typer.Argument(metavar="TEXT", help="For people / 描述")],
) -> None:
    """Say something else about a model version. / 修改模型版本描述。"""
    with connection.client() as client:
        client.models.describe(model, description)


@connected
def conf(
    connection: Connection,
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="What its import said / 该版本的配置")
    ] = None,
    *,
    application: Annotated[
        Application, typer.Option(help="What models are for / 应用类型")
    ] = "chat",
    form: Annotated[
        Literal["HuggingFace.Transformers", "Safetensors", "GGUF"],
        typer.Option("--format", help="How they are kept / 模型格式"),
    ] = "HuggingFace.Transformers",
) -> None:
    """Print what a server runs models with, or what was said when one was imported, as JSON. / 查看运行环境或导入配置。"""
    with connection.client() as client:
        if model is None:
            show_json(client.models.advanced_conf(application, form))
        else:
            show_json(client.models.custom_conf(client.models.version(model).id))


@connected
def export(
    connection: Connection,
    model: Reference,
    *,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Fetch it as this zip file / 下载为 zip 文件"),
    ] = None,
    form: Annotated[
        Literal["zip", "folder", "s3"], typer.Option(help="What to write / 导出形式")
    ] = "zip",
    target: Annotated[
        str, typer.Option(help="Name on the server, or s3:BUCKET/PATH / 服务器上的名称或桶路径")
    ] = "",
    watch: Watch = False,
    as_json: AsJSON = False,
) -> None:
    """Write a model version's files somewhere else. / 导出模型版本。"""
    if to is not None and form != "zip":
        raise ConfigurationError("--to fetches zip files only; leave --form out")
    with connection.client() as client:
        begun = client.models.export(model, form=form, target=target)
        if not watch and to is None:
            _show_one(begun, f"{begun.id}: job {begun.job_id}", as_json)
            return
        ended = follow(client, begun.job_id)
        if end_status(ended):
            typer.echo(summary(ended), err=True)
            raise typer.Exit(1)
        done = client.models.last_export(begun.version_id)
        place = done.location if to is None else str(client.models.download(done, to))
        _show_one(done, f"{place} {human_size(done.size_bytes)}", as_json)


@connected
def rm(
    connection: Connection,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="SET:VERSION or amv-…; or a set with --all / 模型版本"
        ),
    ],
    *,
    every: Annotated[
        bool, typer.Option("--all", help="The whole set, with all versions / 删除整个模型集")
    ] = False,
) -> None:
    """Remove a model version, or a whole set. / 删除模型版本或模型集。"""
    with connection.client() as client:
        if every:
            client.models.delete_set(model)
        elif ":" in model or model.startswith("amv-"):
            client.models.delete(model)
        else:
            raise ConfigurationError(
                f"say which version, such as {model}:1, or add --all to remove the whole set {model}"
            )
    typer.echo(f"{model} is removed. / 已删除。", err=True)


@connected
def label(
    connection: Connection,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="SET to list its labels; else a version / 模型")
    ],
    name: Annotated[
        str | None, typer.Argument(metavar="[LABEL]", help="Such as production / 标签")
    ] = None,
    *,
    delete: Annotated[bool, typer.Option("--delete", help="Forget it / 删除标签")] = False,
    as_json: AsJSON = False,
) -> None:
    """Have a label point to a version, forget one, or list a set's. / 管理模型版本标签。"""
    with connection.client() as client:
        if name is None:
            found = client.models.get_set(model).version_labels
            if as_json:
                show_json(found)
            else:
                show_table(("label", "version"), list(found.items()))
        elif delete:
            client.models.delete_label(model.partition(":")[0], name)
        else:
            version = client.models.version(model)
            client.models.set_label(version.set_id, name, version.id)
            typer.echo(f"{version.name} is {name} now. / 标签已更新。", err=True)


def list_sets(client: Client, *, presets: bool, as_json: bool) -> None:
    """Show the sets of a registry."""
    found = client.models.sets(presets=presets)
    if as_json:
        show_json(found)
        return
    show_table(
        ("set", "id", "type", "versions"),
        [(each.name, each.id, each.type, str(len(each.version_ids))) for each in found],
    )


def list_versions(client: Client, name: str, *, as_json: bool) -> None:
    """Show the versions of a set."""
    found = client.models.versions(name)
    if as_json:
        show_json(found)
        return
    show_table(
        ("version", "id", "status", "from", "format", "size", "labels"),
        [
            (
                each.name,
                each.id,
                each.status,
                each.source_type,
                each.format,
                human_size(each.size_bytes),
                " ".join(each.labels),
            )
            for each in found
        ],
        STYLES,
    )


def show_version(client: Client, reference: str, *, as_json: bool) -> None:
    """Show everything about a version."""
    version = client.models.version(reference)
    if as_json:
        show_json(version)
        return
    rows = [
        ("id", version.id),
        ("status", version.status),
        ("error", version.error),
        ("labels", " ".join(version.labels)),
        ("description", version.description),
        ("for", version.application),
        ("format", version.format),
        ("architecture", version.architecture),
        ("quantization", version.quantization),
        ("parameters", f"{version.parameters:,}" if version.parameters else ""),
        ("context tokens", f"{version.context_tokens:,}" if version.context_tokens else ""),
        ("licence", version.licence),
        ("chat template", "its own" if version.chat_template else "none"),
        ("size", human_size(version.size_bytes)),
        ("memory", f"about {human_size(version.memory_bytes)} a replica"),
        ("from", f"{version.source_type} {version.source}"),
        ("revision", version.revision),
        ("made from", version.parent_id),
        ("trained by", version.trained_by),
        ("parity", parity_text(version.parity)),
        *(("made of it", child) for child in version.derived_ids),
        *(("sha256", f"{file.sha256} {file.path}") for file in version.files),
        ("job", version.job_id),
    ]
    show_table(("", version.name), [row for row in rows if row[1]], STYLES)


def parity_text(parity: Mapping[str, Any] | None) -> str:
    """How near what is served is to what was trained, in words; "" where nobody measured."""
    if not parity:
        return ""
    return ("passed: " if parity.get("passed") else "FAILED: ") + str(parity.get("reason", ""))


def is_reference(name: str) -> bool:
    """Whether a name can only mean a version of a registry."""
    return name.startswith("amv-") or ":" in name or "@" in name


def _tell(client: Client, made: ModelVersion, *, watch: bool, as_json: bool) -> None:
    """What came of an import, at once or at its end."""
    if watch and made.job_id:
        ended = follow(client, made.job_id)
        made = client.models.version(made.id)
        if end_status(ended):
            typer.echo(summary(ended), err=True)
    line = f"{made.name}: {made.id}, {made.status}"
    if made.status == "Creating":
        line += f", job {made.job_id}"
    _show_one(made, line, as_json)
    if made.status == "Fail":
        raise typer.Exit(1)


def _show_one(value: object, line: str, as_json: bool) -> None:
    if as_json:
        show_json(value)
    else:
        typer.echo(line)


def _set_name(source: str) -> str:
    """A set's name from where a model comes from: the last part of the address, without endings."""
    last = re.split(r"[/:]", source.partition("#")[0].rstrip("/"))[-1].partition("@")[0]
    for ending in (".gguf", ".zip", ".tar.gz", ".tgz", ".tar", ".safetensors"):
        last = last.removesuffix(ending)
    name = _UNUSABLE.sub("-", last).strip("-._")[:64]
    if not name:
        raise ConfigurationError(f"{source!r} tells no name; say one with --set")
    return name


def _ensure_set(client: Client, name: str, application: str | None) -> ModelSet:
    types = {
        "embedding": "TextRepresentation",
        "reranker": "TextRepresentation",
        "Text-to-Image": "Text2Image",
        "Image-to-Text": "ImageUnderstanding",
    }
    try:
        return client.models.get_set(name)
    except NotFound:
        wanted = types.get(application or "", "Text2Text")
        return client.models.create_set(name, wanted)  # pyright: ignore[reportArgumentType] - one of the four


def _place(client: Client, connection: Connection, source: str, *, upload: bool | None) -> str:
    """What the server imports from: the address, a path of its own, or what was sent to it."""
    path = Path(source).expanduser()
    if re.match(r"[a-z][a-z0-9_]+:", source) or not path.exists():
        return source
    if upload is None:
        upload = urlsplit(connection.settings().v2_url).hostname not in _LOOPBACK
    if not upload:
        return str(path.absolute())
    return _send(client, path)


def _send(client: Client, path: Path) -> str:
    """Send files and say how far that is."""
    shown = ""

    def told(now: WorkProgress) -> None:
        nonlocal shown
        line = f"{now.note}: {100 * now.done / (now.total or 1):.0f} %"
        if line != shown:
            typer.echo(line, err=True)
            shown = line

    return client.models.upload(path, progress=told)
