"""Two hundred schemas that hold something no engine must see: the server answers each at once, and gives a reason where it refuses.

The same generator's schemas meet the real engine in tests/endtoend/test_schemas.py, which takes a sample.
"""

from __future__ import annotations

import json
import random
import time
from typing import Any

from tests.conftest import Server
from tests.endtoend.test_schemas import LEAVES, grow
from tests.server.conftest import Caller

from yangfan.errors import Invalid
from yangfan.server.chat.schema import Reducer

SCHEMAS = 200
HOSTILE = LEAVES[8:]
SECONDS_EACH = 2.0


def hostile_schemas() -> list[Any]:
    """So many, all different, each with a leaf that no engine must see."""
    seed, found = random.Random(13), dict[str, Any]()
    while len(found) < SCHEMAS:
        schema = grow(seed, 3, LEAVES)
        text = json.dumps(schema, ensure_ascii=False)
        if any(json.dumps(leaf) in text for leaf in HOSTILE):
            found[text] = schema
    return list(found.values())


def test_hostile_schemas_are_answered_at_once_and_refused_with_a_reason(echo_server: Server):
    caller, refused = Caller(echo_server), 0
    for schema in hostile_schemas():
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        body = {
            "model": "echo",
            "messages": [{"role": "user", "content": "hi"}],
            "response_format": wanted,
        }
        began = time.monotonic()
        reply = caller.v2(body)
        assert time.monotonic() - began < SECONDS_EACH, schema
        if reply.status == 200:
            continue
        error = reply.json["error"]
        assert (reply.status, error["code"]) == (400, "invalid_argument"), (schema, reply.body)
        assert "response_format.json_schema.schema" in error["message"], error
        refused += 1
    assert refused >= SCHEMAS // 2


def test_what_is_left_of_a_hostile_schema_is_harmless():
    for schema in hostile_schemas():
        try:
            left = Reducer(exact=True).reduce(schema, "schema")
        except Invalid:
            continue
        text = json.dumps(left)
        assert all(json.dumps(leaf) not in text for leaf in HOSTILE), (schema, left)
        assert Reducer(exact=True).reduce(left, "schema") == left
