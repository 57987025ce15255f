"""`yangfan keys` against a real server."""

from __future__ import annotations

import json

import pytest
from tests.cli.conftest import Command
from tests.conftest import Server


def created(command: Command, kind: str) -> dict[str, str]:
    shown = command.inside("keys", "create", "--kind", kind, "--name", f"a {kind} key")
    assert shown.status == 0, shown.err
    return dict(line.split(": ") for line in shown.out.splitlines())


@pytest.mark.parametrize("kind", ["bearer", "oauth", "signature"])
def test_new_key_opens_the_server_under_the_names_of_the_options(
    yangfan: Command, lonely: Command, echo_server: Server, kind: str
):
    options = [
        word for name, value in created(yangfan, kind).items() for word in (f"--{name}", value)
    ]
    shown = lonely.inside("chat", "hello", "--base-url", echo_server.base_url, *options)
    assert (shown.out, shown.err) == ("hello\n", "")


def test_secret_is_shown_once_and_that_is_said(yangfan: Command):
    made = yangfan("keys", "create", "--kind", "oauth", "--name", "网关")
    assert made.status == 0
    api_key, secret_key = (line.split(": ")[1] for line in made.out.splitlines())
    assert "not shown again" in made.err
    listed = yangfan("keys", "list")
    assert listed.status == 0
    row = next(line.split("\t") for line in listed.out.splitlines() if line.startswith(api_key))
    assert row[1:4] == ["oauth", "网关", "enable"]
    assert row[5] == "never"
    assert secret_key not in listed.out + yangfan.inside("keys", "list", "--json").out


def test_key_as_json(yangfan: Command):
    shown = yangfan.inside("keys", "create", "--json", "--expires-in", "60")
    key = json.loads(shown.out)
    assert (key["kind"], key["name"], shown.err) == ("bearer", "", "")
    assert key["id"] in key["secret"]
    listed = json.loads(yangfan.inside("keys", "list", "--json").out)
    assert next(item for item in listed if item["id"] == key["id"])["expires_at"] is not None


def test_revoked_key_no_longer_opens(yangfan: Command, lonely: Command, echo_server: Server):
    key = json.loads(yangfan.inside("keys", "create", "--json").out)
    access = ("--base-url", echo_server.base_url, "--bearer", key["secret"])
    assert lonely.inside("chat", "hello", *access).status == 0
    assert yangfan.inside("keys", "revoke", key["id"]).status == 0
    refused = lonely.inside("chat", "hello", *access)
    assert (refused.status, refused.out) == (1, "")
    assert key["secret"] not in refused.err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["create", "--kind", "magic"], 2, "--kind"),
        (["create", "--expires-in", "0"], 2, "--expires-in"),
        (["create", "--name", "x" * 65], 1, "name"),
        (["revoke", "no-such-key"], 1, "no-such-key"),
        (["revoke"], 2, "key_id"),
        ([], 2, "revoke"),
    ],
)
def test_mistake_is_said_clearly(yangfan: Command, arguments: list[str], status: int, said: str):
    shown = yangfan.inside("keys", *arguments)
    assert (shown.status, shown.out) == (status, "")
    assert said in shown.err.lower()


def test_bearer_key_alone_cannot_manage_keys(lonely: Command, echo_server: Server):
    shown = lonely.inside(
        "keys", "list", "--base-url", echo_server.base_url, "--bearer", "bce-v3/x/y"
    )
    assert shown.status == 1
    assert "access_key" in shown.err
