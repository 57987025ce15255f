"""`yangfan models`: what a server answers to, and what the catalogue and the store of this machine hold."""

from __future__ import annotations

import tomllib
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import msgspec
import typer

from yangfan import extensions
from yangfan.cli import model_versions
from yangfan.cli.connection import Connection, connected
from yangfan.cli.terminal import human_size, show_json, show_table
from yangfan.engines.base import Kind, ModelFacts
from yangfan.engines.choice import ENGINES, choose
from yangfan.errors import ConfigurationError, ModelNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from yangfan.hub.catalogue import CatalogueModel
    from yangfan.hub.store import StoredModel

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]
Store = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar=["YANGFAN_MODEL_STORE", "YANGFAN_HOME"],
        metavar="DIR",
        help="Folder of the platform / 平台数据目录",
    ),
]
DEFAULT_STORE = Path("~/.yangfan")


def models() -> None:
    """Which models answer, and which ones can be had. / 查看可用模型与模型目录。"""


@connected
def list_models(
    connection: Connection,
    of: Annotated[
        str | None,
        typer.Argument(metavar="[SET]", help="Versions of this set instead / 列出该模型集的版本"),
    ] = None,
    *,
    every: Annotated[
        bool, typer.Option("--all", help="Also Qianfan's own names / 包括全部千帆模型名")
    ] = False,
    sets: Annotated[
        bool, typer.Option("--sets", help="The registry's model sets instead / 列出模型集")
    ] = False,
    presets: Annotated[
        bool, typer.Option("--presets", help="The platform's own sets instead / 列出预置模型集")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """List the names that a server answers to, or what its registry keeps. / 列出可用模型名或模型仓库。"""
    with connection.client() as client:
        if of is not None:
            model_versions.list_versions(client, of, as_json=as_json)
            return
        if sets or presets:
            model_versions.list_sets(client, presets=presets, as_json=as_json)
            return
        found = client.models.list()
    own = [model for model in found if model.served_by in {None, model.id}]
    others = [model for model in found if model not in own]
    if as_json:
        show_json([*own, *others])
        return
    # The names that another model answers to are many and seldom what one looks for.
    shown = [*own, *others] if every else own
    show_table(("name", "served by"), [(model.id, model.served_by or "") for model in shown])
    if not every:
        for served_by, count in Counter(model.served_by for model in others).items():
            typer.echo(
                f"{served_by} also answers to {count} of Qianfan's names; --all lists them.",
                err=True,
            )


def catalogue(*, store: Store = DEFAULT_STORE, as_json: AsJSON = False) -> None:
    """List the models that `yangfan pull` knows, and which are here. / 列出模型目录及本地状态。"""
    cards = _cards(store, partial(_options_of, home=store))
    if as_json:
        show_json(cards)
        return
    show_table(
        ("name", "kind", "format", "size", "licence", "here"),
        [
            (
                card.name,
                card.kind,
                card.format,
                human_size(card.size_bytes),
                card.licence,
                "no" if card.path is None else "yes",
            )
            for card in cards
        ],
        {"yes": "green"},
    )


def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|PATH",
            help="Name in the catalogue; SET:VERSION, SET@label or amv-… of the server; a path with a slash / 模型名、版本或路径",
        ),
    ],
    *,
    store: Store = DEFAULT_STORE,
    as_json: AsJSON = False,
) -> None:
    """Show a model: licence, files, and which engine runs it here. / 查看模型的许可、文件与引擎。"""
    if model_versions.is_reference(name) and "/" not in name:
        with Connection().client() as client:
            model_versions.show_version(client, name, as_json=as_json)
        return
    if "/" in name:
        path = Path(name)
        own = path.name.lower() if path.is_dir() else path.stem.lower()
        card = _card_of_path(path, _options_of(own, store))
        if as_json:
            show_json(card)
        else:
            show_table(("", card.name), card.rows())
        return
    cards = {card.name: card for card in _cards(store, partial(_options_of, home=store))}
    if name not in cards:
        raise ModelNotFound(f"no model named {name!r}; there are: {', '.join(cards)}")
    card = msgspec.structs.replace(cards[name], program=_program(cards[name].engine, store))
    if as_json:
        show_json(card)
        return
    show_table(("", name), card.rows())


SUBCOMMANDS = {
    "list": list_models,
    "catalogue": catalogue,
    "show": show,
    "import": model_versions.import_model,
    "upload": model_versions.upload,
    "create-set": model_versions.create_set,
    "describe": model_versions.describe,
    "compress": model_versions.compress,
    "compressions": model_versions.compressions,
    "conf": model_versions.conf,
    "export": model_versions.export,
    "label": model_versions.label,
    "rm": model_versions.rm,
}


class File(msgspec.Struct, frozen=True):
    """A file of a model."""

    path: str
    sha256: str
    size_bytes: int


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known here of a model: what the store holds, or else what the catalogue promises.

    Attributes:
        name: Name to pull and serve it by.
        title: What to call it in front of people; empty if it is not in the catalogue.
        kind: chat, embeddings or rerank.
        format: How its weights are kept.
        licence: SPDX identifier, empty if unknown.
        size_bytes: All its files together.
        parameters: Number of weights; None if it is not in the catalogue.
        context_tokens: Longest input, prompt and answer together; None if it is not in the catalogue.
        sources: Where it came from, or can come from.
        files: Files with known content.
        path: What an engine opens; None if it is not here.
        engine: The engine file that runs it here; None if none can.
        engine_reason: Why that one, or why none.
        other_engines: Engines that read the format and were not taken, each with the reason.
        program: Which program of the engine runs it, "" if there is no choice.
        converted: Other forms of it that were made here, each with its size.
    """

    name: str
    title: str = ""
    kind: str
    format: str
    licence: str
    size_bytes: int
    parameters: int | None = None
    context_tokens: int | None = None
    sources: tuple[str, ...]
    files: tuple[File, ...]
    path: str | None = None
    engine: str | None
    engine_reason: str
    other_engines: tuple[str, ...] = ()
    program: str = ""
    converted: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, str]]:
        """Label and text of everything that is known, for a table."""
        rows = [
            ("title", self.title),
            ("kind", self.kind),
            ("format", self.format),
            ("licence", self.licence),
            ("size", human_size(self.size_bytes)),
            ("parameters", f"{self.parameters:,}" if self.parameters else ""),
            ("context tokens", f"{self.context_tokens:,}" if self.context_tokens else ""),
            *(("source", source) for source in self.sources),
            *(("sha256", f"{file.sha256} {file.path}") for file in self.files),
            ("path", self.path or "not here; `yangfan pull` fetches it"),
            ("engine", f"{self.engine or 'none'}: {self.engine_reason}"),
            ("program", self.program),
            *(("made here", line) for line in self.converted),
            *(("not taken", line) for line in self.other_engines),
        ]
        return [row for row in rows if row[1]]


def _cards(store: Path, options: Callable[[str], Mapping[str, Any]]) -> list[Card]:
    """Every model of the catalogue, then those that are only in the store; `options` tells what the settings say of one."""
    from yangfan.hub import catalogue as known
    from yangfan.hub.store import ModelStore

    stored = {model.name: model for model in ModelStore(store.expanduser().absolute()).list()}
    listed = {model.name: model for model in known.load().models}
    cards = [
        _card_of_listed(entry, stored.get(name), options(name)) for name, entry in listed.items()
    ]
    return cards + [
        _card_of_stored(here, options(name)) for name, here in stored.items() if name not in listed
    ]


def _card_of_listed(
    entry: CatalogueModel, here: StoredModel | None, options: Mapping[str, Any]
) -> Card:
    texts = entry.format == "safetensors" and entry.kind in {"embeddings", "rerank"}
    facts = ModelFacts(
        entry.format,
        entry.kind,
        size_bytes=entry.size_bytes,
        options=options,
        becomes="gguf" if texts else "",  # those of the catalogue are BERT
    )
    choice = choose(facts)
    promised = Card(
        name=entry.name,
        title=f"{entry.title.en} / {entry.title.zh}",
        kind=entry.kind,
        format=entry.format,
        licence=entry.licence,
        size_bytes=entry.size_bytes,
        parameters=entry.parameters,
        context_tokens=entry.context_tokens,
        sources=entry.sources,
        files=tuple(File(file.path, file.sha256, file.size_bytes) for file in entry.files),
        engine=choice.engine,
        engine_reason=choice.reason,
        other_engines=tuple(choice.others),
    )
    if here is None:
        return promised
    return msgspec.structs.replace(
        _card_of_stored(here, options),
        title=promised.title,
        parameters=entry.parameters,
        context_tokens=entry.context_tokens,
    )


def _card_of_path(given: Path, options: Mapping[str, Any]) -> Card:
    """A folder or a GGUF file that no store knows."""
    path = given.expanduser().absolute()
    if path.is_dir():
        facts = _facts_of_folder(path)
    elif path.is_file() and path.suffix == ".gguf":
        facts = ModelFacts("gguf", path=str(path), size_bytes=path.stat().st_size)
    else:
        raise ModelNotFound(f"no model at {path}; give a folder or a .gguf file")
    choice = choose(msgspec.structs.replace(facts, options=options))
    return Card(
        name=(path.name if path.is_dir() else path.stem).lower(),
        kind=facts.kind,
        format=facts.format,
        licence="",
        size_bytes=facts.size_bytes,
        sources=(),
        files=(),
        path=str(path),
        engine=choice.engine,
        engine_reason=choice.reason,
        other_engines=tuple(choice.others),
    )


def _card_of_stored(here: StoredModel, options: Mapping[str, Any]) -> Card:
    choice = choose(msgspec.structs.replace(_facts_of_stored(here), options=options))
    return Card(
        name=here.name,
        kind=here.kind,
        format=here.format,
        licence=here.manifest.licence,
        size_bytes=here.size_bytes,
        sources=(here.manifest.source,),
        files=tuple(File(file.path, file.sha256, file.size_bytes) for file in here.manifest.files),
        path=str(here.path),
        engine=choice.engine,
        engine_reason=choice.reason,
        other_engines=tuple(choice.others),
        converted=_converted(here),
    )


def _converted(here: StoredModel) -> tuple[str, ...]:
    """What lies beside the model: quantisations of it, or what an engine could not read as it was."""
    prefix = f"{here.manifest.digest}."
    return tuple(
        f"{file.name.removeprefix(prefix)} {human_size(file.stat().st_size)}"
        for file in sorted((here.folder.parent.parent / "converted").glob(f"{prefix}*"))
        if not file.name.endswith(".part")
    )


def _program(engine: str | None, home: Path) -> str:
    """Whether a build for this CPU runs, for engines that can be built."""
    if engine is None:
        return ""
    module = extensions.load(ENGINES, engine)
    if not hasattr(module, "native"):
        return ""
    built, reason = module.native(home.expanduser().absolute() / "engines" / engine)
    return reason if built else f"the wheel; {reason} for this CPU: yangfan engines build {engine}"


def _facts_of_folder(path: Path) -> ModelFacts:
    from yangfan.hub import folder

    kept, kind, architecture, size_bytes, becomes = folder.examine(path)
    return ModelFacts(kept, kind, architecture, str(path), size_bytes, becomes=becomes)


def _facts_of_stored(here: StoredModel) -> ModelFacts:
    if here.path.is_dir():
        with suppress(ConfigurationError):  # what is wrong with the files is told by who opens them
            return _facts_of_folder(here.path)
    kind = cast("Kind", here.kind)
    return ModelFacts(here.format, kind, path=str(here.path), size_bytes=here.size_bytes)


def _options_of(name: str, home: Path) -> dict[str, Any]:
    """What the settings file of the platform in `home` says of a model; nothing if there is none, or it cannot be read."""
    try:
        told = tomllib.loads((home.expanduser() / "yangfan.toml").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    everyone = {"python": told["vllm_python"]} if "vllm_python" in told else {}
    own = told.get("options", {})
    found = own.get(name, {}) if isinstance(own, dict) else {}  # pyright: ignore[reportUnknownVariableType,reportUnknownMemberType] - TOML
    return {**everyone, **found} if isinstance(found, dict) else everyone
