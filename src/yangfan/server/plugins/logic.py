"""Plugin applications: making them, and turning a question into what a model is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.engines.base import ChatRequest, Message, Sampling
from yangfan.errors import Conflict, EndpointNotFound, Forbidden, Invalid, NotFound
from yangfan.plugins.knowledge_base.answering import answerable, nothing_found, prompt
from yangfan.protocol.v1.plugins import IMAGE_QUESTIONS, KNOWLEDGE_BASE, WEATHER
from yangfan.server.knowledge import Question
from yangfan.server.plugins.types import Application, Prepared

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from yangfan.server.chat import Chat
    from yangfan.server.knowledge import Found, Knowledge
    from yangfan.server.plugins.store import PluginStore
    from yangfan.server.services import Services, Target

    Weather = Callable[[str], Awaitable[Prepared]]

MAX_QUERY_CHARS = 1000
TOP = 6
KNOWN = (KNOWLEDGE_BASE, WEATHER)


class Plugins:
    """All plugin applications.

    Args:
        store: Where they are kept.
        knowledge: Knowledge bases.
        chat: Writes answers.
        services: What is served.
        weather: Turns a question about the weather into what a model is asked.
    """

    def __init__(
        self,
        store: PluginStore,
        knowledge: Knowledge,
        chat: Chat,
        services: Services,
        weather: Weather,
    ) -> None:
        self._store = store
        self._knowledge = knowledge
        self._services = services
        self._weather = weather
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
    ) -> Application:
        """Make an application.

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
        }
        await self._check(app_id, **values)
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
            **values,
        }
        await self._check(app_id, **merged)
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

    async def prepare(
        self,
        application: Application,
        plugin: str,
        question: str,
        history: Sequence[tuple[str, str]],
        variables: dict[str, str],
        sampling: Sampling,
        key: str,
    ) -> Prepared:
        """What a plugin makes of a question.

        Raises:
            Invalid: The question is empty or too long.
            Overloaded: No room or no engine to look for passages.
        """
        if not question.strip() or len(question) > MAX_QUERY_CHARS:
            raise Invalid(
                f"query must have 1 to {MAX_QUERY_CHARS} characters, got {len(question)}",
                param="query",
            )
        if plugin == WEATHER:
            return await self._weather(question)
        found = await self._knowledge.search(
            application.base_ids, application.app_id, Question(question, top=TOP), key
        )
        meta = _meta(application, question, found)
        if not found or not answerable(
            max((each.similarity or 0.0) for each in found), max(each.coverage for each in found)
        ):
            return Prepared(None, nothing_found(question), meta=meta)
        texts = tuple(_told(each) for each in found)
        room = self.target(application).service.context_tokens / 2
        told = prompt(application.prompt, question, texts, variables, most_units=min(room, 3000))
        messages = (
            *(Message(role, content) for role, content in history),
            Message("user", told),
        )
        return Prepared(ChatRequest(messages, sampling), "", texts, meta)

    def _first_chat(self) -> str:
        for service in self._services.all:
            if "chat" in service.kinds:
                return service.name
        raise Invalid("no chat model is served; `yangfan serve --model NAME` serves one")

    async def _check(
        self, app_id: str, plugins: Sequence[str], model: str, prompt: str, base_ids: Sequence[str]
    ) -> None:
        for plugin in plugins:
            if plugin == IMAGE_QUESTIONS:
                raise Invalid(
                    f"the plugin {plugin} is not built yet; send pictures to a vision model's chat instead",
                    param="plugins",
                )
            if plugin not in KNOWN:
                raise Invalid(
                    f"there is no plugin {plugin[:64]!r}; there are: {', '.join(KNOWN)}",
                    param="plugins",
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
        if prompt and "{question}" not in prompt:
            raise Invalid("a prompt needs {question} in it, and {context}", param="prompt")


def _told(found: Found) -> str:
    title = " > ".join(filter(None, (found.document.name, found.passage.headings)))
    return f"{title}\n{found.passage.text}"


def _meta(application: Application, question: str, found: Sequence[Found]) -> dict[str, Any]:
    """`meta_info` as the specification shows it (B.11)."""
    responses = [
        {
            "charsNum": len(each.passage.text),
            "content": each.passage.text,
            "contentUrl": "",
            "contentKey": "",
            "docId": each.document.id,
            "docName": each.document.name,
            "docType": each.document.name.rpartition(".")[2],
            "enableStatus": True,
            "hitNum": 0,
            "isShardDeleted": False,
            "kbId": each.base.id,
            "kbName": each.base.name,
            "score": each.score,
            "shardId": str(each.passage.number),
            "shardIndex": each.passage.place,
            "headings": each.passage.headings,
            "page": each.passage.page,
            "coverage": each.coverage,
            "is_truncated": False,
        }
        for each in found
    ]
    return {
        "plugin_id": KNOWLEDGE_BASE,
        "request": {
            "query": question,
            "kbIds": list(application.base_ids),
            "score": 0.0,
            "topN": TOP,
        },
        "response": {
            "retCode": 0,
            "message": "",
            "result": {"responses": responses},
            "doc_nums": len({each.document.id for each in found}),
        },
    }
