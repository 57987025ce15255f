"""`yangfan apps` against a real server."""

from __future__ import annotations

import json

import pytest
from tests.cli.conftest import Command


def test_application_lives_from_its_creation_to_its_deletion(yangfan: Command):
    made = yangfan.inside("apps", "create", "--name", "网关")
    app_id = made.out.strip()
    assert (made.status, app_id[:4]) == (0, "app-")
    keys = [
        json.loads(yangfan.inside("keys", "create", "--app", app_id, "--json").out)
        for _ in range(2)
    ]
    assert [key["app_id"] for key in keys] == [app_id, app_id]
    row = next(
        line.split("\t")
        for line in yangfan("apps", "list").out.splitlines()
        if line.startswith(app_id)
    )
    assert (row[1], row[3]) == ("网关", "2")
    listed = yangfan("keys", "list").out.splitlines()
    assert all(any(key["id"] in line and app_id in line for line in listed) for key in keys)
    assert yangfan.inside("apps", "delete", app_id).status == 0
    assert app_id not in yangfan.inside("apps", "list", "--json").out
    found = {
        key["id"]: key["status"] for key in json.loads(yangfan.inside("keys", "list", "--json").out)
    }
    assert [found[key["id"]] for key in keys] == ["revoked", "revoked"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["apps", "create", "--name", "x" * 65], 1, "name"),
        (["apps", "delete", "app-none"], 1, "yangfan apps list"),
        (["apps", "delete"], 2, "app_id"),
        (["keys", "create", "--app", "app-none"], 1, "yangfan apps list"),
    ],
)
def test_mistake_is_said_clearly(yangfan: Command, arguments: list[str], status: int, said: str):
    shown = yangfan.inside(*arguments)
    assert (shown.status, shown.out) == (status, "")
    assert said in shown.err.lower()
