"""`yangfan services` against a real server."""

from __future__ import annotations

import json

from tests.cli.conftest import Command


def test_a_service_from_the_cradle_to_the_grave(yangfan: Command):
    made = yangfan.inside(
        *("services", "create", "echo", "cli-one", "-o", "prefix=c ", "-o", "slots=2", "--watch")
    )
    assert made.status == 0, made.err
    suffix, service_id, status = made.out.strip().split("\t")
    assert (suffix, status) == ("cli-one", "Serving")
    assert "serving: echo runs" in made.err
    listed = yangfan.inside("services", "list", "--name", "cli-").out.split("\t")
    assert listed[:3] == ["cli-one", service_id, "Serving"]
    shown = json.loads(yangfan.inside("services", "show", "cli-one", "--json").out)
    assert shown["deployments"][0]["engine_options"] == {"prefix": "c ", "slots": 2}
    assert "status    Serving" in yangfan.inside("services", "show", "cli-one").out
    changed = yangfan.inside(
        *("services", "modify", "cli-one", "--qps", "7.5", "--on-demand", "--idle", "900"),
        *("--priority", "3", "--fallback", "echo", "--description", "d", "--json"),
    )
    told = json.loads(changed.out)
    assert (told["qps"], told["warm"], told["idle_seconds"], told["priority"]) == (
        7.5,
        False,
        900,
        3,
    )
    assert (told["fallback"], told["description"]) == ("echo", "d")
    assert yangfan.inside("services", "modify", "cli-one", "--qps", "0", "--warm").status == 0
    assert "calls a secondany number" in yangfan.inside("services", "show", "cli-one").out
    scaled = yangfan.inside("services", "scale", "cli-one", "2", "--watch", "--json")
    assert json.loads(scaled.out)["replicas"] == 2
    rolled = yangfan.inside(
        "services", "rollout", "cli-one", "echo", "-o", "prefix=d ", "--bake", "0", "--watch"
    )
    assert "promoted: echo takes all calls" in rolled.err
    assert yangfan.inside("chat", "hi", "--model", "cli-one").out.strip() == "d hi"
    used = json.loads(yangfan.inside("services", "usage", "cli-one", "--json").out)
    assert [(each["name"], each["calls"], each["failed_calls"]) for each in used] == [
        ("cli-one", 1, 0)
    ]
    events = json.loads(yangfan.inside("services", "events", "cli-one", "--json").out)
    assert events[0]["kind"] == "created"
    later = yangfan.inside("services", "events", "cli-one", "--after", str(events[0]["number"]))
    assert later.out.count("\n") == len(events) - 1
    canary = yangfan.inside("services", "rollout", "cli-one", "echo", "--weight", "10")
    assert canary.status == 0
    assert yangfan.inside("services", "rollback", "cli-one").status == 0
    none = yangfan.inside("services", "promote", "cli-one")
    assert (none.status, "no rollout of cli-one goes on" in none.err) == (1, True)
    assert yangfan.inside("services", "logs", "cli-one").out.startswith("==> dep-")
    assert yangfan.inside("services", "stop", "cli-one").out.endswith("Stopped\n")
    assert yangfan.inside("services", "start", "cli-one", "--watch").out.endswith("Serving\n")
    assert yangfan.inside("services", "rm", "cli-one").status == 0
    gone = yangfan.inside("services", "show", "cli-one")
    assert (gone.status, "no service 'cli-one'" in gone.err) == (1, True)


def test_a_service_that_fails_ends_the_command_with_its_reason(yangfan: Command):
    made = yangfan.inside(
        "services", "create", "echo", "cli-bad", "-o", "start_fails=true", "--watch"
    )
    assert made.status == 1
    assert "told to fail by the option start_fails" in made.err
    yangfan.inside("services", "rm", "cli-bad")


def test_preset_services_are_listed(yangfan: Command):
    rows = [line.split("\t") for line in yangfan.inside("services", "presets").out.splitlines()]
    assert any(row[:3] == ["ERNIE-Speed-8K", "chat", "echo"] for row in rows), rows[:3]


def test_an_option_without_a_value_is_refused_at_once(yangfan: Command):
    refused = yangfan.inside("services", "create", "echo", "cli-x", "--option", "slots")
    assert (refused.status, "KEY=VALUE" in refused.err) == (2, True)
