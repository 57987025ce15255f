"""From one version to another while calls never stop: none of them may fail, whatever the new version does."""

from __future__ import annotations

from tests.conftest import wait_until
from tests.server.deployments.conftest import WAIT_SECONDS, Console, engines_of, under_load

A, B = "a hi", "b hi"


def test_rolling_over_and_back_under_load_fails_no_call(console: Console):
    service_id = console.create("rolling", engineOptions={"prefix": "a "})
    with under_load(console, "rolling") as load:
        load.wait_for(A)
        console.act(
            "RolloutService",
            serviceId="rolling",
            modelId="echo",
            engineOptions={"prefix": "b "},
            bakeSeconds=1,
        )
        console.until("rolling", lambda s: "candidate" not in roles(s) and "previous" in roles(s))
        load.wait_for(B)
        assert console.show("rolling")["deployments"][0]["engineOptions"] == {"prefix": "b "}
        wait_until(lambda: len(engines_of(console, service_id)) == 1, "old engine to end", 30)
        calls = len(load.answers)
        console.act("RollbackService", serviceId="rolling")
        console.until(
            "rolling",
            lambda s: (
                "candidate" not in roles(s)
                and s["deployments"][0]["engineOptions"] == {"prefix": "a "}
            ),
        )
        load.wait_for(A)
    assert load.failures == []
    assert calls > 20
    assert load.answers[-1] == A
    assert console.events("rolling").count("promoted") == 2
    console.act("DeleteService", serviceId="rolling")


def test_canary_takes_its_share_until_it_is_promoted(console: Console):
    console.create("canary", engineOptions={"prefix": "a "})
    console.act(
        "RolloutService",
        serviceId="canary",
        modelId="echo",
        weight=30,
        engineOptions={"prefix": "b "},
    )
    wait_until(lambda: "canary" in console.events("canary"), "the canary", WAIT_SECONDS)
    answers = [console.says("canary") for _ in range(200)]
    assert 20 < answers.count(B) < 110
    second = console.ask("RolloutService", serviceId="canary", modelId="echo")
    assert (second.status, second.json["code"]) == (409, "OperationNotAllowed")
    console.act("PromoteService", serviceId="canary")
    assert {console.says("canary") for _ in range(20)} == {B}
    assert roles(console.show("canary")) == ["stable", "previous"]
    console.act("DeleteService", serviceId="canary")


def test_version_that_fails_calls_is_taken_back_and_nobody_notices(console: Console):
    console.create("safe", engineOptions={"prefix": "a "})
    with under_load(console, "safe") as load:
        load.wait_for(A)
        console.act(
            "RolloutService",
            serviceId="safe",
            modelId="echo",
            weight=50,
            engineOptions={"prefix": "b ", "fail_every": 2},
        )
        console.until("safe", lambda s: "rolled back" in console.events("safe"))
        load.wait_for(A)
    assert load.failures == []
    assert roles(console.show("safe")) == ["stable"]
    found = console.act("DescribeServiceEvents", serviceId="safe")["eventList"]
    assert "it failed" in found[-1]["message"]
    console.act("DeleteService", serviceId="safe")


def test_version_that_does_not_start_or_answer_never_gets_a_call(console: Console):
    console.create("steady", engineOptions={"prefix": "a "})
    for options in ({"start_fails": True}, {"fail_every": 1}):
        before = console.events("steady").count("rolled back")
        console.act("RolloutService", serviceId="steady", modelId="echo", engineOptions=options)
        wait_until(
            lambda count=before: console.events("steady").count("rolled back") > count,
            "the rollback",
            WAIT_SECONDS,
        )
        assert "canary" not in console.events("steady")
        assert console.says("steady") == A
    console.act("DeleteService", serviceId="steady")


def test_scaling_up_and_down_under_load_fails_no_call(console: Console):
    console.create("elastic", engineOptions={"prefix": "a ", "slots": 2, "delay_seconds": 0.01})
    with under_load(console, "elastic") as load:
        for replicas in (3, 1, 2, 1):
            console.act("ScaleService", serviceId="elastic", replicasCount=replicas)
            console.until(
                "elastic",
                lambda s, wanted=replicas: s["deployments"][0]["readyCount"] == wanted,
            )
            load.wait_for(A)
    assert load.failures == []
    console.act("DeleteService", serviceId="elastic")


def test_canary_can_be_taken_back(console: Console):
    console.create("undone", engineOptions={"prefix": "a "})
    console.act("RolloutService", serviceId="undone", modelId="echo", weight=50)
    wait_until(lambda: "canary" in console.events("undone"), "the canary", WAIT_SECONDS)
    console.act("RollbackService", serviceId="undone")
    assert roles(console.show("undone")) == ["stable"]
    assert {console.says("undone") for _ in range(10)} == {A}
    console.act("DeleteService", serviceId="undone")


def roles(service: dict[str, list[dict[str, str]]]) -> list[str]:
    """What each deployment of a service is."""
    return [deployment["role"] for deployment in service["deployments"]]
