"""Other people's tools: reading them out of an OpenAPI document or from an MCP server, keeping them, and calling one."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from yangfan.errors import (
    BadReply,
    ConfigurationError,
    Conflict,
    EgressDenied,
    FetchError,
    Invalid,
    NotFound,
    PluginFailed,
)
from yangfan.plugins._schema import Inputs
from yangfan.server.plugins import mcp_client, openapi, operations
from yangfan.server.plugins.operations import Auth, Told
from yangfan.server.plugins.types import Bridge

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from yangfan.egress import Egress
    from yangfan.server.plugins.bridge_store import BridgeStore
    from yangfan.server.plugins.mcp_client import Session
    from yangfan.server.plugins.tools import Tool
    from yangfan.server.plugins.types import BridgeKind

MAX_BRIDGES: Final = 64
"""Of one application."""

READ_SECONDS: Final = 30.0
CALL_SECONDS: Final = 60.0

AUTHS: Final = ("none", "bearer", "basic", "header", "query")
_FIELD = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_OWN_FIELDS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection"}
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A bridge that somebody wants.

    Attributes:
        id: What applications are to name it by.
        kind: openapi, mcp or program.
        document: An OpenAPI document, in JSON or YAML; "" if it is to be fetched.
        url: Of the document, or of the MCP server.
        program: Name of a program that the operator listed.
        base_url: Where operations are, where the document does not say or is to be overruled.
        auth: How to show who asks; "" for what the document says.
        auth_name: Of the header field or parameter.
        secret: The key.
        title: For people; as the other side calls itself by default.
    """

    id: str
    kind: BridgeKind
    document: str = ""
    url: str = ""
    program: str = ""
    base_url: str = ""
    auth: str = ""
    auth_name: str = ""
    secret: str = ""
    title: str = ""


class Bridges:
    """All bridges.

    Args:
        store: Where they are kept.
        egress: The guard of outbound fetches.
        programs: MCP servers that the operator allows to be started: name to command.
        reserved: Ids that are plugins' own.
    """

    def __init__(
        self,
        store: BridgeStore,
        egress: Egress,
        programs: Mapping[str, Sequence[str]],
        reserved: Sequence[str],
    ) -> None:
        self._store = store
        self._egress = egress
        self._programs = programs
        self._reserved = frozenset(reserved)

    async def create(self, app_id: str, wanted: Wanted) -> Bridge:
        """Read the other side's tools, and keep them.

        Raises:
            Invalid: Something is missing or no document, or the other side cannot be reached or refuses.
            Conflict: There is one of that id, or too many.
        """
        if wanted.id in self._reserved:
            raise Conflict(f"{wanted.id!r} is the id of a plugin; take another one", param="id")
        if len(await self._store.all(app_id)) >= MAX_BRIDGES:
            raise Conflict(
                f"there are {MAX_BRIDGES} bridges already, which is the most; remove one"
            )
        if await self._store.get(app_id, wanted.id) is not None:
            raise self._taken(wanted.id)
        bridge = await self._read(app_id, wanted)
        if not await self._store.add(bridge):
            raise self._taken(wanted.id)
        return bridge

    async def all(self, app_id: str) -> list[Bridge]:
        """Those of an application, the oldest first."""
        return await self._store.all(app_id)

    async def find(self, app_id: str, bridge_id: str) -> Bridge | None:
        """One of an application's."""
        return await self._store.get(app_id, bridge_id)

    async def get(self, app_id: str, bridge_id: str) -> Bridge:
        """The same.

        Raises:
            NotFound: It has none of that id.
        """
        found = await self._store.get(app_id, bridge_id)
        if found is None:
            raise NotFound(
                f"there is no bridge {bridge_id[:64]!r}; `yangfan plugins list` shows them"
            )
        return found

    async def modify(
        self, app_id: str, bridge_id: str, *, secret: str | None = None, document: str | None = None
    ) -> Bridge:
        """Give a bridge another key or document; and read its tools again in any case.

        Raises:
            NotFound: There is none of that id.
            Invalid: The document is none, or the other side cannot be reached or refuses.
        """
        old = await self.get(app_id, bridge_id)
        if old.kind == "openapi" and not old.source_url and document is None:
            # Its document came by hand and was not kept.
            changed = replace(old, secret=old.secret if secret is None else secret)
        else:
            wanted = Wanted(
                id=old.id,
                kind=old.kind,
                document=document or "",
                url=old.source_url if old.kind == "openapi" else old.address,
                program=old.address,
                base_url=old.address,
                auth=old.auth,
                auth_name=old.auth_name,
                secret=old.secret if secret is None else secret,
                title=old.title,
            )
            changed = replace(await self._read(app_id, wanted), created_ms=old.created_ms)
        await self._store.replace(changed)
        return changed

    async def remove(self, app_id: str, bridge_id: str) -> None:
        """Forget one and its key.

        Raises:
            NotFound: There is none of that id.
        """
        await self.get(app_id, bridge_id)
        await self._store.remove(app_id, bridge_id)

    async def call(self, bridge: Bridge, tool: Tool, inputs: Mapping[str, Any]) -> Told:
        """Call a tool.

        Raises:
            InvalidPluginArgument: The inputs are not what its schema asks for.
            PluginFailed: The guard refuses its address, or there is no usable answer.
        """
        try:
            Inputs(tool.inputs).check(inputs, tool.name)
            async with asyncio.timeout(CALL_SECONDS):
                if bridge.kind == "openapi":
                    return await operations.call(
                        self._egress, tool, bridge.address, _auth(bridge), inputs, CALL_SECONDS
                    )
                async with self._session(bridge) as (session, _):
                    return await mcp_client.call_tool(session, tool, inputs)
        except TimeoutError:
            raise PluginFailed(f"{tool.name} took longer than {CALL_SECONDS:g} s") from None
        except (FetchError, BadReply, ConfigurationError) as error:
            raise PluginFailed(f"{tool.name}: {error.message}") from error

    async def _read(self, app_id: str, wanted: Wanted) -> Bridge:
        now = int(time.time() * 1000)
        bridge = Bridge(
            id=wanted.id,
            app_id=app_id,
            kind=wanted.kind,
            title=wanted.title,
            description="",
            address=wanted.url,
            source_url="",
            auth=wanted.auth or ("bearer" if wanted.secret else "none"),
            auth_name=wanted.auth_name,
            secret=wanted.secret,
            tools=(),
            left_out=(),
            created_ms=now,
            read_ms=now,
        )
        try:
            if wanted.kind == "openapi":
                bridge = await self._read_document(bridge, wanted)
            elif wanted.kind == "mcp":
                if not wanted.url:
                    raise Invalid("an MCP server needs its url", param="url")
                bridge = await self._read_server(_checked(bridge))
            else:
                bridge = await self._read_server(replace(bridge, address=wanted.program))
        except EgressDenied as error:
            raise Invalid(error.message, param="url") from error
        except (FetchError, BadReply, PluginFailed) as error:
            raise Invalid(f"its tools cannot be read: {error.message}", param="url") from error
        return bridge

    async def _read_document(self, bridge: Bridge, wanted: Wanted) -> Bridge:
        text = wanted.document
        if not text:
            if not wanted.url:
                raise Invalid("give an OpenAPI document, or its url", param="document")
            async with self._egress.open(
                wanted.url, max_bytes=openapi.MAX_JSON_BYTES, timeout_seconds=READ_SECONDS
            ) as response:
                content = await response.read()
                if response.status != 200:
                    raise Invalid(f"{response.name} answered HTTP {response.status}", param="url")
            text = content.decode("utf-8-sig", "replace")
        source_url = "" if wanted.document else wanted.url
        found = await asyncio.to_thread(openapi.read, text, source_url=source_url)
        address = wanted.base_url or found.base_url
        if not address:
            raise Invalid("the document names no server; give baseUrl", param="baseUrl")
        return _checked(
            replace(
                bridge,
                address=address,
                source_url=source_url,
                title=bridge.title or found.title,
                description=found.description,
                auth=wanted.auth or (found.auth if wanted.secret else "none"),
                auth_name=wanted.auth_name or found.auth_name,
                tools=found.tools,
                left_out=found.left_out,
            )
        )

    async def _read_server(self, bridge: Bridge) -> Bridge:
        async with self._session(bridge) as (session, name):
            tools = await mcp_client.tools_of(session)
        if not tools:
            raise Invalid("the MCP server has no tools", param="url")
        return replace(bridge, title=bridge.title or name, tools=tuple(tools))

    @asynccontextmanager
    async def _session(self, bridge: Bridge) -> AsyncGenerator[tuple[Session, str]]:
        if bridge.kind == "mcp":
            fields = _auth(bridge).fields()
            async with mcp_client.over_http(
                self._egress, bridge.address, fields, READ_SECONDS
            ) as opened:
                yield opened
            return
        command = self._programs.get(bridge.address)
        if not command:
            allowed = ", ".join(self._programs) or "none"
            raise Invalid(
                f"the program {bridge.address[:64]!r} is not allowed; mcp_programs in the settings lists: {allowed}",
                param="program",
            )
        async with mcp_client.over_pipe(command, CALL_SECONDS) as opened:
            yield opened

    def _taken(self, bridge_id: str) -> Conflict:
        return Conflict(f"there is a bridge {bridge_id!r} already; take another id", param="id")


def _auth(bridge: Bridge) -> Auth:
    return Auth(bridge.auth, bridge.auth_name, bridge.secret)


def _checked(bridge: Bridge) -> Bridge:
    """Refuse what could never be sent."""
    if bridge.auth not in AUTHS:
        raise Invalid(f"auth is one of {', '.join(AUTHS)}; got {bridge.auth[:32]!r}", param="auth")
    if bridge.auth != "none" and not bridge.secret:
        raise Invalid(f"auth {bridge.auth} needs a secret", param="secret")
    if bridge.auth in {"header", "query"}:
        name = bridge.auth_name
        if not _FIELD.fullmatch(name) or (bridge.auth == "header" and name.lower() in _OWN_FIELDS):
            raise Invalid(f"auth {bridge.auth} needs a name that can be one", param="authName")
    if bridge.auth != "basic" and not (bridge.secret.isascii() and bridge.secret.isprintable()):
        raise Invalid("a secret is printable ASCII on one line", param="secret")
    return bridge
