"""`yangfan usage`, and keys with limits, against a real server."""

from __future__ import annotations

import json

from tests.cli.conftest import Command
from tests.conftest import Server


def test_usage_of_a_key_is_shown(yangfan: Command, lonely: Command, echo_server: Server):
    key = json.loads(yangfan.inside("keys", "create", "--json", "--rpm", "2").out)
    access = ("--base-url", echo_server.base_url, "--bearer", key["secret"])
    for _ in range(2):
        assert lonely.inside("chat", "hi", *access).status == 0
    refused = lonely.inside("chat", "hi", "--max-retries", "0", *access)
    assert refused.status != 0
    shown = yangfan("usage", "--key", key["id"], "--days", "2")
    assert (shown.status, shown.err) == (0, "")
    (line,) = shown.out.splitlines()
    assert line.split("\t")[1:] == [key["id"], "echo", "2", "6", "2", "8"]
    (item,) = json.loads(yangfan.inside("usage", "--key", key["id"], "--json").out)
    assert (item["model"], item["requests"], item["prompt_tokens"]) == ("echo", 2, 6)
    assert yangfan.inside("usage", "--key", key["id"], "--model", "other").out == ""


def test_limits_of_a_key_are_taken_and_listed(yangfan: Command):
    options = ["--rpm", "1", "--tpm", "2", "--daily-tokens", "3", "--total-tokens", "4"]
    options += ["--model", "Echo", "--model", "qwen", "--lenient"]
    key = json.loads(yangfan.inside("keys", "create", "--json", *options).out)
    listed = yangfan.inside("keys", "list").out.splitlines()
    row = next(line.split("\t") for line in listed if line.startswith(key["id"]))
    assert row[7] == (
        "rpm 1, tpm 2, daily-tokens 3, total-tokens 4, model echo, model qwen, lenient"
    )


def test_limit_of_nothing_is_refused(yangfan: Command):
    refused = yangfan.inside("keys", "create", "--rpm", "0")
    assert refused.status == 2
    assert "--rpm" in refused.err
