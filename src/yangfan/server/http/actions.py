"""What every `?Action=` of the console answers when it succeeds."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from yangfan.protocol.v2.keys import ActionReply
from yangfan.server.http.call import Reply


def success(result: object) -> Reply:
    """`{requestId, result}`, under a new id."""
    return Reply(ActionReply(str(uuid.uuid4()), result))


def moment(ms: int) -> str:
    """Milliseconds since 1970 as the console writes a time: ISO 8601, UTC, whole seconds."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
