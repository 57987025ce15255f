# Generated from _async by scripts/unasync.py; edit there.
"""`client.plugins`: plugins, and plugin applications, which v1's `…/plugin/{name}/` answers (Yangfan servers)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from yangfan.client.plugins import address_of, answer_of, application_of, info_of
from yangfan.protocol.v1.plugins import PLUGIN
from yangfan.protocol.v2 import plugins as wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.client._sync.session import Session
    from yangfan.client.plugins import File, PluginAnswer, PluginApplication, PluginInfo
    from yangfan.client.types import JSON
    from yangfan.protocol.endpoint import Endpoint


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

    def create(
        self,
        name: str,
        plugins: Sequence[str],
        *,
        model: str = "",
        prompt: str = "",
        knowledge_base_ids: Sequence[str] = (),
    ) -> PluginApplication:
        """Make an application.

        Args:
            name: What stands in the path of its calls: letters, digits, dots, dashes, underscores.
            plugins: Ids of plugins, such as uuid-zhishiku; `installed` lists them.
            model: The chat service that writes its answers; the first one that is served by default.
            prompt: What the model is told, with ``{context}`` and ``{question}`` in it; one of ours by default.
            knowledge_base_ids: What uuid-zhishiku answers from.

        Raises:
            Invalid: A value is none that can be, or there is one of that name.
        """
        body: JSON = {
            "name": name,
            "plugins": [*plugins],
            "model": model,
            "prompt": prompt,
            "knowledgeBaseIds": [*knowledge_base_ids],
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

    def modify(
        self,
        name: str,
        *,
        plugins: Sequence[str] | None = None,
        model: str | None = None,
        prompt: str | None = None,
        knowledge_base_ids: Sequence[str] | None = None,
    ) -> PluginApplication:
        """Change one; what is None stays."""
        body: JSON = {
            "name": name,
            "plugins": None if plugins is None else [*plugins],
            "model": model,
            "prompt": prompt,
            "knowledgeBaseIds": None if knowledge_base_ids is None else [*knowledge_base_ids],
        }
        return application_of(self._act(wire.MODIFY, body))

    def delete(self, name: str) -> None:
        """Delete one."""
        self._act(wire.DELETE, {"name": name})

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

    def _act(self, endpoint: Endpoint[Any, Any], body: JSON) -> Any:
        call = self._session.management_call(endpoint, body)
        return (self._session.fetch(call, endpoint.reply)).result
