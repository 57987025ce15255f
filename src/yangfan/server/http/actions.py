"""What every `?Action=` of the console answers when it succeeds."""

from __future__ import annotations

import uuid

from yangfan.protocol.v2.keys import ActionReply
from yangfan.server.http.call import Reply


def success(result: object) -> Reply:
    """`{requestId, result}`, under a new id."""
    return Reply(ActionReply(str(uuid.uuid4()), result))
