"""The states of a service that loads, in both dialects."""

from __future__ import annotations

from tests.server.deployments.conftest import Console


def test_a_service_is_new_then_deploying_then_serving(console: Console):
    for number in range(3):
        console.create(f"state-{number}", wait=False, engineOptions={"start_seconds": 2})
    # Two load at a time; the third waits its turn.
    waiting, loading = console.show("state-2"), console.wait("state-1", "Deploying")
    assert waiting["runStatus"] == "New"
    assert console.v1("detail", serviceId="state-2")["result"]["serviceStatus"] == "New"
    assert console.v1("detail", serviceId="state-1")["result"]["serviceStatus"] == "Deploying"
    assert loading["loaded"] is False
    console.until("state-1", lambda s: "loadingSeconds" in s["deployments"][0])
    console.wait("state-2", "Serving")
    assert console.v1("detail", serviceId="state-2")["result"]["serviceStatus"] == "Serving"
    for number in range(3):
        console.act("DeleteService", serviceId=f"state-{number}")


def test_services_that_are_deleted_while_they_load_hold_up_no_others(console: Console):
    for number in range(3):
        console.create(f"gone-{number}", wait=False, engineOptions={"start_seconds": 50})
    console.wait("gone-1", "Deploying")
    for number in range(3):
        console.act("DeleteService", serviceId=f"gone-{number}")
    console.create("after")
    assert console.says("after") == "hi"
    console.act("DeleteService", serviceId="after")
