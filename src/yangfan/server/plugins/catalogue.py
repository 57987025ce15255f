"""The plugins that are installed here, and what the operator chose for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from yangfan.errors import ConfigurationError, Invalid
from yangfan.plugins import base
from yangfan.plugins._schema import Inputs
from yangfan.server.plugins.hosting import called

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.plugins.base import Host, Kept, Outcome, Plugin

_log = structlog.get_logger("yangfan.plugins")


class Catalogue:
    """Every installed plugin; nothing of their code is imported before it is called.

    Args:
        plugins: By id.
        broken: What is wrong with those that cannot be used, by name.
        settings: Table of the settings for each plugin.

    Raises:
        ConfigurationError: The settings name a plugin that there is not, or a value that it does not know.
    """

    def __init__(
        self,
        plugins: Mapping[str, Plugin],
        broken: Mapping[str, str],
        settings: Mapping[str, Mapping[str, Any]],
    ) -> None:
        for name, table in settings.items():
            if name not in plugins:
                raise ConfigurationError(
                    f"settings: there is no plugin {name!r} for [plugins.{name}]; there are: {', '.join(plugins)}"
                )
            unknown = table.keys() - plugins[name].manifest.settings.keys()
            if unknown:
                known = ", ".join(plugins[name].manifest.settings) or "no settings"
                raise ConfigurationError(
                    f"settings: [plugins.{name}] has {', '.join(sorted(unknown))}; the plugin knows {known}"
                )
        for name, why in broken.items():
            _log.error("plugin cannot be used", plugin=name, why=why)
        self._plugins = plugins
        self.broken = broken
        self._settings = settings
        self._inputs: dict[str, Inputs] = {}
        self._kept: dict[str, dict[object, Kept]] = {}

    @property
    def all(self) -> list[Plugin]:
        """Those that can be named, ours first."""
        return list(self._plugins.values())

    def find(self, name: str) -> Plugin | None:
        """The one of that id."""
        return self._plugins.get(name)

    def settings_of(self, plugin: Plugin) -> dict[str, Any]:
        """What the operator chose, and defaults."""
        manifest = plugin.manifest
        chosen = self._settings.get(manifest.id, {})
        return {
            name: chosen.get(name, setting.default) for name, setting in manifest.settings.items()
        }

    def check(self, plugin: Plugin, inputs: Mapping[str, Any]) -> None:
        """Say what is wrong with inputs. Raises InvalidPluginArgument."""
        manifest = plugin.manifest
        checker = self._inputs.get(manifest.id)
        if checker is None:
            checker = self._inputs[manifest.id] = Inputs(manifest.inputs)
        checker.check(inputs, manifest.id)

    def kept_by(self, plugin: Plugin) -> dict[object, Kept]:
        """What a plugin keeps between calls."""
        return self._kept.setdefault(plugin.manifest.id, {})

    async def aclose(self) -> None:
        """Close what plugins keep."""
        for kept in self._kept.values():
            while kept:
                _, each = kept.popitem()
                await each.aclose()

    async def call(self, plugin: Plugin, inputs: Mapping[str, Any], host: Host) -> Outcome:
        """Call one.

        Raises:
            InvalidPluginArgument: The inputs are not what its schema asks for.
            Invalid: What it needs is not installed.
            PluginFailed: It failed.
            RefusedError: The platform refused what it asked for.
        """
        self.check(plugin, inputs)
        try:
            run = plugin.load()
        except ConfigurationError as error:
            raise Invalid(error.message, param="plugins") from error
        return await called(plugin.manifest, run, inputs, host)


def discovered(settings: Mapping[str, Mapping[str, Any]]) -> Catalogue:
    """What is installed. Raises ConfigurationError for settings that no plugin knows."""
    plugins, broken = base.installed()
    return Catalogue(plugins, broken, settings)
