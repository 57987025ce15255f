"""v1: calls of plugin applications (specification B.11)."""

from __future__ import annotations

import random
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from yangfan.engines.base import Finish, Message, Sampling
from yangfan.engines.base import Usage as Used
from yangfan.errors import Invalid
from yangfan.plugins.knowledge_base.answering import citations
from yangfan.protocol.sse import pieces
from yangfan.protocol.v1.chat import Usage
from yangfan.protocol.v1.plugins import (
    PLUGIN,
    PluginEvent,
    PluginReply,
    PluginRequest,
    PluginSampling,
)
from yangfan.server.http import Call, Reply, Route, Stream
from yangfan.server.http.call import new_id
from yangfan.server.plugins.loop import Piece
from yangfan.server.plugins.steps import StepMeter
from yangfan.server.plugins.types import Asking
from yangfan.server.services import answered_by

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from yangfan.plugins.knowledge_base.answering import Citation
    from yangfan.server.plugins.logic import Plugins
    from yangfan.server.plugins.loop import Loop, Step
    from yangfan.server.plugins.types import Prepared
    from yangfan.server.services import Target

FINISH = {
    Finish.NATURAL: "normal",
    Finish.STOP_STRING: "stop",
    Finish.LENGTH: "length",
    Finish.CONTENT_FILTER: "content_filter",
}
MAX_TURNS = 40


def routes(plugins: Plugins) -> list[Route]:
    """What this file answers."""

    async def answer(call: Call[PluginRequest]) -> Reply | Stream:
        wire = call.request
        application = await plugins.called(
            call.params["endpoint"], call.principal.app_id, wire.plugins
        )
        target = plugins.target(application)
        # What a plugin does costs something, too: nobody without room gets that far.
        call.meter.reserve(target, 1)
        sampling = wire.llm or PluginSampling()
        meter = StepMeter(call.meter)
        asking = Asking(
            application=application,
            question=wire.query or "",
            file=wire.fileurl or "",
            history=_history(wire),
            variables={name: str(value) for name, value in (wire.input_variables or {}).items()},
            sampling=Sampling(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                repetition_penalty=sampling.penalty_score,
            ),
            target=target,
            meter=meter,
        )
        verbose = bool(wire.verbose)
        if application.mode == "tools":
            loop = await plugins.loop(asking, wire.plugins)
            if wire.stream:
                return Stream(_loop_events(loop, asking, verbose=verbose), answered_by(target))
            return await _loop_reply(loop, asking, verbose=verbose)
        prepared = await plugins.prepare(asking, (wire.plugins or application.plugins)[0])
        target = prepared.target or target
        if wire.stream:
            return Stream(
                _events(plugins, target, prepared, meter, verbose=verbose), answered_by(target)
            )
        if prepared.request is None:
            meter.settle(0, 0)
            meta = _meta(prepared, prepared.result, verbose=verbose)
            return Reply(_reply(prepared.result, Finish.NATURAL, Used(*meter.used), meta))
        reply = await plugins.chat.answer(target, prepared.request, meter)
        answer = reply.answers[0]
        used = Used(*meter.used, estimated=reply.usage.estimated)
        meta = _meta(prepared, answer.text, verbose=verbose)
        return Reply(
            _reply(answer.text, answer.finish, used, meta),
            answered_by(target, estimated=reply.usage.estimated),
        )

    return [Route(PLUGIN, answer)]


def _history(wire: PluginRequest) -> tuple[Message, ...]:
    """What was said before, which alternates and ends with the assistant.

    Raises:
        Invalid: It does not.
    """
    turns = wire.history or []
    if len(turns) > MAX_TURNS:
        raise Invalid(f"history has at most {MAX_TURNS} turns, got {len(turns)}", param="history")
    for place, turn in enumerate(turns):
        if turn.role != ("user", "assistant")[place % 2]:
            raise Invalid(
                f"history alternates user and assistant; history[{place}] is {turn.role[:32]!r}",
                param="history",
            )
    if len(turns) % 2:
        raise Invalid("history ends with the assistant's turn", param="history")
    return tuple(Message(turn.role, turn.content) for turn in turns)


def _meta(prepared: Prepared, answer: str, *, verbose: bool) -> dict[str, Any] | UnsetType:
    if not verbose:
        return UNSET
    cited = citations(answer, prepared.sources)
    return {
        **prepared.meta,
        "action": "llm",
        "action_input": []
        if prepared.request is None
        else [str(prepared.request.messages[-1].content)],
        "action_output": answer,
        "citations": [*map(_citation, cited)],
    }


def _reply(
    result: str, finish: Finish, usage: Used, meta: dict[str, Any] | UnsetType
) -> PluginReply:
    return PluginReply(
        log_id=random.getrandbits(31),
        id=new_id(),
        created=int(time.time()),
        result=result,
        is_truncated=finish is Finish.LENGTH,
        finish_reason=FINISH.get(finish, "normal"),
        usage=_usage(usage),
        meta_info=meta,
    )


class _Events:
    """The events of one stream, numbered."""

    def __init__(self) -> None:
        self._log_id, self._id, self._created = random.getrandbits(31), new_id(), int(time.time())
        self._next = 0

    def one(
        self,
        text: str,
        usage: Usage,
        finish: Finish | None = None,
        meta: dict[str, Any] | UnsetType = UNSET,
    ) -> PluginEvent:
        """The next; the last of a stream has a `finish`."""
        sentence_id, self._next = self._next, self._next + 1
        return PluginEvent(
            log_id=self._log_id,
            id=self._id,
            created=self._created,
            sentence_id=sentence_id,
            is_end=finish is not None,
            result=text,
            is_truncated=finish is Finish.LENGTH,
            finish_reason=UNSET if finish is None else FINISH.get(finish, "normal"),
            usage=usage,
            meta_info=meta,
        )

    def of(
        self, text: str, usage: Usage, finish: Finish | None, meta: dict[str, Any] | UnsetType
    ) -> Iterator[PluginEvent]:
        """A text in as many as it takes; the last of them has what ends it."""
        *early, last = pieces(text)
        for each in early:
            yield self.one(each, usage)
        yield self.one(last, usage, finish, meta)


async def _events(
    plugins: Plugins, target: Target, prepared: Prepared, meter: StepMeter, *, verbose: bool
) -> AsyncGenerator[PluginEvent]:
    events, usage, answer = _Events(), Usage(), ""
    if prepared.request is None:
        meter.settle(0, 0)
        meta = _meta(prepared, prepared.result, verbose=verbose)
        yield events.one(prepared.result, _usage(Used(*meter.used)), Finish.NATURAL, meta)
        return
    before = meter.used
    async with aclosing(plugins.chat.stream(target, prepared.request, meter)) as deltas:
        async for delta in deltas:
            if delta.usage is not None:
                usage = _usage(summed(before, delta.usage))
            if not delta.text and delta.finish is None:
                continue
            answer += delta.text
            meta = UNSET if delta.finish is None else _meta(prepared, answer, verbose=verbose)
            for event in events.of(delta.text, usage, delta.finish, meta):
                yield event


async def _loop_reply(loop: Loop, asking: Asking, *, verbose: bool) -> Reply:
    text, end = "", Piece(finish=Finish.NATURAL)
    steps: list[Step] = []
    async with aclosing(loop.run()) as pieces_:
        async for piece in pieces_:
            # What was said before a step was said to oneself.
            text = "" if piece.step is not None else text + piece.text
            steps += [] if piece.step is None else [piece.step]
            end = piece
    used = Used(*asking.meter.used, estimated=end.estimated)
    meta = _loop_meta(asking, steps, text, end) if verbose else UNSET
    body = _reply(text, end.finish or Finish.NATURAL, used, meta)
    return Reply(body, answered_by(asking.target, estimated=end.estimated))


async def _loop_events(loop: Loop, asking: Asking, *, verbose: bool) -> AsyncGenerator[PluginEvent]:
    events, answer = _Events(), ""
    steps: list[Step] = []
    async with aclosing(loop.run()) as pieces_:
        async for piece in pieces_:
            answer += piece.text
            usage = _usage(Used(*asking.meter.used, estimated=piece.estimated))
            if piece.step is not None:
                steps.append(piece.step)
                if verbose:
                    yield events.one("", usage, piece.finish, {"step": _step(piece.step)})
                continue
            told = piece.finish is not None and verbose
            meta = _loop_meta(asking, steps, answer, piece) if told else UNSET
            for event in events.of(piece.text, usage, piece.finish, meta):
                yield event


def _loop_meta(asking: Asking, steps: list[Step], answer: str, end: Piece) -> dict[str, Any]:
    cited = citations(answer, [step.output for step in steps if not step.failed])
    return {
        "plugin_id": ",".join(dict.fromkeys(step.plugin for step in steps if step.plugin)),
        "request": {"query": asking.question},
        "response": {"retCode": 1 if end.limit else 0, "message": end.text if end.limit else ""},
        "steps": [*map(_step, steps)],
        "limit": end.limit,
        "action": "tools",
        "action_input": [asking.question],
        "action_output": answer,
        "citations": [*map(_citation, cited)],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "plugin_id": step.plugin,
        "tool": step.tool,
        "inputs": step.inputs,
        "output": step.output,
        "failed": step.failed,
        "milliseconds": step.milliseconds,
    }


def _citation(each: Citation) -> dict[str, Any]:
    return {
        "sentence": each.sentence,
        "response": each.passage,
        "source": each.source,
        "support": round(each.support, 4),
    }


def summed(before: tuple[int, int], usage: Used) -> Used:
    """Of all steps."""
    return Used(
        before[0] + usage.prompt_tokens,
        before[1] + usage.completion_tokens,
        estimated=usage.estimated,
    )


def _usage(usage: Used) -> Usage:
    return Usage(
        usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, usage.estimated or UNSET
    )
