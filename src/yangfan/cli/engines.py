"""`yangfan engines`: which inference engines there are, which can run here, and faster ones built for this CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from yangfan import extensions
from yangfan.cli.terminal import printable, show_json, show_table
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from types import ModuleType

    from yangfan.hub.progress import Progress

ENGINES = "yangfan.engines"

Home = Annotated[
    Path,
    typer.Option(
        envvar="YANGFAN_HOME", metavar="DIR", help="Folder of the platform / 平台数据目录"
    ),
]
DEFAULT_HOME = Path("~/.yangfan")
MEASURED_WITH = "smollm2-135m-instruct"


class EngineCard(msgspec.Struct, frozen=True):
    """One engine.

    Attributes:
        name: As settings write it.
        installed: Whether it can run here.
        install: What to do if it cannot, else "".
        formats: Model formats that it reads.
        purpose: What it is, in one line.
        build: State of its build for this CPU; "" if it has none to make.
    """

    name: str
    installed: bool
    install: str
    formats: tuple[str, ...]
    purpose: str
    build: str = ""


def engines() -> None:
    """Inference engines: which can run here, and builds for this CPU. / 推理引擎：可用状态与本机编译。"""


def list_engines(
    *,
    home: Home = DEFAULT_HOME,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")] = False,
) -> None:
    """List the engines, and what to do for those that cannot run here. / 列出引擎及安装方法。"""
    cards = [_card(name, home) for name in extensions.names(ENGINES)]
    if as_json:
        show_json(cards)
        return
    show_table(
        ("name", "here", "formats", "build for this CPU", "what it is"),
        [
            (
                card.name,
                "installed" if card.installed else f"missing: {card.install}",
                " ".join(card.formats),
                card.build,
                card.purpose,
            )
            for card in cards
        ],
        {"installed": "green"},
    )


def build(
    engine: Annotated[str, typer.Argument(metavar="ENGINE", help="llama_cpp")],
    *,
    home: Home = DEFAULT_HOME,
    force: Annotated[
        bool, typer.Option("--force", help="Build again / 即使已有也重新编译")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Compilers at once, default one a CPU / 并行编译数")
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            envvar="YANGFAN_MODEL_STORE",
            metavar="DIR",
            help="Folder of models, the platform's by default / 模型目录",
        ),
    ] = None,
) -> None:
    """Build an engine for this CPU: faster than its wheel; minutes, with cmake and a C++ compiler. / 为本机 CPU 编译引擎。"""
    import asyncio

    module = extensions.load(ENGINES, engine)
    if not hasattr(module, "build"):
        able = [
            name
            for name in extensions.names(ENGINES)
            if hasattr(extensions.load(ENGINES, name), "build")
        ]
        raise ConfigurationError(
            f"the engine {engine} has nothing to build; engines that have: {', '.join(able)}"
        )
    builds = home.expanduser().absolute() / "engines" / engine
    built, _ = module.native(builds)
    if built and not force:
        typer.echo(f"{engine} is built for this CPU already; --force builds it again", err=True)
        _compare(module, engine, builds, store or home)
        return
    try:
        folder = asyncio.run(_build(module, builds, force=force, jobs=jobs))
    except KeyboardInterrupt:
        typer.echo("stopped; nothing was changed", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"{engine}: {folder}")
    _compare(module, engine, builds, store or home)


SUBCOMMANDS = {"list": list_engines, "build": build}


def _compare(module: ModuleType, engine: str, builds: Path, store: Path) -> None:
    """Measure the build beside the wheel, with the embedded model if that is here."""
    import asyncio
    import tempfile

    from yangfan.hub.store import ModelStore

    model = ModelStore(store.expanduser().absolute()).get(MEASURED_WITH)
    if model is None or module.missing() is not None:
        typer.echo(
            f"not measured beside the wheel, which needs {MEASURED_WITH} here: yangfan pull {MEASURED_WITH}",
            err=True,
        )
        return
    typer.echo("measuring it beside the wheel / 与预编译版对比测速 …", err=True)
    with tempfile.TemporaryDirectory() as folder:
        ratio = asyncio.run(module.compare(model.path, builds, Path(folder)))
    taken = "it is taken" if ratio >= 1 else "the wheel is taken"
    typer.echo(f"{engine}: {ratio:.2f} times as fast as the wheel; {taken} where program is auto")


async def _build(module: ModuleType, builds: Path, *, force: bool, jobs: int | None) -> Path:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    from yangfan.hub import package

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Bar(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("downloading the sources", total=None)

        def downloaded(progress: Progress) -> None:
            bar.update(task, description=f"downloading {printable(progress.file)}")

        def compiled(stage: str, done: int, total: int) -> None:
            bar.update(task, description=stage, completed=done, total=total)

        async def unpack(folder: Path) -> None:
            await package.unpack(module.SOURCE_ADDRESS, folder, module.is_source, downloaded)

        path: Path = await module.build(unpack, builds, jobs=jobs, force=force, report=compiled)
        return path


def _card(name: str, home: Path) -> EngineCard:
    try:
        module = extensions.load(ENGINES, name)
    except ImportError:
        return EngineCard(name, False, 'pip install "yangfan[server]"', (), "")
    missing: str | None = module.missing()
    state = ""
    if hasattr(module, "native"):
        built, reason = module.native(home.expanduser().absolute() / "engines" / name)
        state = "yes" if built else f"no ({reason}): yangfan engines build {name}"
    return EngineCard(
        name,
        missing is None,
        missing or "",
        tuple(sorted(module.FORMATS)),
        (module.__doc__ or "").partition("\n")[0],
        state,
    )
