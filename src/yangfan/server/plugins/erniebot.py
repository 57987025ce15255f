"""v1: ERNIE plugins (specification B.11), which need no application: eChart draws, ImageAI looks at pictures, ChatFile reads documents."""

from __future__ import annotations

import random
import re
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from yangfan.engines.base import ChatRequest, Finish, Message, Sampling
from yangfan.engines.base import Usage as Used
from yangfan.errors import Invalid
from yangfan.protocol.sse import pieces
from yangfan.protocol.v1 import erniebot as wire
from yangfan.protocol.v1.plugins import IMAGE_QUESTIONS
from yangfan.server.http import Call, Reply, Route, Stream
from yangfan.server.http.call import new_id
from yangfan.server.plugins.steps import StepMeter
from yangfan.server.plugins.types import Application, Asking, Prepared
from yangfan.server.plugins.v1 import FINISH, MAX_TURNS, summed
from yangfan.server.services import answered_by

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from yangfan.plugins.base import Plugin
    from yangfan.server.plugins.logic import Plugins
    from yangfan.server.services import Target

NAMES = {"eChart": "eChart", "ImageAI": IMAGE_QUESTIONS, "ChatFile": "ChatFile"}
"""What ERNIE calls plugins, and their ids here."""

TAKES = {"img": "ImageAI", "file": "ChatFile"}
"""Which plugin a tag of a message is for."""

MAX_CONTENT_CHARS = 4800
MAX_PLUGINS = 3

_FILE = re.compile(r"<(img|file)>([^<]{0,500})</\1>")
_URL = re.compile(r"<url>([^<]*)</url>")


@dataclass(frozen=True, slots=True)
class Said:
    """A message without its tags.

    Attributes:
        text: What is asked.
        kind: img or file; "" without a file.
        name: What the file is called.
        url: Where it is.
    """

    text: str
    kind: str = ""
    name: str = ""
    url: str = ""


def said_in(content: str) -> Said:
    """A message and the file that stands in it."""
    url = _URL.search(content)
    found = _FILE.search(content)
    if url is None or found is None:
        return Said(content.strip())
    text = _URL.sub("", _FILE.sub("", content)).strip()
    return Said(text, found[1], found[2].strip(), url[1].strip())


def routes(plugins: Plugins) -> list[Route]:
    """What this file answers."""

    async def unnamed(call: Call[wire.ErniePluginRequest]) -> Reply | Stream:
        return await answer(call, named=False)

    async def named(call: Call[wire.ErniePluginRequest]) -> Reply | Stream:
        return await answer(call, named=True)

    async def answer(call: Call[wire.ErniePluginRequest], *, named: bool) -> Reply | Stream:
        asked = _Asked(plugins, call)
        # What a plugin does costs something, too: nobody without room gets that far.
        call.meter.reserve(asked.asking.target, 1)
        if call.request.stream:
            return Stream(_events(asked, named=named), answered_by(asked.asking.target))
        return await _reply(asked)

    return [Route(wire.ERNIE_PLUGINS, unnamed), Route(wire.ERNIE_PLUGIN, named)]


class _Asked:
    """A call: its plugins, and which of them has something to do."""

    def __init__(self, plugins: Plugins, call: Call[wire.ErniePluginRequest]) -> None:
        """Raises Invalid: a rule of the call is broken."""
        self.plugins = plugins
        self.log_id, self.id, self.created = random.getrandbits(31), new_id(), int(time.time())
        names = call.request.plugins or []
        if not 1 <= len(names) <= MAX_PLUGINS or any(name not in NAMES for name in names):
            raise Invalid(
                f"plugins names 1 to {MAX_PLUGINS} of {', '.join(NAMES)}, got {', '.join(names)[:200] or 'none'}",
                param="plugins",
            )
        *earlier, last = _conversation(call.request.messages or [])
        self.found = [(name, plugins.installed(NAMES[name])) for name in dict.fromkeys(names)]
        with_file = [last, *reversed(earlier[::2])]
        attached = next((each for each in with_file if TAKES.get(each.kind) in names), None)
        self.chosen = self._chosen(attached)
        application = Application(
            "erniebot", call.principal.app_id, tuple(NAMES[name] for name in names), "", "", (), 0
        )
        self.asking = Asking(
            application=application,
            question=last.text,
            file="" if attached is None else attached.url,
            file_name="" if attached is None else attached.name,
            history=tuple(
                Message(("user", "assistant")[place % 2], each.text)
                for place, each in enumerate(earlier)
            ),
            variables={},
            sampling=Sampling(),
            target=plugins.target(application),
            meter=StepMeter(call.meter),
        )

    def _chosen(self, attached: Said | None) -> tuple[str, Plugin] | None:
        """The plugin for the file that was handed over; without one, one that takes no file, or the only one."""
        for name, plugin in self.found:
            if attached is not None and TAKES[attached.kind] == name:
                return name, plugin
        for name, plugin in self.found:
            if not plugin.manifest.file or len(self.found) == 1:
                return name, plugin
        return None

    async def prepare(self) -> Prepared:
        """What the plugin makes of the question; the question alone where no plugin has something to do."""
        if self.chosen is not None:
            prepared = await self.plugins.prepare(
                self.asking, self.chosen[1].manifest.id, most_chars=MAX_CONTENT_CHARS
            )
            if prepared.request is not None or len(self.found) == 1:
                return prepared
            self.chosen = None
        request = ChatRequest(
            (*self.asking.history, Message("user", self.asking.question)), self.asking.sampling
        )
        return Prepared(request)

    def metas(self) -> list[wire.PluginMeta]:
        """Who the plugins are."""
        return [
            wire.PluginMeta(
                pluginMameForModel=name,
                pluginNameForHuman=plugin.manifest.name.zh,
                operationId=plugin.manifest.tool,
                pluginVersion=plugin.manifest.version,
                pluginId=_plugin_id(plugin),
                apiId=plugin.manifest.tool,
                descriptionForHuman=plugin.manifest.description.zh,
            )
            for name, plugin in self.found
        ]

    def info(self, prepared: Prepared | None) -> list[wire.PluginInfo]:
        """How far the plugin is."""
        if self.chosen is None:
            return []
        name, plugin = self.chosen
        request: Any = {"query": self.asking.question}
        return [
            wire.PluginInfo(
                plugin_id=_plugin_id(plugin),
                plugin_name=name,
                plugin_req=_json(request if prepared is None else prepared.meta.get("request")),
                plugin_resp="" if prepared is None else _json(prepared.meta.get("response")),
                status=wire.RUNNING if prepared is None else wire.DONE,
                api_id=plugin.manifest.tool,
            )
        ]

    def usage(self, used: Used, before: tuple[int, int]) -> wire.ErnieUsage:
        """Tokens of all, and those that the plugin used before the answer."""
        plugins: list[wire.PluginTokens] = []
        if self.chosen is not None:
            tokens = sum(before)
            plugins = [
                wire.PluginTokens(name=self.chosen[0], parse_tokens=tokens, total_tokens=tokens)
            ]
        return wire.ErnieUsage(
            prompt_tokens=used.prompt_tokens,
            completion_tokens=used.completion_tokens,
            total_tokens=used.total_tokens,
            plugins=plugins,
            estimated=used.estimated or UNSET,
        )


def _plugin_id(plugin: Plugin) -> str:
    return f"{plugin.manifest.id}:{plugin.manifest.version}"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _conversation(messages: Sequence[wire.ErnieMessage]) -> list[Said]:
    """What was said, the oldest questions and answers forgotten where it is too long.

    Raises:
        Invalid: It is empty, does not alternate, or the last message is too long.
    """
    if not messages or len(messages) % 2 == 0 or len(messages) > MAX_TURNS + 1:
        raise Invalid(
            f"messages has 1 to {MAX_TURNS + 1} messages, an odd number, for it begins and ends with the user; got {len(messages)}",
            param="messages",
        )
    for place, message in enumerate(messages):
        if message.role != ("user", "assistant")[place % 2]:
            raise Invalid(
                f"messages alternate user and assistant; messages[{place}] is {message.role[:32]!r}",
                param="messages",
            )
    said = [said_in(message.content) for message in messages]
    if not said[-1].text or len(said[-1].text) > MAX_CONTENT_CHARS:
        raise Invalid(
            f"the last message has 1 to {MAX_CONTENT_CHARS} characters besides its file, got {len(said[-1].text)}",
            param="messages",
        )
    while len(said) > 1 and sum(len(each.text) for each in said) > MAX_CONTENT_CHARS:
        del said[:2]
    return said


async def _reply(asked: _Asked) -> Reply:
    prepared = await asked.prepare()
    meter = asked.asking.meter
    before = meter.used
    target = prepared.target or asked.asking.target
    text, finish, estimated = prepared.result, Finish.NATURAL, False
    if prepared.request is None:
        meter.settle(0, 0)
    else:
        reply = await asked.plugins.chat.answer(target, prepared.request, meter)
        text, finish = reply.answers[0].text, reply.answers[0].finish
        estimated = reply.usage.estimated
    used = Used(*meter.used, estimated=estimated)
    body = wire.ErniePluginReply(
        log_id=asked.log_id,
        id=asked.id,
        created=asked.created,
        result=text,
        is_truncated=finish is Finish.LENGTH,
        finish_reason=FINISH.get(finish, "normal"),
        usage=asked.usage(used, before),
        plugin_info=asked.info(prepared),
        plugin_metas=asked.metas(),
    )
    return Reply(body, answered_by(target, estimated=estimated))


async def _events(asked: _Asked, *, named: bool) -> AsyncGenerator[wire.ErniePluginEvent]:
    """Who the plugins are, how far the one that works is, then the answer in pieces."""
    meta, info, chat = (
        (wire.MetaEvent, wire.InfoEvent, wire.ChatEvent)
        if named
        else (wire.ErniePluginEvent, wire.ErniePluginEvent, wire.ErniePluginEvent)
    )
    head: dict[str, Any] = {"log_id": asked.log_id, "id": asked.id, "created": asked.created}
    yield meta(**head, plugin_metas=asked.metas())
    if asked.chosen is not None:
        yield info(**head, sentence_id=0, is_end=False, plugin_info=asked.info(None))
    prepared = await asked.prepare()
    if asked.chosen is not None:
        yield info(**head, sentence_id=1, is_end=False, plugin_info=asked.info(prepared))
    before, sentence_id = asked.asking.meter.used, 0
    async for text, finish, used in _answer(asked, prepared):
        *early, last = pieces(text)
        for place, piece in enumerate((*early, last)):
            end = finish if place == len(early) else None
            yield chat(
                **head,
                sentence_id=sentence_id,
                is_end=end is not None,
                result=piece,
                is_truncated=end is Finish.LENGTH,
                need_clear_history=False,
                ban_round=0,
                finish_reason=UNSET if end is None else FINISH.get(end, "normal"),
                usage=asked.usage(used, before),
            )
            sentence_id += 1


async def _answer(
    asked: _Asked, prepared: Prepared
) -> AsyncGenerator[tuple[str, Finish | None, Used]]:
    """The answer's pieces, and what was used until each."""
    meter = asked.asking.meter
    before = meter.used
    if prepared.request is None:
        meter.settle(0, 0)
        yield prepared.result, Finish.NATURAL, Used(*meter.used)
        return
    target: Target = prepared.target or asked.asking.target
    used = Used(*before)
    async with aclosing(asked.plugins.chat.stream(target, prepared.request, meter)) as deltas:
        async for delta in deltas:
            if delta.usage is not None:
                used = summed(before, delta.usage)
            if delta.text or delta.finish is not None:
                yield delta.text, delta.finish, used
