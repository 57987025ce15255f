"""Keys with limits on a real server, and a ledger on real files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from tests.server.conftest import Caller, Reply

V1_CHAT = "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/"
V2_CHAT = "/v2/chat/completions"


@dataclass(frozen=True)
class Holder:
    """Who holds one key, and calls with it."""

    caller: Caller
    key_id: str
    secret: str

    def v1(self, model: str = "ernie_speed", **body: Any) -> Reply:
        """One v1 chat call that says hi."""
        sent = {"messages": [{"role": "user", "content": "hi"}], **body}
        return self.caller.ask("POST", V1_CHAT + model, sent, self._headers())

    def v2(self, model: str = "echo", **body: Any) -> Reply:
        """One v2 chat call that says hi."""
        sent = {"model": model, "messages": [{"role": "user", "content": "hi"}], **body}
        return self.caller.ask("POST", V2_CHAT, sent, self._headers())

    def used(self) -> Mapping[str, int]:
        """Requests and tokens of the key, as the server counts them."""
        return used(self.caller, self.key_id)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}


def used(caller: Caller, key_id: str) -> dict[str, int]:
    """Requests and tokens of a key over all days and models."""
    path = "/v2/usage?Action=DescribeUsage"
    reply = caller.ask("POST", path, {"keyId": key_id}, caller.signed("POST", path))
    assert reply.status == 200, reply.body
    items = reply.json["result"]["items"]
    return {name: sum(item[name] for item in items) for name in ("requests", "totalTokens")}


Grant = Callable[..., Holder]


def granted(caller: Caller, **limits: Any) -> Holder:
    """A new key with limits."""
    made = caller.result("CreateApiKey", limits)
    return Holder(caller, made["keyId"], made["secret"])


@pytest.fixture
def grant(echo: Caller) -> Grant:
    """A new key with limits on the shared server."""

    def make(**limits: Any) -> Holder:
        return granted(echo, **limits)

    return make
