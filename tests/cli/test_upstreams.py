"""`yangfan upstreams` against a real server."""

from __future__ import annotations

import json

from tests.cli.conftest import Command

KEY = "sk-canary-abcdefghijklmnop"
URL = "http://127.0.0.1:9/v1"


def test_an_upstream_from_the_cradle_to_the_grave(yangfan: Command):
    made = yangfan(
        *("upstreams", "add", "mine", URL, "--model", "big", "--rename", "old=big"),
        *("--kind", "big=rerank", "--first-byte-timeout-seconds", "7"),
        stdin=f"{KEY}\n".encode(),
    )
    assert (made.status, made.out) == (0, f"mine: {URL}, 1 models\n")
    assert "egress_allow" in made.err  # a private address that is not listed
    listed = yangfan("upstreams", "list")
    assert listed.out.split("\t")[:4][0].endswith("mine")
    assert "…mnop" in listed.out
    shown = json.loads(yangfan("upstreams", "show", "mine").out)
    assert (shown["models"], shown["rename"], shown["dialect"]) == (
        ["big"],
        {"old": "big"},
        "openai",
    )
    assert shown["kinds"] == {"big": "rerank"}
    assert (shown["first_byte_timeout_seconds"], shown["idle_timeout_seconds"]) == (7.0, 120.0)
    tried = yangfan("upstreams", "test", "mine")
    assert (tried.status, "egress_allow" in tried.out) == (1, True)
    renewed = yangfan("upstreams", "rekey", "mine", stdin=b"sk-another-0123456789\n")
    assert renewed.status == 0
    assert yangfan("upstreams", "remove", "mine").status == 0
    gone = yangfan("upstreams", "show", "mine")
    assert gone.status == 2
    for result in (made, listed, tried, renewed, gone):
        assert KEY not in result.out + result.err


def test_a_wrong_pair_is_refused_at_once(yangfan: Command):
    refused = yangfan("upstreams", "add", "other", URL, "--rename", "old", "--no-key")
    assert (refused.status, "OLD=NEW" in refused.err) == (2, True)
    refused = yangfan("upstreams", "add", "other", URL, "--kind", "big=video", "--no-key")
    assert (refused.status, "'video' is none of chat, embeddings" in refused.err) == (2, True)


def test_a_key_may_come_from_a_variable(yangfan: Command):
    given = ("upstreams", "add", "third", URL, "--key-env", "THE_KEY")
    missing = yangfan(*given)
    assert (missing.status, "THE_KEY is not set" in missing.err) == (2, True)
    assert yangfan(*given, environ={"THE_KEY": KEY}).status == 0
    assert "…mnop" in yangfan("upstreams", "list").out
    yangfan("upstreams", "remove", "third")
