"""Services over the wire: making, calling, stopping, scaling, loading, refusing; engines are echo processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.conftest import serving, wait_until
from tests.server.deployments.conftest import WAIT_SECONDS, Console, engines_of


def test_service_is_published_called_stopped_started_and_deleted(console: Console):
    service_id = console.create("first", name="The first", engineOptions={"prefix": "1: "})
    shown = console.show(service_id)
    assert shown["runStatus"] == "Serving"
    assert shown["chargeStatus"] == "Free"
    assert shown["modelVersionId"] == "echo"
    assert shown["url"] == f"{console.caller.server.v1}/chat/first"
    assert console.says("first") == "1: hi"
    assert console.says("The first") == "1: hi"
    assert console.says(service_id) == "1: hi"
    v1 = console.caller.v1({"messages": [{"role": "user", "content": "hi"}]}, "first")
    assert v1.json["result"] == "1: hi"
    assert v1.headers["X-Yangfan-Model"] == "first"
    ids = {"model": "first", "prompt": [*map(ord, "hi")], "echo": True}
    went_on = console.caller.ask("POST", "/v2/completions", ids, console.caller.bearer())
    assert went_on.json["choices"][0]["text"] == "hihi"

    console.act("StopService", serviceId="first")
    assert console.show("first")["runStatus"] == "Stopped"
    refused = console.chat("first")
    assert (refused.status, refused.json["error"]["code"]) == (403, "model_offline")
    assert "is stopped; `yangfan services start first`" in refused.json["error"]["message"]
    v1 = console.caller.v1({"messages": [{"role": "user", "content": "hi"}]}, "first")
    assert v1.json["error_code"] == 6

    console.act("StartService", serviceId="first")
    console.wait("first", "Serving")
    assert console.says("first") == "1: hi"
    assert console.events("first") == ["created", "serving", "stopped", "started", "serving"]

    console.act("DeleteService", serviceId="first")
    assert console.ask("DescribeService", serviceId="first").json["code"] == "ResourceNotFound"
    assert console.chat("first").json["error"]["code"] == "invalid_model"


def test_v1_publishes_and_shows_the_same_service(console: Console):
    applied = console.v1(
        "apply", modelId="am-1", modelVersionId="echo", name="v1 made", uri="v1-made", replicas=1
    )["result"]
    assert applied["result"] is True
    assert isinstance(applied["serviceId"], int)
    console.wait("v1-made", "Serving")
    for key in (applied["serviceId"], applied["serviceIdStr"], str(applied["serviceId"])):
        detail = console.v1("detail", serviceId=key)["result"]
        assert (detail["uri"], detail["serviceStatus"]) == ("v1-made", "Serving")
        assert detail["fullUri"].endswith("/chat/v1-made")
        assert detail["vmConfig"]["instanceCount"] == 1
    assert console.v1("detail", serviceId=99999)["error_code"] == 3
    console.act("DeleteService", serviceId="v1-made")


def test_list_names_presets_and_services_on_the_host_that_was_asked(console: Console):
    console.create("listed")
    for spelling in ("apiTypefilter", "apiTypeFilter"):
        found = console.v1("list", **{spelling: ["chat"]})["result"]
        names = {item["name"] for item in found["common"]}
        assert {"ERNIE-Speed-8K", "echo"} <= names
        assert [item["name"] for item in found["custom"]] == ["listed"]
        for item in (*found["common"], *found["custom"]):
            assert item["url"].startswith(f"{console.server.base_url}/")
            assert item["apiType"] == item["url"].split("/")[-2] == "chat"
            assert item["chargeStatus"] == "FREE"
            assert item["versionList"][0]["aiModelVersionId"]
    assert console.v1("list", apiTypefilter=["embeddings"])["result"]["custom"] == []
    assert {"text2image"} == {
        item["apiType"]
        for item in console.v1("list", apiTypefilter=["text2image"])["result"]["common"]
    }
    path = "/wenxinworkshop/service/appList"
    apps = console.caller.ask("GET", path, headers=console.caller.signed("GET", path)).json
    (app,) = apps["result"]["appList"]
    assert app["ak"] == console.server.api_key
    assert app["sk"] == ""
    assert app["apiIds"]
    presets = console.act("DescribePresetServices", serviceType=["chat"])["serviceList"]
    assert {item["model"] for item in presets} == {"echo"}
    assert console.act("DescribePresetServices", chargeType=["TPM"])["serviceList"] == []
    console.act("DeleteService", serviceId="listed")


def test_services_are_listed_in_pages_and_by_filters(console: Console):
    ids = [
        console.create(f"page-{number}", wait=False, loadPolicy="onDemand") for number in range(5)
    ]
    console.act("StopService", serviceId="page-3")
    found: list[str] = []
    marker = ""
    while True:
        page = console.act("DescribeServices", marker=marker, maxKeys=2, name="PAGE-")
        found += [item["serviceId"] for item in page["serviceList"]]
        if not page["pageInfo"]["isTruncated"]:
            assert "nextMarker" not in page["pageInfo"]
            break
        marker = page["pageInfo"]["nextMarker"]
    assert found == ids
    back = console.act("DescribeServices", name="page-", pageReverse=True)["serviceList"]
    assert [item["serviceId"] for item in back] == ids[::-1]
    stopped = console.act("DescribeServices", name="page-", runStatus=["Stopped"])["serviceList"]
    assert [item["urlSuffix"] for item in stopped] == ["page-3"]
    wait_until(
        lambda: (
            len(console.act("DescribeServices", name="page-", runStatus=["Serving"])["serviceList"])
            == 4
        ),
        "services to be ready for calls",
        WAIT_SECONDS,
    )
    assert (
        console.act("DescribeServices", name="page-", serviceType=["embeddings"])["serviceList"]
        == []
    )
    for number in range(5):
        console.act("DeleteService", serviceId=f"page-{number}")


def test_first_call_loads_and_idleness_unloads(console: Console):
    console.create("lazy", loadPolicy="onDemand", idleSeconds=1, engineOptions={"prefix": "z"})
    shown = console.show("lazy")
    assert (shown["runStatus"], shown["loaded"]) == ("Serving", False)
    assert console.v1("detail", serviceId="lazy")["result"]["serviceStatus"] == "Done"
    assert console.says("lazy") == "zhi"
    assert console.show("lazy")["loaded"] is True
    console.until("lazy", lambda shown: not shown["loaded"])
    assert "unloaded" in console.events("lazy")
    assert console.says("lazy") == "zhi"
    console.act("DeleteService", serviceId="lazy")


def test_who_waits_too_long_for_a_load_is_told_how_far_it_is(tmp_path: Path):
    limits = {"YANGFAN_FIRST_BYTE_TIMEOUT_SECONDS": "0.3"}
    with serving(tmp_path, environ=limits) as server:
        console = Console(server)
        console.create(
            "slow", loadPolicy="onDemand", engineOptions={"start_seconds": 2, "prefix": "s"}
        )
        busy = console.chat("slow")
        assert (busy.status, busy.json["error"]["code"]) == (429, "cluster_rate_limit_exceeded")
        assert "slow-1 is loading" in busy.json["error"]["message"]
        assert int(busy.headers["Retry-After"]) >= 1
        v1 = console.caller.v1({"messages": [{"role": "user", "content": "hi"}]}, "slow")
        assert v1.json["error_code"] == 336100
        # The load goes on though nobody waits for it.
        console.until("slow", lambda shown: shown["loaded"])
        assert console.says("slow") == "shi"


def test_replicas_share_the_calls_and_come_and_go(console: Console):
    console.create(
        "many",
        # As for resources that were bought before: what all units run together.
        deploymentConfig={
            "replicaComputeUnitCount": 1,
            "deploymentComputeUnitList": [
                {"instanceId": "unit-1", "deploymentReplicasCount": 1},
                {"instanceId": "unit-2", "deploymentReplicasCount": 1},
            ],
        },
        engineOptions={"slots": 2},
    )
    (stable,) = console.until("many", lambda s: s["deployments"][0]["readyCount"] == 2)[
        "deployments"
    ]
    assert (stable["role"], stable["weight"], stable["replicasCount"]) == ("stable", 100, 2)
    console.act("ScaleService", serviceId="many", replicasCount=3)
    console.until("many", lambda s: s["deployments"][0]["readyCount"] == 3)
    console.act("ScaleService", serviceId="many", replicasCount=1)
    console.until("many", lambda s: s["deployments"][0]["readyCount"] == 1)
    assert console.show("many")["resourceConfig"]["replicasCount"] == 1
    assert console.says("many") == "hi"
    logs = console.act("DescribeServiceLogs", serviceId="many")["logList"]
    assert len(logs) == 3
    console.act("DeleteService", serviceId="many")
    assert not any((console.server.home / "engines" / "services").glob("svco-*/dep-*/1"))


def test_placement_is_refused_with_the_reason_and_idle_services_make_room(console: Console):
    too_large = console.ask(
        "CreateService", modelId="echo", urlSuffix="giant", memoryBytes=2_000_000_000
    )
    assert (too_large.status, too_large.json["code"]) == (409, "OperationNotAllowed")
    assert (
        "needs about 2.0 GB of memory and all services together may have 1.0 GB"
        in (too_large.json["message"])
    )
    console.create("half", memoryBytes=600_000_000, loadPolicy="onDemand")
    assert console.says("half") == "hi"
    console.create("other", memoryBytes=600_000_000)  # the idle one makes room
    assert console.show("half")["loaded"] is False
    refused = console.ask("CreateService", modelId="echo", urlSuffix="x", memoryBytes=600_000_000)
    assert (refused.status, refused.json["code"]) == (503, "ServiceUnavailable")
    assert "it needs about 600 MB of memory and 400 MB are free" in refused.json["message"]
    assert int(refused.headers["Retry-After"]) > 1
    busy = console.chat("half")
    assert (busy.status, busy.json["error"]["code"]) == (429, "cluster_rate_limit_exceeded")
    assert "no room for half" in busy.json["error"]["message"]
    scaled = console.ask("ScaleService", serviceId="other", replicasCount=2)
    assert scaled.json["code"] == "ServiceUnavailable"
    console.act("DeleteService", serviceId="other")
    wait_until(lambda: console.chat("half").status == 200, "room for half", WAIT_SECONDS)
    console.act("DeleteService", serviceId="half")


def test_version_that_does_not_start_is_failed_with_its_log(console: Console):
    console.create("broken", wait=False, engineOptions={"start_fails": True})
    shown = console.wait("broken", "Failed")
    assert "told to fail by the option start_fails" in shown["failedReason"]
    busy = console.chat("broken")
    assert busy.status == 429
    assert "told to fail" in busy.json["error"]["message"]
    logs = console.act("DescribeServiceLogs", serviceId="broken")["logList"]
    assert "told to fail" in logs[0]["text"]
    console.act("DeleteService", serviceId="broken")


def test_fallback_answers_when_the_service_cannot(console: Console):
    console.create("spare", engineOptions={"prefix": "spare "})
    console.create("shaky", fallback="spare", engineOptions={"fail_every": 1})
    assert console.says("shaky") == "spare hi"
    body = {"model": "shaky", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    text = "".join(
        choice["delta"].get("content") or ""
        for event in console.caller.stream("/v2/chat/completions", body)
        for choice in event["choices"]
    )
    assert text == "spare hi"
    console.act("ModifyService", serviceId="shaky", fallback="")
    failed = console.chat("shaky")
    assert failed.status in {429, 500}
    refused = console.ask("ModifyService", serviceId="shaky", fallback="shaky")
    assert refused.json["code"] == "InappropriateJSON"
    for suffix in ("shaky", "spare"):
        console.act("DeleteService", serviceId=suffix)


def test_engine_that_fails_again_and_again_is_left_alone_then_tried_again(console: Console):
    console.create("tripping", engineOptions={"fail_every": 1})
    for _ in range(2):
        assert console.chat("tripping").status in {429, 500}
    open_ = console.chat("tripping")
    assert open_.status == 429
    assert "failed again and again and is left alone" in open_.json["error"]["message"]
    assert 1 <= int(open_.headers["Retry-After"]) <= 5
    console.act("DeleteService", serviceId="tripping")


def test_usage_is_told_by_service_and_application(console: Console):
    service_id = console.create("counted")
    for _ in range(3):
        console.says("counted", "one two")
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    console.create("failing", engineOptions={"fail_every": 1})
    console.chat("failing")
    found = console.act(
        "DescribeServiceMetric", startTime=now, endTime=now, serviceId=["counted", "failing"]
    )
    counted, failing = found["serviceList"]
    assert (counted["serviceId"], counted["serviceName"]) == (service_id, "counted")
    (app,) = counted["appList"]
    metric = app["metric"]
    assert (metric["succeedCallTotal"], metric["failureCallTotal"], metric["callTotal"]) == (
        3,
        0,
        3,
    )
    assert metric["outputTokensTotal"] == 6
    assert metric["tokensTotal"] == metric["inputTokensTotal"] + 6
    assert failing["appList"][0]["metric"]["failureCallTotal"] == 1
    other = console.act("DescribeServiceMetric", startTime=now, endTime=now, appId="app-other")
    assert all(item["appList"] == [] for item in other["serviceList"])
    metrics = console.caller.ask("GET", "/metrics", headers=console.caller.bearer()).body.decode()
    assert 'yangfan_model_ready{model="counted"} 1.0' in metrics
    for suffix in ("counted", "failing"):
        console.act("DeleteService", serviceId=suffix)


def test_killed_engine_is_started_again_without_a_failed_call(console: Console):
    service_id = console.create("killed", engineOptions={"prefix": "k"})
    (pid,) = engines_of(console, service_id)
    os.kill(pid, signal.SIGKILL)
    assert console.says("killed") == "khi"
    assert engines_of(console, service_id) != [pid]
    console.act("DeleteService", serviceId="killed")


def test_names_that_cannot_be_are_refused(console: Console):
    console.create("taken", wait=False, loadPolicy="onDemand")
    again = console.ask("CreateService", modelId="echo", urlSuffix="TAKEN")
    assert (again.status, again.json["code"]) == (409, "OperationNotAllowed")
    assert "is taken by another service; choose another" in again.json["message"]
    own = console.ask("CreateService", modelId="echo", urlSuffix="echo")
    assert own.json["code"] == "OperationNotAllowed"
    strange = console.ask("CreateService", modelId="echo", urlSuffix="a/b")
    assert strange.json["code"] == "InappropriateJSON"
    for model in ("/etc/passwd", "../x", "nobody", "a" * 256):
        unknown = console.ask("CreateService", modelId=model, urlSuffix="new")
        assert (unknown.status, unknown.json["code"]) == (404, "ResourceNotFound"), model
        assert "`yangfan pull NAME` fetches one" in unknown.json["message"]
    wrong = console.ask("CreateService", modelId="echo", engineOptions={"prefix": 3})
    assert wrong.json["code"] == "InappropriateJSON"
    assert "options of the echo engine" in wrong.json["message"]
    wrong = console.ask("CreateService", modelId="echo", engineOptions={"slots": 0})
    assert "slots must be from 1 to 1024" in wrong.json["message"]
    assert console.ask("ModifyService", serviceId="taken").json["code"] == "InappropriateJSON"
    assert console.ask("PromoteService", serviceId="taken").json["code"] == "OperationNotAllowed"
    assert console.ask("RollbackService", serviceId="taken").json["code"] == "OperationNotAllowed"
    console.act("DeleteService", serviceId="taken")


def test_calls_beyond_a_services_qps_are_refused_in_both_dialects(console: Console):
    console.create("paced", resourceConfig={"replicasCount": 1, "qps": 0.02})
    assert console.show("paced")["resourceConfig"]["qps"] == 0.02
    assert console.says("paced") == "hi"
    refused = console.chat("paced")
    assert (refused.status, refused.json["error"]["code"]) == (429, "user_rate_limit_exceeded")
    assert "the limit is 1 requests in 50 s" in refused.json["error"]["message"]
    assert 0 < int(refused.headers["Retry-After"]) <= 50
    v1 = console.caller.v1({"messages": [{"role": "user", "content": "hi"}]}, "paced")
    assert (v1.status, v1.json["error_code"]) == (200, 18)
    assert v1.json["error_msg"].startswith("Open api qps request limit reached")
    assert console.v1("detail", serviceId="paced")["result"]["qps"] == 0.02
    # A stop and a start keep it; taking it away lets all calls through again.
    console.act("StopService", serviceId="paced")
    console.act("StartService", serviceId="paced")
    console.wait("paced", "Serving")
    assert console.says("paced") == "hi"
    assert console.chat("paced").status == 429
    console.act("ModifyService", serviceId="paced", qps=0)
    assert [console.chat("paced").status for _ in range(3)] == [200] * 3
    assert console.ask("ModifyService", serviceId="paced", qps=-1).status == 400
    console.act("DeleteService", serviceId="paced")


def test_a_service_that_is_to_run_and_does_not_makes_the_server_unready(tmp_path: Path):
    with serving(tmp_path) as server:
        console = Console(server)
        console.create("well")
        console.create("lazy", loadPolicy="onDemand", wait=False)
        assert console.caller.ask("GET", "/readyz").status == 200
        console.create("ill", engineOptions={"start_fails": True}, wait=False)
        console.wait("ill", "Failed")
        reply = console.caller.ask("GET", "/readyz")
        assert reply.status == 503
        (reason,) = reply.json["reasons"]
        assert reason.startswith("the service ill is Failed: ")
        assert console.caller.ask("GET", "/readyz?exclude=services").status == 200
        shown = console.caller.ask("GET", "/metrics").body.decode()
        for line in (
            'yangfan_services{status="Failed"} 1.0',
            'yangfan_service_replicas{model="well",state="ready"} 1.0',
            'yangfan_service_replicas{model="ill",state="ready"} 0.0',
            'yangfan_service_replicas{model="ill",state="wanted"} 1.0',
            "yangfan_jobs_queue_age_seconds 0.0",
        ):
            assert line in shown
        console.act("StopService", serviceId="ill")
        assert console.caller.ask("GET", "/readyz").status == 200
