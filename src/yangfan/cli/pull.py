"""`yangfan pull`: bring a model onto this machine before it is needed, or see which ones there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from yangfan.cli.bars import Bars
from yangfan.cli.terminal import human_size, show_table
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from yangfan.hub.store import ModelStore


def pull(  # noqa: PLR0913 - each parameter is an option of the command
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|URI]",
            help="Name in the catalogue, or pypi: hf: modelscope: file: https: address / 目录中的名称或地址",
        ),
    ] = None,
    *,
    listed: Annotated[
        bool, typer.Option("--list", help="Show the catalogue / 列出模型目录")
    ] = False,
    home: Annotated[
        Path,
        typer.Option(
            envvar=["YANGFAN_MODEL_STORE", "YANGFAN_HOME"],
            help="Folder of the platform / 平台数据目录",
        ),
    ] = Path("~/.yangfan"),
    name: Annotated[
        str | None, typer.Option(help="Name to keep it under / 保存时使用的名称")
    ] = None,
    kind: Annotated[
        Literal["chat", "embeddings", "rerank"],
        typer.Option(
            help="chat, embeddings or rerank, for addresses / 模型类型，仅用于地址",
        ),
    ] = "chat",
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Read it all again and repair damage / 重新校验全部内容并修复"
        ),
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            envvar="YANGFAN_EGRESS_ALLOW",
            help="Private host or CIDR that may be fetched from / 允许访问的内网主机或网段",
        ),
    ] = None,
    proxy: Annotated[
        str | None, typer.Option(help="Proxy for hubs, http://host:port / 访问模型站的代理")
    ] = None,
    hf_endpoint: Annotated[
        str,
        typer.Option(envvar="HF_ENDPOINT", help="Hugging Face or a mirror / Hugging Face 镜像地址"),
    ] = "https://huggingface.co",
    hf_token: Annotated[
        str | None,
        typer.Option(envvar="HF_TOKEN", show_default=False, help="Hugging Face token / 访问令牌"),
    ] = None,
    modelscope_endpoint: Annotated[
        str, typer.Option(envvar="MODELSCOPE_ENDPOINT", help="ModelScope address / 魔搭地址")
    ] = "https://www.modelscope.cn",
) -> None:
    """Fetch a model / 下载模型."""
    import asyncio

    from yangfan.egress import Egress
    from yangfan.hub import pull as hub
    from yangfan.hub.sources.base import HubSettings
    from yangfan.hub.store import ModelStore

    store = ModelStore(home.expanduser().absolute())
    if listed:
        _show_catalogue(store)
        return
    if model is None:
        raise ConfigurationError(
            "name a model; --list shows which there are / 请给出模型名称，--list 列出可选模型"
        )
    with Bars() as bars:
        stored = asyncio.run(
            hub.pull(
                model,
                store=store,
                egress=Egress(allow=_entries(allow), proxy=proxy),
                progress=bars.update,
                name=name,
                kind=kind,
                verify=verify,
                settings=HubSettings(hf_endpoint, hf_token, modelscope_endpoint),
            )
        )
    typer.echo(f"{stored.name}: {stored.path}")


def _entries(allow: list[str] | None) -> list[str]:
    """Split comma-separated entries, the form that the environment variable has."""
    return [entry for text in allow or () for entry in text.split(",") if entry.strip()]


def _show_catalogue(store: ModelStore) -> None:
    """Write the catalogue, then what is here without being in it."""
    from yangfan.hub import catalogue

    here = {model.name: model for model in store.list()}
    rows: list[tuple[str, ...]] = []
    for model in catalogue.load().models:
        size = ("~" if model.approximate else "") + human_size(model.size_bytes)
        present = "yes" if here.pop(model.name, None) else "no"
        rows.append((model.name, model.kind, model.format, size, model.licence, present))
    for stored in here.values():
        size = human_size(stored.size_bytes)
        licence = stored.manifest.licence or "unknown"
        rows.append((stored.name, stored.kind, stored.format, size, licence, "yes"))
    show_table(("name", "kind", "format", "size", "licence", "present"), rows)
