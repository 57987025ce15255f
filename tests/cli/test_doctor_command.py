"""`yangfan doctor`: the table, the JSON and the exit status."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from tests.cli.conftest import Command
from tests.conftest import Server

STATES = {"ok", "warning", "problem"}


def test_healthy_machine_has_no_problem(yangfan: Command, echo_server: Server):
    port = str(urlsplit(echo_server.base_url).port)
    shown = yangfan("doctor", "--port", port)
    rows = [line.split("\t") for line in shown.out.splitlines()]
    assert (shown.status, shown.err) == (0, "")
    assert {row[0] for row in rows} <= STATES - {"problem"}
    assert ["ok", f"port {port}", "a Yangfan server answers there", ""] in rows
    assert any(row[1] == "clock" and "running server" in row[2] for row in rows)


def test_problem_ends_with_status_one(lonely: Command):
    lonely.home.write_text("a file where the folder should be")
    shown = lonely.inside("doctor", "--json", "--port", "0")
    findings = {found["check"]: found for found in json.loads(shown.out)}
    assert shown.status == 1
    assert findings["home folder"]["state"] == "problem"
    assert findings["home folder"]["advice"]


def test_nothing_is_made_by_looking(lonely: Command):
    lonely.inside("doctor", "--port", "0")
    assert not lonely.home.exists()


def test_wrong_setting_is_a_finding(lonely: Command):
    shown = lonely.inside("doctor", "--json", environ={"YANGFAN_SLOTS": "many"})
    settings = json.loads(shown.out)[0]
    assert (shown.status, settings["check"], settings["state"]) == (1, "settings", "problem")
    assert "slots" in settings["detail"]
