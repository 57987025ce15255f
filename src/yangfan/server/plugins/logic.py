"""Plugin applications: making them, and turning a question into what a model is asked."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.engines.base import ChatRequest, Message, Tool
from yangfan.errors import Conflict, EndpointNotFound, Forbidden, Invalid, NotFound
from yangfan.protocol.v1.plugins import KNOWLEDGE_BASE
from yangfan.server.chat import OfferedFunction, read_tools
from yangfan.server.plugins.hosting import Means, PluginHost
from yangfan.server.plugins.loop import Bound, Loop
from yangfan.server.plugins.operations import Told
from yangfan.server.plugins.tools import MAX_TOOLS, tool_name
from yangfan.server.plugins.types import Application, Asking, Prepared
from yangfan.server.plugins.wording import worded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.egress import Egress
    from yangfan.plugins.base import Plugin
    from yangfan.server.chat import Chat
    from yangfan.server.knowledge import Knowledge
    from yangfan.server.plugins.bridges import Bridges
    from yangfan.server.plugins.catalogue import Catalogue
    from yangfan.server.plugins.store import PluginStore
    from yangfan.server.plugins.types import Mode
    from yangfan.server.services import Target

MAX_QUERY_CHARS = 1000


class Plugins:
    """All plugin applications.

    Args:
        store: Where they are kept.
        knowledge: Knowledge bases.
        chat: Writes answers.
        catalogue: The plugins that are installed.
        bridges: Other people's tools.
        egress: The guard of outbound fetches.
    """

    def __init__(
        self,
        store: PluginStore,
        knowledge: Knowledge,
        chat: Chat,
        catalogue: Catalogue,
        bridges: Bridges,
        egress: Egress,
    ) -> None:
        self._store = store
        self._knowledge = knowledge
        self._egress = egress
        self.catalogue = catalogue
        self.bridges = bridges
        self.chat = chat

    async def create(
        self,
        app_id: str,
        name: str,
        plugins: Sequence[str],
        *,
        model: str = "",
        prompt: str = "",
        base_ids: Sequence[str] = (),
        mode: Mode | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> Application:
        """Make an application.

        Args:
            app_id: Whose it is.
            name: What stands in the path of its calls.
            plugins: Ids of plugins and bridges.
            model: Who writes answers.
            prompt: What that is told.
            base_ids: Knowledge bases.
            mode: How plugins are called; by default directly, where all of them take a question.
            limits: max_steps, max_tokens, max_seconds, where they differ from the defaults.

        Raises:
            Invalid: It names a plugin that there is not, or lacks what one needs.
            NotFound: It may not search one of the knowledge bases.
            ModelNotFound: No such model is served.
            Conflict: There is one of that name.
        """
        values: dict[str, Any] = {
            "plugins": tuple(plugins),
            "model": model,
            "prompt": prompt,
            "base_ids": tuple(base_ids),
            "mode": mode or await self._fitting_mode(plugins),
        }
        await self._check(app_id, **values)
        values |= limits or {}
        if not await self._store.add(name, app_id, values):
            raise Conflict(f"there is a plugin application {name!r} already; take another name")
        return await self.get(name, app_id)

    async def all(self, app_id: str) -> list[Application]:
        """Those of an application, the oldest first."""
        return await self._store.all(app_id)

    async def get(self, name: str, app_id: str) -> Application:
        """One of an application's.

        Raises:
            NotFound: It has none of that name.
        """
        found = await self._store.get(name)
        if found is None or found.app_id != app_id:
            raise NotFound(
                f"no plugin application {name[:64]!r}; DescribePluginApplications lists them"
            )
        return found

    async def modify(self, name: str, app_id: str, **changes: Any) -> Application:
        """Change what is not None.

        Raises:
            NotFound: There is none of that name, or it may not search one of the knowledge bases.
            Invalid: It names a plugin that there is not, or lacks what one needs.
            ModelNotFound: No such model is served.
        """
        found = await self.get(name, app_id)
        values = {key: value for key, value in changes.items() if value is not None}
        merged: dict[str, Any] = {
            "plugins": found.plugins,
            "model": found.model,
            "prompt": found.prompt,
            "base_ids": found.base_ids,
            "mode": found.mode,
            **values,
        }
        checked = ("plugins", "model", "prompt", "base_ids", "mode")
        await self._check(app_id, **{key: merged[key] for key in checked})
        await self._store.change(name, values)
        return await self.get(name, app_id)

    async def delete(self, name: str, app_id: str) -> None:
        """Delete one.

        Raises:
            NotFound: There is none of that name.
        """
        await self.get(name, app_id)
        await self._store.remove(name)

    # Calls

    async def called(self, name: str, app_id: str, wanted: Sequence[str] | None) -> Application:
        """The application that a call names, with the plugins that it wants.

        Raises:
            EndpointNotFound: There is none of that name.
            Forbidden: It belongs to another application, or may not use a plugin that is wanted.
        """
        found = await self._store.get(name)
        if found is None:
            raise EndpointNotFound(
                f"there is no plugin application {name[:64]!r}; `yangfan plugins create` makes one"
            )
        if app_id and found.app_id != app_id:
            raise Forbidden(f"the plugin application {name} belongs to another application")
        for plugin in wanted or ():
            if plugin not in found.plugins:
                raise Forbidden(
                    f"{name} may not use the plugin {plugin[:64]!r}; it has {', '.join(found.plugins)}"
                )
        return found

    def target(self, application: Application) -> Target:
        """Who writes its answers. Raises ModelNotFound."""
        return self.chat.target(application.model or self._first_chat())

    async def loop(self, asking: Asking, wanted: Sequence[str] | None) -> Loop:
        """What answers a question with tools.

        Raises:
            Invalid: The question is empty or too long, or what the application names is no more.
        """
        _check_question(asking.question)
        application = asking.application
        tools: dict[str, Bound] = {}
        for name in wanted or application.plugins:
            for bound in await self._bound(asking, name):
                chosen = tool_name(bound.tool.name, tools)
                tool = msgspec.structs.replace(bound.tool, name=chosen)
                tools[chosen] = replace(bound, tool=tool)
        if len(tools) > MAX_TOOLS:
            raise Invalid(
                f"{application.name} has {len(tools)} tools, and a model is offered at most {MAX_TOOLS}; name some in plugins",
                param="plugins",
            )
        return Loop(self.chat, asking, [*tools.values()])

    async def _bound(self, asking: Asking, name: str) -> list[Bound]:
        """The tools of a plugin or a bridge."""
        plugin = self.catalogue.find(name)
        if plugin is not None:
            manifest = plugin.manifest

            async def run(inputs: Mapping[str, Any]) -> Told:
                given = {manifest.file: asking.file} if manifest.file and asking.file else {}
                # What a tool finds is told in words, whoever asks.
                host = self._host(plugin, asking, seeing=None)
                outcome = await self.catalogue.call(plugin, {**inputs, **given}, host)
                return Told(outcome.answer or outcome.text)

            return [Bound(name, offered(manifest.tool, manifest.told, manifest.inputs), run)]
        bridge = await self.bridges.find(asking.application.app_id, name)
        if bridge is None:
            raise self._unknown(name)
        return [
            Bound(
                name,
                offered(tool.name, tool.description, tool.inputs),
                partial(self.bridges.call, bridge, tool),
            )
            for tool in bridge.tools
        ]

    def installed(self, name: str) -> Plugin:
        """The plugin of that id, ready to be called. Raises Invalid."""
        found = self.catalogue.find(name)
        if found is None:
            raise self._unknown(name)
        if found.missing:
            raise Invalid(f"the plugin {name} needs: {found.missing}", param="plugins")
        return found

    async def prepare(
        self, asking: Asking, plugin: str, *, most_chars: int = MAX_QUERY_CHARS
    ) -> Prepared:
        """What a plugin makes of a question of so many characters.

        Raises:
            Invalid: The question is empty or too long, or the plugin cannot be asked so.
            PluginFailed: The plugin failed.
            Overloaded: No room or no engine to look for passages.
        """
        question = asking.question
        _check_question(question, most_chars)
        found = self.catalogue.find(plugin)
        if found is None:
            raise self._unknown(plugin)
        manifest = found.manifest
        if not manifest.question:
            raise Invalid(
                f"the plugin {plugin} takes no question; a model has to call it", param="plugins"
            )
        inputs = {manifest.question: question}
        if manifest.file and asking.file:
            inputs[manifest.file] = asking.file
        host = self._host(found, asking, seeing=self._seeing(asking.target))
        outcome = await self.catalogue.call(found, inputs, host)
        meta = {"plugin_id": plugin, "request": outcome.request, "response": outcome.response}
        if outcome.answer:
            return Prepared(None, outcome.answer, meta=meta)
        content = outcome.prompt or worded(asking, outcome.text)
        messages = (*asking.history, Message("user", content))
        request = ChatRequest(messages, asking.sampling)
        shown = not isinstance(content, str) and any(part.image_url for part in content)
        target = self._seeing(asking.target) if shown else None
        return Prepared(request, "", outcome.sources, meta, target)

    def _seeing(self, target: Target) -> Target | None:
        """The application's own model if it sees, else the first one that is served and does."""
        if "vision" in target.service.kinds:
            return target
        for service in self.chat.services.all:
            if {"chat", "vision"} <= service.kinds:
                return self.chat.target(service.name)
        return None

    def _host(self, plugin: Plugin, asking: Asking, *, seeing: Target | None) -> PluginHost:
        async def ask(request: ChatRequest) -> str:
            reply = await self.chat.answer(asking.target, request, asking.meter)
            return reply.answers[0].text

        return PluginHost(
            plugin.manifest,
            self.catalogue.settings_of(plugin),
            asking,
            means=Means(self._egress, self._knowledge, self.chat.pictures),
            ask=ask,
            seeing=seeing,
            kept=self.catalogue.kept_by(plugin),
        )

    def _unknown(self, name: str) -> Invalid:
        known = ", ".join(each.manifest.id for each in self.catalogue.all)
        return Invalid(
            f"there is no plugin {name[:64]!r}; there are: {known}; `yangfan plugins list` shows bridges, too",
            param="plugins",
        )

    async def _fitting_mode(self, plugins: Sequence[str]) -> Mode:
        found = [self.catalogue.find(name) for name in plugins]
        direct = all(each is not None and each.manifest.question for each in found)
        return "direct" if direct else "tools"

    def _first_chat(self) -> str:
        for service in self.chat.services.all:
            if "chat" in service.kinds:
                return service.name
        raise Invalid("no chat model is served; `yangfan serve --model NAME` serves one")

    async def _check(
        self,
        app_id: str,
        plugins: Sequence[str],
        model: str,
        prompt: str,
        base_ids: Sequence[str],
        mode: Mode,
    ) -> None:
        for name in plugins:
            plugin = self.catalogue.find(name)
            if plugin is None and await self.bridges.find(app_id, name) is None:
                raise self._unknown(name)
            if plugin is not None and plugin.missing:
                raise Invalid(f"the plugin {name} needs: {plugin.missing}", param="plugins")
            if mode == "direct" and (plugin is None or not plugin.manifest.question):
                raise Invalid(
                    f"{name} takes no question, so a model has to call it: use the mode tools",
                    param="mode",
                )
        if KNOWLEDGE_BASE in plugins and not base_ids:
            raise Invalid(
                f"{KNOWLEDGE_BASE} needs knowledgeBaseIds; `yangfan kb list` shows them",
                param="knowledgeBaseIds",
            )
        for base_id in base_ids:
            await self._knowledge.base(base_id, app_id)
        if model:
            self.chat.target(model)
        if mode == "direct" and prompt and "{question}" not in prompt:
            raise Invalid("a prompt needs {question} in it, and {context}", param="prompt")


def _check_question(question: str, most_chars: int = MAX_QUERY_CHARS) -> None:
    if not question.strip() or len(question) > most_chars:
        raise Invalid(
            f"query must have 1 to {most_chars} characters, got {len(question)}", param="query"
        )


def offered(name: str, description: str, inputs: Mapping[str, Any]) -> Tool:
    """A tool as engines take it: its schema in words that grammars hold, or its inputs' names alone where they cannot."""
    try:
        (tool,) = read_tools([OfferedFunction(name, description, dict(inputs))], param="tools")
    except Invalid:
        names: Any = inputs.get("properties", {})
        loose: dict[str, Any] = {
            "type": "object",
            "properties": {key: {} for key in names},
            "required": inputs.get("required", []),
        }
        return Tool(name, description, loose)
    return tool
