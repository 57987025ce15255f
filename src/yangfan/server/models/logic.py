"""From what the settings name to an EngineSpec and the engine for it, fetching the model first if need be."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from yangfan import errors, extensions
from yangfan.engines.base import Engine, EngineSpec
from yangfan.engines.choice import choose
from yangfan.hub import catalogue, convert_bert, pull
from yangfan.hub.sources.base import HubSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from yangfan.egress import Egress
    from yangfan.hub.store import ModelStore, StoredModel
    from yangfan.server.settings import Settings

ECHO = "echo"
"""A model without a model: it repeats what it is told."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A model to serve: the name that calls use, the engine file that runs it, and what it is given."""

    name: str
    engine: str
    spec: EngineSpec


class Models:
    """The model store and the way from a name to an engine.

    Args:
        store: Models that are here.
        egress: The guard for fetching others.
        settings: Slots, threads and context of every model.
    """

    def __init__(self, store: ModelStore, egress: Egress, settings: Settings) -> None:
        self._store = store
        self._egress = egress
        self._settings = settings
        self._hubs = HubSettings(
            hf_endpoint=settings.hf_endpoint,
            hf_token=settings.hf_token,
            modelscope_endpoint=settings.modelscope_endpoint,
        )

    async def plan(
        self, reference: str, progress: Callable[[pull.Progress], None] | None = None
    ) -> Plan:
        """What to run for a catalogue name, a path to a .gguf file, or ``echo``.

        Raises:
            ConfigurationError: Neither a known name nor a file that an engine can load.
            FetchError: The model is not here and could not be fetched.
        """
        if reference == ECHO:
            return self._plan(
                ECHO, ECHO, None, {"delay_seconds": self._settings.echo_delay_seconds}
            )
        if "/" in reference or reference.endswith(".gguf"):
            return self._plan_of_file(Path(reference))
        stored = self._store.get(reference)
        if stored is None:
            if catalogue.load().find(reference) is None:
                known = ", ".join(
                    sorted({ECHO, *(model.name for model in catalogue.load().models)})
                )
                raise errors.ConfigurationError(f"no model named {reference!r}; there are: {known}")
            stored = await pull.pull(
                reference,
                store=self._store,
                egress=self._egress,
                progress=progress,
                settings=self._hubs,
            )
        if stored.format == "safetensors" and convert_bert.is_bert(stored.folder):
            path = await asyncio.to_thread(self._converted, stored)
            return self._plan(reference, _engine_for("gguf", reference), path)
        return self._plan(reference, _engine_for(stored.format, reference), stored.path)

    def engine(self, plan: Plan, workdir: Path) -> Engine:
        """The engine of a plan, not yet started.

        Raises:
            ConfigurationError: The engine's library is not installed; the message says how to install it.
        """
        module = extensions.load("yangfan.engines", plan.engine)
        missing = module.missing()
        if missing is not None:
            raise errors.ConfigurationError(
                f"the engine {plan.engine} for {plan.name} cannot run here: {missing}"
            )
        workdir.mkdir(parents=True, exist_ok=True)
        engine: Engine = module.create(plan.spec, workdir)
        return engine

    def _converted(self, stored: StoredModel) -> Path:
        """The GGUF file of a BERT encoder, made when it is first wanted."""
        path = self._store.converted_file(stored, convert_bert.VERSION)
        if not path.is_file():
            convert_bert.convert(stored.folder, path)
        return path

    def _plan_of_file(self, file: Path) -> Plan:
        path = file.expanduser().absolute()
        if not path.is_file():
            raise errors.ConfigurationError(
                f"no model file {path}; give a .gguf file, a catalogue name, or echo"
            )
        return self._plan(path.stem.lower(), _engine_for("gguf", path.name), path)

    def _plan(
        self, name: str, engine: str, path: Path | None, options: dict[str, object] | None = None
    ) -> Plan:
        spec = EngineSpec(
            model=name,
            path=None if path is None else str(path),
            context_tokens=self._settings.context_tokens,
            slots=self._settings.slots,
            threads=self._settings.threads,
            options=options or {},
        )
        return Plan(name, engine, spec)


def _engine_for(model_format: str, model: str) -> str:
    choice = choose(model_format)
    if choice.engine is None:
        raise errors.ConfigurationError(f"{model} cannot be served: {choice.reason}")
    return choice.engine
