"""From what the settings name to an EngineSpec and the engine for it, fetching the model first if need be."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from yangfan import errors, extensions
from yangfan.engines.base import Engine, EngineSpec, ModelFacts
from yangfan.engines.choice import choose
from yangfan.hub import (
    access,
    catalogue,
    compression,
    convert_bert,
    convert_decoder,
    folder,
    pull,
)
from yangfan.hub.disk import require_free
from yangfan.hub.lock import lock
from yangfan.hub.progress import ignore
from yangfan.hub.s3 import S3Settings
from yangfan.hub.sources.base import HubSettings
from yangfan.server.models.types import InputLimits, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from yangfan.egress import Egress
    from yangfan.engines.base import Kind
    from yangfan.hub.store import ModelStore, StoredModel
    from yangfan.server.settings import Settings

ECHO = "echo"
"""A model without a model: it repeats what it is told."""

VLLM = "vllm"
"""The engine that lives in an environment of its own, whose Python the settings name."""

MOST_GROWTH = 4
"""No quantisation that can be asked for is larger by more than this: F16 of a model with 4 bits."""


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
            s3=S3Settings(
                endpoint=settings.s3_endpoint,
                region=settings.s3_region,
                access_key_id=settings.s3_access_key_id,
                secret_access_key=settings.s3_secret_access_key,
            ),
        )

    def admit_workers(self) -> None:
        """Let the workers of jobs fetch as this process does: write down hubs, keys and rules beside the models.

        Raises:
            ConfigurationError: The folder of the models cannot be written.
        """
        access.save(
            self._store.root,
            access.HubAccess(
                hubs=self._hubs,
                egress_allow=self._settings.egress_allow,
                egress_proxy=self._settings.egress_proxy,
                trackers=_trackers(self._settings),
                nodes=self._settings.tuning_nodes,
                rendezvous=self._settings.tuning_rendezvous or "",
            ),
        )

    def here(self, name: str) -> bool:
        """Whether a model of that name is on this machine: one that was fetched, or echo."""
        return name == ECHO or self._store.get(name) is not None

    async def plan(
        self,
        reference: str,
        progress: Callable[[pull.Progress], None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Plan:
        """What to run for a catalogue name, a path to a .gguf file or to a folder, or ``echo``.

        Args:
            reference: Which model.
            progress: Told of a download.
            options: As in the settings' table of the model, and stronger.

        Raises:
            ConfigurationError: Neither a known name nor files that an engine can load, or the model's options are wrong.
            FetchError: The model is not here and could not be fetched.
        """
        if reference == ECHO:
            delay = {"delay_seconds": self._settings.echo_delay_seconds}
            return self._plan(ECHO, ECHO, None, {**delay, **self._options(ECHO, options)})
        if "/" in reference or reference.endswith(".gguf"):
            return await asyncio.to_thread(self._plan_of_path, Path(reference))
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
        own = self._options(reference, options)
        return await self.plan_of_stored(stored, own, progress=progress)

    async def plan_of_stored(
        self,
        stored: StoredModel,
        options: Mapping[str, Any],
        *,
        name: str | None = None,
        progress: Callable[[pull.Progress], None] | None = None,
    ) -> Plan:
        """What to run for a model whose files are here.

        Args:
            stored: The model.
            options: As in the settings' table of a model.
            name: What to call it; the store's own name if None.
            progress: Told of a quantisation.

        Raises:
            ConfigurationError: No engine here can load it, or an option is wrong.
        """
        name = name or stored.name
        if stored.format == "gguf":
            path = await self._quantized(stored, options, progress or ignore)
            facts = ModelFacts(
                "gguf", cast("Kind", stored.kind), path=str(path), size_bytes=path.stat().st_size
            )
            return self._plan_of(name, facts, options)
        return await asyncio.to_thread(self._plan_of_stored, stored, name, options)

    def _options(self, name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The options that settings give a model, and those of a caller over them."""
        return {**self._settings.options.get(name, {}), **(options or {})}

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

    async def _quantized(
        self,
        stored: StoredModel,
        own: Mapping[str, Any],
        progress: Callable[[pull.Progress], None],
    ) -> Path:
        """The file to serve: the model's own, or the quantisation that its options ask for, made when it is first wanted."""
        if "quantize" not in own:
            return stored.path
        quantization, allowed = str(own["quantize"]), own.get("allow_requantize", False) is True
        target = self._store.converted_file(stored, f"{quantization.lower()}.gguf")

        def report(stage: str, done: int, total: int) -> None:
            del stage
            size_bytes = stored.size_bytes
            progress(
                pull.Progress(target.name, size_bytes * done // total, size_bytes, "quantising")
            )

        async with lock(self._store.lock_file(stored.name)):
            if target.is_file():
                return target
            target.parent.mkdir(parents=True, exist_ok=True)
            require_free(target.parent, MOST_GROWTH * stored.size_bytes)
            await extensions.load("yangfan.engines", "llama_cpp").quantize(
                stored.path,
                target,
                quantization.lower(),
                builds=self._settings.home_path / "engines" / "llama_cpp",
                allow_requantize=allowed,
                report=report,
            )
        return target

    def _plan_of_stored(self, stored: StoredModel, name: str, options: Mapping[str, Any]) -> Plan:
        target = self._store.converted_file(stored, _converter_of(stored.path))
        return self._plan_of(name, _facts_of_folder(stored.path), options, target)

    def _plan_of_path(self, given: Path) -> Plan:
        path = given.expanduser().absolute()
        if path.is_dir():
            name = path.name.lower()
            target = self._store.converted_folder_file(path, _converter_of(path))
            return self._plan_of(name, _facts_of_folder(path), self._options(name), target)
        if not path.is_file():
            raise errors.ConfigurationError(
                f"no model file {path}; give a .gguf file, a catalogue name, or echo"
            )
        facts = ModelFacts("gguf", path=str(path), size_bytes=path.stat().st_size)
        name = path.stem.lower()
        return self._plan_of(name, facts, self._options(name))

    def _plan_of(
        self,
        name: str,
        facts: ModelFacts,
        options: Mapping[str, Any],
        converted: Path | None = None,
    ) -> Plan:
        """The plan for files that are here; what an engine reads in another format only is put into `converted` first."""
        if self._settings.vllm_python is not None:
            options = {"python": self._settings.vllm_python, **options}
        wanted = options.get("engine")
        facts = msgspec.structs.replace(facts, options=options)
        if (
            wanted == "llama_cpp"
            and facts.format == "safetensors"
            and convert_decoder.is_convertible(Path(str(facts.path)))
        ):
            facts = msgspec.structs.replace(facts, becomes="gguf")
        choice = choose(facts, None if wanted is None else str(wanted))
        if choice.engine is None:
            raise errors.ConfigurationError(f"{name} cannot be served: {choice.reason}")
        path = facts.path
        if choice.converted:
            assert path is not None
            assert converted is not None
            if not converted.is_file():
                compression.convert(Path(path), converted, "", lambda _done, _total: None)
            path = str(converted)
        return self._plan(name, choice.engine, path, options, kind=facts.kind)

    def _plan(
        self,
        name: str,
        engine: str,
        path: str | None,
        options: Mapping[str, Any],
        *,
        kind: Kind = "chat",
    ) -> Plan:
        own = dict(options)
        for key in ("engine", "quantize", "allow_requantize"):
            own.pop(key, None)
        if engine != VLLM:
            own.pop("python", None)
        general: dict[str, Any] = {
            "context_tokens": self._settings.context_tokens,
            "slots": self._settings.slots,
            "threads": self._settings.threads,
            "adapters": {},
        }
        fields = {key: own.pop(key, value) for key, value in general.items()}
        allowed = {key: own.pop(key) for key in InputLimits.__struct_fields__ if key in own}
        try:
            limits = msgspec.convert(allowed, InputLimits)
            spec = msgspec.convert(
                {"model": name, "path": path, "options": own, "kind": kind, **fields}, EngineSpec
            )
        except msgspec.ValidationError as error:
            raise errors.ConfigurationError(f"settings: options.{name}: {error}") from None
        return Plan(name, engine, spec, limits)


def _trackers(settings: Settings) -> dict[str, dict[str, str]]:
    """What is set of trackers, for workers."""
    given: dict[str, dict[str, str | None] | None] = msgspec.to_builtins(settings.trackers)
    return {
        name: {key: value for key, value in table.items() if value is not None}
        for name, table in given.items()
        if table is not None
    }


def _converter_of(path: Path) -> str:
    """Version of the converter that makes a GGUF file of a folder."""
    return convert_bert.VERSION if convert_bert.is_bert(path) else convert_decoder.VERSION


def _facts_of_folder(path: Path) -> ModelFacts:
    """What lies in a folder, and what it can be converted to."""
    kept, kind, architecture, size_bytes, becomes = folder.examine(path)
    return ModelFacts(kept, kind, architecture, str(path), size_bytes, becomes=becomes)
