# Generated from _async by scripts/unasync.py; edit there.
"""`client.plugins`: plugins, and plugin applications, which v1's `…/plugin/{name}/` answers (Yangfan servers)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from yangfan.client.plugins import (
    ToolAnswer,
    address_of,
    answer_of,
    application_of,
    bridge_of,
    info_of,
    message_of,
    use_of,
)
from yangfan.client.retry import Retry
from yangfan.protocol.v1.erniebot import ERNIE_PLUGIN
from yangfan.protocol.v1.plugins import PLUGIN
from yangfan.protocol.v2 import plugins as wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.client._sync.session import Session
    from yangfan.client.plugins import (
        Bridge,
        File,
        PluginAnswer,
        PluginApplication,
        PluginInfo,
        PluginUse,
    )
    from yangfan.client.types import JSON
    from yangfan.protocol.endpoint import Endpoint

Mode = Literal["direct", "tools"]
Auth = Literal["none", "bearer", "basic", "header", "query"]


class Plugins:
    """Plugins and plugin applications.

    Making applications is signed: it needs access_key and secret_access_key; `installed`, `describe` and `ask` take any credential.
    """

    def __init__(self, session: Session) -> None:
        """Made by the client."""
        self._session = session

    def installed(self) -> tuple[PluginInfo, ...]:
        """The plugins that applications may use, those of the platform first."""
        call = self._session.inference_call(wire.INSTALLED, 2)
        return tuple(map(info_of, (self._session.fetch(call, wire.INSTALLED.reply)).data))

    def describe(self, plugin: str) -> PluginInfo:
        """One of them, by its id.

        Raises:
            Invalid: There is none of that id.
        """
        path = wire.INSTALLED_ONE.path.replace("{plugin}", quote(plugin, safe="") or "-")
        call = self._session.inference_call(wire.INSTALLED_ONE, 2, path=path)
        return info_of(self._session.fetch(call, wire.INSTALLED_ONE.reply))

    def create(  # noqa: PLR0913 - one argument for each thing that can be chosen
        self,
        name: str,
        plugins: Sequence[str],
        *,
        model: str = "",
        prompt: str = "",
        knowledge_base_ids: Sequence[str] = (),
        mode: Mode | None = None,
        max_steps: int | None = None,
        max_tokens: int | None = None,
        max_seconds: int | None = None,
    ) -> PluginApplication:
        """Make an application.

        Args:
            name: What stands in the path of its calls: letters, digits, dots, dashes, underscores.
            plugins: Ids of plugins, such as uuid-zhishiku; `installed` lists them.
            model: The chat service that writes its answers; the first one that is served by default.
            prompt: What the model is told, with ``{context}`` and ``{question}`` in it; one of ours by default.
            knowledge_base_ids: What uuid-zhishiku answers from.
            mode: direct calls the first plugin with the question; tools lets the model call what it needs. By default what the
                plugins allow.
            max_steps: Most answers of the model for one question, calls of tools among them, 1 to 50; 6 by default.
            max_tokens: Most tokens of all these together; 32000 by default.
            max_seconds: Longest time for all of it, at most 600; 120 by default.

        Raises:
            Invalid: A value is none that can be, or there is one of that name.
        """
        body: JSON = {
            "name": name,
            "plugins": [*plugins],
            "model": model,
            "prompt": prompt,
            "knowledgeBaseIds": [*knowledge_base_ids],
            "mode": mode,
            "maxSteps": max_steps,
            "maxTokens": max_tokens,
            "maxSeconds": max_seconds,
        }
        return application_of(self._act(wire.CREATE, body))

    def list(self) -> tuple[PluginApplication, ...]:
        """All of the caller's application, the oldest first."""
        return tuple(map(application_of, (self._act(wire.LIST, {})).items))

    def get(self, name: str) -> PluginApplication:
        """One of them.

        Raises:
            NotFound: There is none of that name; likewise for the others.
        """
        return application_of(self._act(wire.SHOW, {"name": name}))

    def modify(  # noqa: PLR0913 - one argument for each thing that can be chosen
        self,
        name: str,
        *,
        plugins: Sequence[str] | None = None,
        model: str | None = None,
        prompt: str | None = None,
        knowledge_base_ids: Sequence[str] | None = None,
        mode: Mode | None = None,
        max_steps: int | None = None,
        max_tokens: int | None = None,
        max_seconds: int | None = None,
    ) -> PluginApplication:
        """Change one; what is None stays."""
        body: JSON = {
            "name": name,
            "plugins": None if plugins is None else [*plugins],
            "model": model,
            "prompt": prompt,
            "knowledgeBaseIds": None if knowledge_base_ids is None else [*knowledge_base_ids],
            "mode": mode,
            "maxSteps": max_steps,
            "maxTokens": max_tokens,
            "maxSeconds": max_seconds,
        }
        return application_of(self._act(wire.MODIFY, body))

    def delete(self, name: str) -> None:
        """Delete one."""
        self._act(wire.DELETE, {"name": name})

    def add_openapi(
        self,
        plugin: str,
        document: str = "",
        *,
        url: str = "",
        base_url: str = "",
        auth: Auth | None = None,
        auth_name: str = "",
        secret: str = "",
    ) -> Bridge:
        """Make tools of the operations of an OpenAPI 3 document.

        Args:
            plugin: Id that applications are to name it by.
            document: In JSON or YAML.
            url: Of the document instead; the server fetches it.
            base_url: Where operations are, where the document does not say.
            auth: How to show who asks; what the document says by default. basic takes user:password as its secret.
            auth_name: Of the header field or query parameter.
            secret: The key; the server keeps it encrypted and never shows it.

        Raises:
            Invalid: It is no such document, or its address is refused.
        """
        body: JSON = {
            "id": plugin,
            "kind": "openapi",
            "document": document,
            "url": url,
            "baseUrl": base_url,
            "auth": auth or "",
            "authName": auth_name,
            "secret": secret,
        }
        return bridge_of(self._act(wire.CREATE_BRIDGE, body))

    def add_mcp(
        self,
        plugin: str,
        url: str = "",
        *,
        program: str = "",
        auth: Auth | None = None,
        auth_name: str = "",
        secret: str = "",
    ) -> Bridge:
        """Make tools of those of an MCP server.

        Args:
            plugin: Id that applications are to name it by.
            url: Of the server (streamable HTTP).
            program: Instead, the name of a program that the setting mcp_programs lists.
            auth: How to show who asks; bearer by default, where there is a secret.
            auth_name: Of the header field.
            secret: The key.

        Raises:
            Invalid: It cannot be reached, its address is refused, or it has no tools.
        """
        body: JSON = {
            "id": plugin,
            "kind": "program" if program else "mcp",
            "url": url,
            "program": program,
            "auth": auth or "",
            "authName": auth_name,
            "secret": secret,
        }
        return bridge_of(self._act(wire.CREATE_BRIDGE, body))

    def bridges(self) -> tuple[Bridge, ...]:
        """All of the caller's application, the oldest first."""
        return tuple(map(bridge_of, (self._act(wire.LIST_BRIDGES, {})).items))

    def modify_bridge(
        self, plugin: str, *, secret: str | None = None, document: str | None = None
    ) -> Bridge:
        """Give a bridge another key or document, and read its tools again.

        Raises:
            NotFound: There is none of that id; likewise for the others.
        """
        body: JSON = {"id": plugin, "secret": secret, "document": document}
        return bridge_of(self._act(wire.MODIFY_BRIDGE, body))

    def remove_bridge(self, plugin: str) -> None:
        """Forget a bridge and its key."""
        self._act(wire.DELETE_BRIDGE, {"id": plugin})

    def call_tool(
        self, plugin: str, tool: str, inputs: Mapping[str, Any] | None = None
    ) -> ToolAnswer:
        """Call a tool of a bridge, as a model would. Any credential will do.

        Raises:
            InvalidPluginArgument: The inputs are not what its schema asks for.
            Invalid: There is no such bridge or tool.
        """
        path = wire.CALL.path.replace("{plugin}", quote(plugin, safe="") or "-")
        body: JSON = {"tool": tool, "inputs": dict(inputs or {})}
        call = self._session.inference_call(wire.CALL, 2, path=path, body=body)
        # It may change something there, so it is sent once only.
        answer = self._session.fetch(replace(call, retry=Retry(0)), wire.CALL.reply)
        return ToolAnswer(answer.text, answer.failed)

    def ask(
        self,
        name: str,
        query: str,
        *,
        plugins: Sequence[str] | None = None,
        file: File | None = None,
        history: Sequence[tuple[str, str]] = (),
        variables: Mapping[str, str] | None = None,
        verbose: bool = True,
    ) -> PluginAnswer:
        """Ask an application.

        Args:
            name: Of the application.
            query: The question, 1 to 1000 characters.
            plugins: Which of its plugins to use.
            file: What the question is about, for plugins that take a file: bytes and paths are sent along; an address is fetched by the
                server.
            history: What was said before: role (user, assistant) and text of each turn.
            variables: Values of its prompt's variables.
            verbose: Whether to tell what the plugin found.

        Raises:
            Invalid: A value is none that can be, or a plugin lacks what it needs, such as a file.
            InvalidImage: A picture is not to be had, too small or too large; ImageUnreadable if it is none.
            PluginFailed: A plugin failed.
        """
        body: JSON = {
            "query": query,
            "verbose": verbose,
            "history": [{"role": role, "content": content} for role, content in history],
            "input_variables": dict(variables or {}),
        }
        if plugins is not None:
            body["plugins"] = [*plugins]
        if file is not None:
            body["fileurl"] = address_of(file)
        path = PLUGIN.path.replace("{endpoint}", name)
        call = self._session.inference_call(PLUGIN, 1, path=path, body=body)
        return answer_of(self._session.fetch(call, PLUGIN.reply))

    def use(self, plugin: str, query: str, *, file: File | None = None) -> PluginUse:
        """Ask with one ERNIE plugin; needs no application.

        Args:
            plugin: eChart (draws a chart), ImageAI (looks at a picture) or ChatFile (reads a document).
            query: The question, with the data where something is to be drawn; 1 to 4800 characters.
            file: The picture or document: bytes and paths are sent along; an address is fetched by the server.

        Raises:
            Invalid: A value is none that can be, or the plugin lacks what it needs, such as a file.
            PluginFailed: It failed.
        """
        messages = [{"role": "user", "content": message_of(query, plugin, file)}]
        return self.converse(messages, [plugin])

    def converse(
        self, messages: Sequence[Mapping[str, str]], plugins: Sequence[str]
    ) -> PluginUse:
        """Go on with a conversation with ERNIE plugins.

        Args:
            messages: user and assistant in turn; a file stands in one as ``<img>NAME</img><url>ADDRESS</url>`` or
                ``<file>NAME</file><url>ADDRESS</url>``.
            plugins: One to three of eChart, ImageAI, ChatFile; the one that has something to do works.

        Raises:
            Invalid: A value is none that can be, or the plugin lacks what it needs, such as a file.
            PluginFailed: It failed.
        """
        body: JSON = {"messages": [dict(each) for each in messages], "plugins": [*plugins]}
        call = self._session.inference_call(ERNIE_PLUGIN, 1, path=ERNIE_PLUGIN.path, body=body)
        return use_of(self._session.fetch(call, ERNIE_PLUGIN.reply))

    def _act(self, endpoint: Endpoint[Any, Any], body: JSON) -> Any:
        call = self._session.management_call(endpoint, body)
        return (self._session.fetch(call, endpoint.reply)).result
