"""What a plugin is given by the platform, each thing by its permission; and calling one, within its time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from yangfan.engines.base import ChatRequest, Sampling
from yangfan.errors import (
    ConfigurationError,
    InternalError,
    PluginFailed,
    YangfanError,
)
from yangfan.plugins.base import Fetched, Outcome, Passage, Picture
from yangfan.server.chat import V2_PICTURE_BYTES
from yangfan.server.knowledge import Question

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from yangfan.egress import Egress
    from yangfan.engines.base import Message
    from yangfan.plugins.base import Host, K, Manifest, Permission, Run
    from yangfan.server.chat import Pictures
    from yangfan.server.knowledge import Found, Knowledge
    from yangfan.server.plugins.types import Asking
    from yangfan.server.services import Target

    Ask = Callable[[ChatRequest], Awaitable[str]]

_log = structlog.get_logger("yangfan.plugins")


class Means(NamedTuple):
    """What hosts of all plugins work with: the guard of outbound fetches, knowledge bases, and what gets and measures pictures."""

    egress: Egress
    knowledge: Knowledge
    pictures: Pictures


class PluginHost:
    """`yangfan.plugins.base.Host` for one call of one plugin.

    Args:
        manifest: The plugin's; it says what is permitted.
        settings: What the operator chose for it.
        asking: On whose behalf it is called, and for what question.
        means: What it works with.
        ask: The application's chat service.
        seeing: Who answers where there is a picture; None if no model that sees is served.
        kept: What the plugin keeps between calls.
    """

    def __init__(
        self,
        manifest: Manifest,
        settings: Mapping[str, Any],
        asking: Asking,
        *,
        means: Means,
        ask: Ask,
        seeing: Target | None,
        kept: dict[object, Any],
    ) -> None:
        self._manifest = manifest
        self._asking = asking
        self._egress, self._knowledge, self._pictures = means
        self._ask = ask
        self._kept = kept
        self.sees = seeing is not None
        self.settings = settings
        self.prompt = asking.application.prompt
        self.variables = asking.variables
        self.base_ids = asking.application.base_ids
        self.file_name = asking.file_name
        self.room_tokens = asking.target.service.context_tokens

    async def fetch(
        self,
        url: str,
        *,
        max_bytes: int,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        content: bytes | None = None,
    ) -> Fetched:
        """Ask another machine, through the guard. Raises FetchError."""
        self._permitted("network")
        async with self._egress.open(
            url,
            max_bytes=max_bytes,
            timeout_seconds=timeout_seconds,
            headers=headers,
            method=method,
            content=content,
        ) as response:
            body = await response.read()
            return Fetched(response.status, response.headers, body, response.url)

    async def search(self, question: str, *, top: int = 6) -> Sequence[Passage]:
        """The passages that answer a question. Raises RefusedError."""
        self._permitted("knowledge")
        application = self._asking.application
        found = await self._knowledge.search(
            application.base_ids,
            application.app_id,
            Question(question, top=top),
            self._asking.meter.key_id,
        )
        return [*map(_passage, found)]

    async def picture(self, address: str, *, param: str) -> Picture:
        """A picture by URL or data URI, measured. Raises InvalidImage."""
        if address[:5].lower() != "data:":
            self._permitted("network")
        (found,) = await self._pictures.get([(address, param)], max_bytes=V2_PICTURE_BYTES)
        facts = found.facts
        return Picture(found.data, facts.media_type, facts.width, facts.height, found.data_uri)

    def kept(self, make: Callable[[], K]) -> K:
        """One for all calls of the plugin."""
        if make not in self._kept:
            self._kept[make] = make()
        return self._kept[make]

    async def chat(
        self,
        messages: Sequence[Message],
        sampling: Sampling | None = None,
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> str:
        """What the application's chat service answers. Raises RefusedError."""
        self._permitted("chat")
        wanted = (
            None
            if schema is None
            else {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        )
        return await self._ask(
            ChatRequest(tuple(messages), sampling or Sampling(), response_format=wanted)
        )

    def _permitted(self, permission: Permission) -> None:
        if permission not in self._manifest.permissions:
            raise PluginFailed(
                f"{self._manifest.id} may not use {permission}; its plugin.toml lists permissions"
            )


async def called(manifest: Manifest, run: Run, inputs: Mapping[str, Any], host: Host) -> Outcome:
    """What a plugin makes of inputs, which were checked.

    Raises:
        PluginFailed: It raised something, gave nothing useful, or took too long.
        RefusedError: The platform refused what it asked for.
    """
    name = manifest.id
    try:
        async with asyncio.timeout(manifest.timeout_seconds):
            outcome: Any = await run(inputs, host)
    except TimeoutError:
        raise PluginFailed(f"{name} took longer than {manifest.timeout_seconds:g} s") from None
    except (ConfigurationError, InternalError) as error:
        raise PluginFailed(f"{name}: {error.message}") from error
    except YangfanError as error:
        if isinstance(error, PluginFailed) or not hasattr(error, "retryable"):
            raise PluginFailed(f"{name}: {error.message}") from error
        raise
    except Exception as error:  # noqa: BLE001 - other people's code: theirs to mend, and no traceback for the caller
        _log.exception("plugin failed", plugin=name)
        raise PluginFailed(
            f"{name} failed ({type(error).__name__}); the server's log has it"
        ) from None
    if not isinstance(outcome, Outcome):
        raise PluginFailed(f"{name} gave back a {type(outcome).__name__}, not an Outcome")
    return outcome


def _passage(found: Found) -> Passage:
    passage, document = found.passage, found.document
    return Passage(
        text=passage.text,
        headings=passage.headings,
        page=passage.page,
        place=passage.place,
        number=passage.number,
        document_id=document.id,
        document_name=document.name,
        base_id=found.base.id,
        base_name=found.base.name,
        score=found.score,
        similarity=found.similarity,
        coverage=found.coverage,
    )
