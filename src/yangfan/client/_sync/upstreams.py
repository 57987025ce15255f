# Generated from _async by scripts/unasync.py; edit there.
"""`client.upstreams`: other people's servers behind the platform's names (Yangfan servers)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from yangfan.client.types import JSON, Upstream, UpstreamTrial
from yangfan.protocol.v2.upstreams import (
    CREATE_UPSTREAM,
    DELETE_UPSTREAM,
    DESCRIBE_UPSTREAMS,
    MODIFY_UPSTREAM,
    TEST_UPSTREAM,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.client._sync.session import Session
    from yangfan.protocol.v2 import upstreams as wire


class Upstreams:
    """Other people's servers that the platform asks. Every call is signed: it needs access_key and secret_access_key."""

    def __init__(self, session: Session) -> None:
        """Made by the client."""
        self._session = session

    def create(  # noqa: PLR0913 - what an upstream is made of
        self,
        name: str,
        base_url: str,
        *,
        key: str = "",
        dialect: wire.Dialect = "openai",
        models: Sequence[str] | None = None,
        kinds: Mapping[str, wire.RemoteKind] | None = None,
        rename: Mapping[str, str] | None = None,
        presets: bool = True,
        first_byte_timeout_seconds: float | None = None,
        idle_timeout_seconds: float | None = None,
    ) -> Upstream:
        """Ask another server from now on; its models answer at once.

        Args:
            name: 1 to 64 letters, digits, dots, dashes and underscores.
            base_url: Such as ``https://qianfan.baidubce.com/v2``.
            key: Its key; kept sealed, never shown again.
            dialect: qianfan for Baidu's cloud and another Yangfan, openai for the rest.
            models: Names to offer; all that it lists by default.
            kinds: What a model is for, where its name does not tell: chat, embeddings, rerank, images.
            rename: Name in calls to name there.
            presets: Whether it answers Qianfan's names.
            first_byte_timeout_seconds: Longest wait for an answer to begin, 120 by default, at most 86,400.
            idle_timeout_seconds: Longest silence within an answer, likewise.

        Raises:
            Invalid: The name or the address is not usable, or there is an upstream of that name.
        """
        body: JSON = {
            "name": name,
            "baseUrl": base_url,
            "apiKey": key,
            "dialect": dialect,
            "kinds": dict(kinds or {}),
            "rename": dict(rename or {}),
            "presets": presets,
        }
        if models is not None:
            body["models"] = [*models]
        body.update(_timeouts(first_byte_timeout_seconds, idle_timeout_seconds))
        call = self._session.management_call(CREATE_UPSTREAM, body)
        return _upstream((self._session.fetch(call, CREATE_UPSTREAM.reply)).result)

    def list(self) -> tuple[Upstream, ...]:
        """All upstreams, in the order in which they are asked."""
        call = self._session.management_call(DESCRIBE_UPSTREAMS, {})
        reply = self._session.fetch(call, DESCRIBE_UPSTREAMS.reply)
        return tuple(_upstream(item) for item in reply.result.items)

    def modify(  # noqa: PLR0913 - as above
        self,
        name: str,
        *,
        base_url: str | None = None,
        key: str | None = None,
        dialect: wire.Dialect | None = None,
        models: Sequence[str] | None = None,
        kinds: Mapping[str, wire.RemoteKind] | None = None,
        rename: Mapping[str, str] | None = None,
        presets: bool | None = None,
        first_byte_timeout_seconds: float | None = None,
        idle_timeout_seconds: float | None = None,
    ) -> Upstream:
        """Change what is given; calls under way end as they began. A new address needs the key again.

        Raises:
            Invalid: There is no such upstream, it is kept in the settings file, or the address is not usable.
        """
        wanted: JSON = {
            "baseUrl": base_url,
            "apiKey": key,
            "dialect": dialect,
            "models": None if models is None else [*models],
            "kinds": None if kinds is None else dict(kinds),
            "rename": None if rename is None else dict(rename),
            "presets": presets,
        }
        body: JSON = {"name": name}
        body.update((field, value) for field, value in wanted.items() if value is not None)
        body.update(_timeouts(first_byte_timeout_seconds, idle_timeout_seconds))
        call = self._session.management_call(MODIFY_UPSTREAM, body)
        return _upstream((self._session.fetch(call, MODIFY_UPSTREAM.reply)).result)

    def remove(self, name: str) -> None:
        """Forget an upstream and its key.

        Raises:
            Invalid: There is no such upstream, or it is kept in the settings file.
        """
        call = self._session.management_call(DELETE_UPSTREAM, {"name": name})
        self._session.fetch(call, DELETE_UPSTREAM.reply)

    def test(self, name: str) -> UpstreamTrial:
        """Ask an upstream for its models now, which costs nothing there.

        Raises:
            Invalid: There is no such upstream.
        """
        call = self._session.management_call(TEST_UPSTREAM, {"name": name})
        found = (self._session.fetch(call, TEST_UPSTREAM.reply)).result
        return UpstreamTrial(found.ok, found.message, found.modelCount, found.milliseconds)


def _timeouts(first_byte: float | None, idle: float | None) -> JSON:
    wanted = {"firstByteTimeoutInSeconds": first_byte, "idleTimeoutInSeconds": idle}
    return {field: value for field, value in wanted.items() if value is not None}


def _upstream(item: wire.Upstream) -> Upstream:
    return Upstream(
        name=item.name,
        base_url=item.baseUrl,
        dialect=item.dialect,
        masked_key=item.apiKey,
        models=None if item.models is UNSET else tuple(item.models),
        kinds=item.kinds,
        rename=item.rename,
        presets=item.presets,
        model_count=item.modelCount,
        error=item.error,
        source=item.source,
        first_byte_timeout_seconds=item.firstByteTimeoutInSeconds,
        idle_timeout_seconds=item.idleTimeoutInSeconds,
    )
