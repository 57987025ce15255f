"""The tools that other programs are offered, and what each does."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.engines.base import ChatRequest, Message, Sampling
from yangfan.errors import Invalid
from yangfan.plugins._schema import Inputs
from yangfan.plugins.knowledge_base.answering import citations
from yangfan.protocol.v1.plugins import KNOWLEDGE_BASE
from yangfan.server.knowledge import Question
from yangfan.server.plugins import Application, Asking, StepMeter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from yangfan.server.http import Meter, Principal
    from yangfan.server.knowledge import Found, Knowledge
    from yangfan.server.plugins import Plugins
    from yangfan.server.services import Services

    Run = Callable[[Mapping[str, Any], Principal, StepMeter], Awaitable[str]]

TOP = 6


class Tools:
    """The platform's own tools.

    Args:
        knowledge: Knowledge bases.
        plugins: What answers from them.
        services: What can be asked.
    """

    def __init__(self, knowledge: Knowledge, plugins: Plugins, services: Services) -> None:
        self._knowledge = knowledge
        self._plugins = plugins
        self._services = services
        self.listed = _listed()
        self._inputs = {tool["name"]: tool["inputSchema"] for tool in self.listed}
        self._runs: dict[str, Run] = {
            "list_knowledge_bases": self._bases,
            "search_knowledge_bases": self._search,
            "ask_knowledge_bases": self._ask,
            "list_services": self._names,
            "chat": self._chat,
        }

    @property
    def names(self) -> list[str]:
        """Of all tools."""
        return list(self._runs)

    async def call(
        self, name: str, inputs: Mapping[str, Any], principal: Principal, meter: Meter
    ) -> str:
        """What a tool of `names` gives, as text.

        Raises:
            RefusedError: The inputs are not what it takes, or the platform refuses.
        """
        run = self._runs[name]
        Inputs(self._inputs[name]).check(inputs, name)
        return await run(inputs, principal, StepMeter(meter))

    async def _bases(
        self, inputs: Mapping[str, Any], principal: Principal, meter: StepMeter
    ) -> str:
        del inputs, meter
        found = await self._knowledge.bases(principal.app_id)
        return _json(
            [
                {
                    "id": each.id,
                    "name": each.name,
                    "description": each.description,
                    "passages": each.chunks,
                }
                for each in found
            ]
        )

    async def _search(
        self, inputs: Mapping[str, Any], principal: Principal, meter: StepMeter
    ) -> str:
        found = await self._knowledge.search(
            await self._where(inputs, principal),
            principal.app_id,
            Question(inputs["query"], top=int(inputs.get("top", TOP))),
            meter.key_id,
        )
        return _json([*map(_passage, found)])

    async def _ask(self, inputs: Mapping[str, Any], principal: Principal, meter: StepMeter) -> str:
        application = Application(
            name="mcp",
            app_id=principal.app_id,
            plugins=(KNOWLEDGE_BASE,),
            model=inputs.get("model", ""),
            prompt="",
            base_ids=tuple(await self._where(inputs, principal)),
            created_ms=0,
        )
        target = self._plugins.target(application)
        meter.reserve(target, 1)
        asking = Asking(application, inputs["question"], "", (), {}, Sampling(), target, meter)
        prepared = await self._plugins.prepare(asking, KNOWLEDGE_BASE)
        if prepared.request is None:
            meter.settle(0, 0)
            return prepared.result
        reply = await self._plugins.chat.answer(target, prepared.request, meter)
        answer = reply.answers[0].text
        sources = dict.fromkeys(each.source for each in citations(answer, prepared.sources))
        return "\n".join([answer, *(f"<- {source}" for source in sources)])

    async def _names(
        self, inputs: Mapping[str, Any], principal: Principal, meter: StepMeter
    ) -> str:
        del inputs, principal, meter
        return _json(
            [{"name": each.name, "kinds": sorted(each.kinds)} for each in self._services.all]
        )

    async def _chat(self, inputs: Mapping[str, Any], principal: Principal, meter: StepMeter) -> str:
        application = Application("mcp", principal.app_id, (), inputs.get("model", ""), "", (), 0)
        messages = [Message("user", inputs["message"])]
        if inputs.get("system"):
            messages.insert(0, Message("system", inputs["system"]))
        most = inputs.get("max_output_tokens")
        sampling = Sampling(max_output_tokens=None if most is None else int(most))
        reply = await self._plugins.chat.answer(
            self._plugins.target(application), ChatRequest(tuple(messages), sampling), meter
        )
        return reply.answers[0].text

    async def _where(self, inputs: Mapping[str, Any], principal: Principal) -> Sequence[str]:
        named: list[str] = inputs.get("knowledge_base_ids") or []
        if named:
            return named
        found = [each.id for each in await self._knowledge.bases(principal.app_id)]
        if not found:
            raise Invalid("there is no knowledge base that this key may search; make one first")
        return found[:20]


def _listed() -> list[dict[str, Any]]:
    content = resources.files("yangfan.server.mcp").joinpath("tools.toml").read_bytes()
    return msgspec.toml.decode(content)["tools"]


def _passage(found: Found) -> dict[str, Any]:
    return {
        "text": found.passage.text,
        "document": found.document.name,
        "headings": found.passage.headings,
        "page": found.passage.page,
        "knowledge_base_id": found.base.id,
        "score": round(found.score, 4),
    }


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
