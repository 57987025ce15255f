"""Which engine runs a model: each engine file says which formats it reads, how well it suits the model, and whether it can run here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from yangfan import extensions
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from types import ModuleType

    from yangfan.engines.base import Fit, ModelFacts

ENGINES = "yangfan.engines"


class Candidate(NamedTuple):
    """One engine that reads the model's format, or one that it can be `converted` to.

    `fit` says how well it suits, `missing` what is missing to run it here (None: nothing).
    """

    engine: str
    fit: Fit
    missing: str | None
    converted: bool = False


class Choice(NamedTuple):
    """The engine for a model, None if none can run it here, and why; and whether the model must be `converted` for it."""

    engine: str | None
    reason: str
    candidates: tuple[Candidate, ...] = ()
    converted: bool = False

    @property
    def others(self) -> list[str]:
        """One line for each engine that reads the format and was not taken: its name and why not."""
        return [
            f"{engine}: {fit.reason}"
            if missing is None or fit.rank is None
            else f"{engine}: {fit.reason}, but not here yet: {missing}"
            for engine, fit, missing, _ in self.candidates
            if engine != self.engine
        ]


def choose(model: ModelFacts, wanted: str | None = None) -> Choice:
    """The engine that fits `model` best among those that can run here; of equals the first by name.

    Args:
        model: What is known of it.
        wanted: The engine that settings name; it is taken if it can run the model at all.

    Raises:
        ConfigurationError: `wanted` does not exist, does not read the format, cannot run the model or cannot run here.
    """
    candidates, refused = _candidates(model)
    if wanted is not None:
        return _named(model, wanted, candidates)
    able = [found for found in candidates if found.missing is None and found.fit.rank]
    if able:
        best = max(able, key=lambda found: found.fit.rank or 0)
        return Choice(best.engine, best.fit.reason, tuple(candidates), best.converted)
    refused += [f"{name}: {missing or fit.reason}" for name, fit, missing, _ in candidates]
    names = ", ".join(extensions.names(ENGINES))
    reason = (
        f"no engine for {model.format} models can run here yet. {'; '.join(refused)}"
        if refused
        else f"no engine runs {model.format} models yet; there are: {names}"
    )
    return Choice(None, reason, tuple(candidates))


def _candidates(model: ModelFacts) -> tuple[list[Candidate], list[str]]:
    candidates: list[Candidate] = []
    refused: list[str] = []
    for name in extensions.names(ENGINES):
        module = _module(name)
        if module is None:
            refused.append(f'{name}: pip install "yangfan[server]"')
        elif model.format in module.FORMATS:
            candidates.append(Candidate(name, module.fit(model), module.missing()))
        elif model.becomes in module.FORMATS:
            other = msgspec.structs.replace(model, format=model.becomes, architecture="")
            fit: Fit = module.fit(other)
            reason = (
                f"once it is converted to {model.becomes}, which its first start does: {fit.reason}"
            )
            told = msgspec.structs.replace(fit, reason=reason)
            candidates.append(Candidate(name, told, module.missing(), converted=True))
    return candidates, refused


def _module(name: str) -> ModuleType | None:
    try:
        return extensions.load(ENGINES, name)
    except ImportError:
        return None


def _named(model: ModelFacts, wanted: str, candidates: list[Candidate]) -> Choice:
    for name, fit, missing, converted in candidates:
        if name != wanted:
            continue
        if fit.rank is None or missing is not None:
            why = fit.reason if fit.rank is None else missing
            raise ConfigurationError(f"the engine {wanted} cannot run this model here: {why}")
        return Choice(wanted, "the settings say so", tuple(candidates), converted)
    extensions.load(ENGINES, wanted)
    readers = ", ".join(found.engine for found in candidates) or "none"
    raise ConfigurationError(
        f"the engine {wanted} does not read {model.format} models; engines that do: {readers}"
    )
