"""Compute units by their Actions (specification D.15), on a real server, and how they come through a crash."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Generator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import serving, wait_until
from tests.server.conftest import Caller, Reply

from yangfan.server.charge import Units
from yangfan.server.charge.store import UnitStore
from yangfan.server.charge.types import ComputeUnits
from yangfan.server.charge.units import KEPT_MS
from yangfan.server.db import Database

LIMITS = {"YANGFAN_MODEL_RPM": "1000", "YANGFAN_MODEL_TPM": "5000"}
CHAT: dict[str, Any] = {
    "model": "echo",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 1,
}
OLD, NEW, SERVICE = "/v2/charge", "/v2/computeunit", "/v2/serviceresources"


@pytest.fixture(scope="module", name="caller")
def caller_fixture(tmp_path_factory: pytest.TempPathFactory) -> Generator[Caller]:
    """A server whose model has limits."""
    with serving(tmp_path_factory.mktemp("units"), environ=LIMITS) as server:
        yield Caller(server)


def act(caller: Caller, action: str, body: dict[str, Any], path: str = OLD) -> Reply:
    url = f"{path}?Action={action}"
    return caller.ask("POST", url, body, caller.signed("POST", url))


def result(caller: Caller, action: str, body: dict[str, Any], path: str = OLD) -> Any:
    reply = act(caller, action, body, path)
    assert reply.status == 200, reply.body
    return reply.json["result"]


def purchase(caller: Caller, count: int = 1, **more: Any) -> str:
    body = {"serviceId": "echo", "replicasCount": count, "billing": {"paymentTiming": "Postpaid"}}
    return result(caller, "PurchaseServiceResource", {**body, **more})["instanceId"]


def listed(caller: Caller, path: str = OLD, **filters: str | None) -> list[dict[str, Any]]:
    body = {"serviceId": "echo", **filters}
    return result(caller, "DescribeComputeUnits", body, path)["instances"]


def shown(caller: Caller, unit_id: str, path: str = OLD) -> dict[str, Any]:
    body = {"serviceId": "echo", "instanceId": unit_id}
    return result(caller, "DescribeComputeUnit", body, path)["instance"]


def detailed(caller: Caller, unit_id: str) -> dict[str, Any]:
    return result(caller, "DescribeComputeUnit", {"instanceId": unit_id}, NEW)


def release(caller: Caller, unit_id: str) -> None:
    body = {"serviceId": "echo", "instanceId": unit_id}
    assert result(caller, "ReleaseComputeUnit", body) is True


def limits(caller: Caller) -> tuple[int, int]:
    """Requests and tokens a minute of the model, as an answer's headers tell them."""
    headers = caller.v2(CHAT).headers
    return (
        int(headers["X-Ratelimit-Limit-Requests"]),
        int(headers["X-Ratelimit-Limit-Tokens"]),
    )


def test_units_multiply_what_a_model_may_be_asked_for(caller: Caller):
    assert limits(caller) == (1000, 5000)
    unit = purchase(caller, 2)
    assert re.fullmatch(r"unit-[0-9a-f]{12}", unit)
    (item,) = listed(caller, paymentTiming=None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", item.pop("startTime"))
    assert item == {
        "instanceId": unit,
        "status": "Running",
        "replicasCount": 2,
        "paymentTiming": "Postpaid",
        "expiredTime": "-",
    }
    detail = detailed(caller, unit)
    assert detail["serviceUsageList"] == [{"serviceId": "echo", "replicasCount": 2}]
    whole = detail["computeUnitInstance"]
    assert whole.pop("startTime")
    assert whole == {
        **item,
        "serviceId": "echo",
        "region": "bj",
        "type": "cpu",
        "computeUnitCount": 2,
    }
    assert limits(caller) == (3000, 15_000)
    release(caller, unit)
    assert (limits(caller), listed(caller)) == ((1000, 5000), [])
    assert shown(caller, unit)["status"] == "Released"
    assert detailed(caller, unit)["serviceUsageList"] == []


def test_units_multiply_capacity_in_tokens_as_well(caller: Caller):
    body = {"model": "echo", "purchaseCount": 3, "billing": {"paymentTiming": "Postpaid"}}
    tpm = result(caller, "PurchaseTPMResource", body)["instanceId"]
    unit = purchase(caller)
    assert limits(caller) == (2000, 6000)
    (item,) = result(caller, "DescribeTPMResource", {"model": "echo"})["instances"]
    assert (item["rpm"], item["tpm"]) == (2000, 3000)
    release(caller, unit)
    assert limits(caller) == (1000, 3000)
    result(caller, "ReleaseTPMResource", {"model": "echo", "instanceId": tpm})


def test_units_are_resized(caller: Caller):
    unit = purchase(caller)
    assert result(caller, "ResizeComputeUnit", {"instanceId": unit, "count": 4}) is True
    assert listed(caller)[0]["replicasCount"] == 4
    assert limits(caller) == (5000, 25_000)
    release(caller, unit)


def test_units_release_themselves_at_their_time(caller: Caller):
    unit = purchase(caller)
    later = datetime.now(UTC) + timedelta(hours=1)
    for text in (f"{later:%Y-%m-%dT%H:%M:%SZ}", None):
        body = {"instanceId": unit, "releaseTime": text}
        assert result(caller, "AutoReleaseComputeUnit", body) is True
        assert listed(caller)[0]["expiredTime"] == (text or "-")
    soon = datetime.now(UTC) + timedelta(seconds=2)
    body = {"instanceId": unit, "releaseTime": f"{soon:%Y-%m-%dT%H:%M:%SZ}"}
    result(caller, "AutoReleaseComputeUnit", body)
    wait_until(lambda: listed(caller) == [], "the units to be released")
    assert limits(caller) == (1000, 5000)
    assert shown(caller, unit)["status"] == "Released"


@pytest.mark.parametrize("kind", ["ComputingUnit", "TPM"])
def test_what_renews_itself_does_not_end(caller: Caller, kind: str):
    prepaid = {"paymentTiming": "Prepaid", "reservation": {"reservationLength": 1}}
    if kind == "TPM":
        body = {"model": "echo", "purchaseCount": 1, "billing": prepaid}
        instance = result(caller, "PurchaseTPMResource", body)["instanceId"]
    else:
        instance = purchase(caller, billing=prepaid)

    def ends() -> str:
        if kind == "ComputingUnit":
            return listed(caller)[0]["expiredTime"]
        return result(caller, "DescribeTPMResource", {"model": "echo"})["instances"][0][
            "expiredTime"
        ]

    assert ends() != "-"
    rule = {"autoRenewTimeUnit": "Month", "autoRenewTime": 1}
    body = {"instanceId": instance, "instanceType": kind, **rule}
    assert result(caller, "AutoReleaseComputeUnit", body) is True
    assert ends() == "-"
    if kind == "TPM":
        result(caller, "ReleaseTPMResource", {"model": "echo", "instanceId": instance})
    else:
        release(caller, instance)


def test_prepaid_units_end_with_their_reservation_unless_they_renew_themselves(caller: Caller):
    reservation = {"reservationTimeUnit": "Hour", "reservationLength": 2}
    prepaid = {"paymentTiming": "Prepaid", "reservation": reservation}
    ending = purchase(caller, billing=prepaid)
    renewing = purchase(caller, billing={**prepaid, "autoRenew": True})
    released = purchase(caller, billing={"releaseTime": "2099-01-01T00:00:00Z"})
    by_id = {item["instanceId"]: item for item in listed(caller)}
    begins, ends = (datetime.fromisoformat(by_id[ending][n]) for n in ("startTime", "expiredTime"))
    assert timedelta(hours=2) <= ends - begins <= timedelta(hours=2, seconds=1)
    assert by_id[renewing]["expiredTime"] == "-"
    assert by_id[released]["expiredTime"] == "2099-01-01T00:00:00Z"
    found = [item["instanceId"] for item in listed(caller, paymentTiming="Prepaid")]
    assert found == [ending, renewing]
    for unit in (ending, renewing, released):
        release(caller, unit)


def test_units_are_bought_under_the_newer_addresses(caller: Caller):
    config = {"region": "bd", "type": "gpu-3"}
    body = {"computeUnitCount": 5, "computeUnitConfig": config}
    reserved = result(caller, "PurchaseComputeUnit", body, NEW)["instanceId"]
    assert limits(caller) == (1000, 5000)
    found = result(caller, "DescribeComputeUnits", {**config}, NEW)["computeUnitInstanceList"]
    assert [(item["instanceId"], item["computeUnitCount"]) for item in found] == [(reserved, 5)]
    assert "serviceId" not in found[0]
    assert detailed(caller, reserved)["serviceUsageList"] == []
    others = result(caller, "DescribeComputeUnits", {"type": "gpu-1"}, NEW)
    assert others == {"computeUnitInstanceList": []}
    body = {"serviceId": "ernie-4.0-8k", "computeUnitCount": 1}
    own = result(caller, "PurchaseComputeUnit", body, SERVICE)["instanceId"]
    assert [item["instanceId"] for item in listed(caller, SERVICE)] == [own]
    assert limits(caller) == (2000, 10_000)
    for path, unit in ((NEW, reserved), (SERVICE, own)):
        assert result(caller, "ReleaseComputeUnit", {"instanceId": unit}, path) is True
    reply = caller.ask(
        "POST",
        f"{NEW}?Action=DescribeComputeUnits",
        headers=caller.signed("POST", f"{NEW}?Action=DescribeComputeUnits"),
    )
    assert reply.json["result"] == {"computeUnitInstanceList": []}


GONE = {"instanceId": "unit-gone"}


@pytest.mark.parametrize(
    ("action", "body", "status", "says"),
    [
        (
            "PurchaseServiceResource",
            {"serviceId": "echo", "replicasCount": 0},
            400,
            "replicasCount",
        ),
        ("PurchaseServiceResource", {"replicasCount": 1}, 400, "serviceId"),
        (
            "PurchaseServiceResource",
            {"serviceId": "svco-none", "replicasCount": 1},
            404,
            "no model 'svco-none'",
        ),
        ("DescribeComputeUnits", {"serviceId": "nobody"}, 404, "no model 'nobody'"),
        ("DescribeComputeUnits", {"type": "gpu-9"}, 400, "type"),
        ("DescribeComputeUnit", GONE, 404, "DescribeComputeUnits lists"),
        ("DescribeComputeUnit", {}, 400, "instanceId"),
        ("ReleaseComputeUnit", GONE, 404, "no compute units 'unit-gone'"),
        ("ResizeComputeUnit", {**GONE, "count": 1}, 404, "no compute units 'unit-gone'"),
        ("ResizeComputeUnit", {**GONE, "count": 1001}, 400, "count"),
        ("AutoReleaseComputeUnit", GONE, 404, "no compute units 'unit-gone'"),
        (
            "AutoReleaseComputeUnit",
            {**GONE, "instanceType": "TPM"},
            404,
            "no TPM resource 'unit-gone'",
        ),
        (
            "AutoReleaseComputeUnit",
            {**GONE, "releaseTime": "2001-01-01T00:00:00Z"},
            400,
            "ReleaseComputeUnit releases now",
        ),
        ("AutoReleaseComputeUnit", {**GONE, "autoRenewTime": 1}, 400, "both or neither"),
        (
            "AutoReleaseComputeUnit",
            {
                **GONE,
                "autoRenewTime": 1,
                "autoRenewTimeUnit": "Month",
                "releaseTime": "2099-01-01T00:00:00Z",
            },
            400,
            "not both",
        ),
    ],
)
def test_impossible_changes_of_units_are_refused(
    caller: Caller, action: str, body: dict[str, Any], status: int, says: str
):
    reply = act(caller, action, body)
    assert (reply.status, says in reply.json["message"]) == (status, True), reply.body


def test_released_units_stay_released(caller: Caller):
    unit = purchase(caller)
    release(caller, unit)
    for action, more in (
        ("ReleaseComputeUnit", {}),
        ("ResizeComputeUnit", {"count": 2}),
        ("AutoReleaseComputeUnit", {}),
    ):
        reply = act(caller, action, {"instanceId": unit, **more})
        assert (reply.status, "buy others" in reply.json["message"]) == (404, True), reply.body


def test_units_of_one_model_are_not_anothers(caller: Caller):
    unit = result(caller, "PurchaseComputeUnit", {"computeUnitCount": 1}, NEW)["instanceId"]
    reply = act(caller, "ReleaseComputeUnit", {"serviceId": "echo", "instanceId": unit})
    assert (reply.status, "not compute units of echo" in reply.json["message"]) == (404, True)
    assert act(caller, "ReleaseComputeUnit", {"instanceId": unit}).status == 200


def test_an_unknown_action_is_told_which_there_are(caller: Caller):
    reply = act(caller, "Nonsense", {}, SERVICE)
    assert reply.status == 400
    assert "PurchaseComputeUnit" in reply.json["message"]


# Without a server


@pytest.fixture
async def store(database_target: Path | str) -> AsyncGenerator[UnitStore]:
    database = Database(database_target)
    await database.migrate()
    yield UnitStore(database)
    await database.close()


BOUGHT = ComputeUnits("unit-1", "echo", 2, "Postpaid", "bj", "cpu", "Running", 1_000_000)


async def started(store: UnitStore, now_seconds: float = 2000) -> tuple[Units, dict[str, int]]:
    """The units as the next start finds them, and how often each model's limits hold."""
    times: dict[str, int] = {}
    units = Units(store, times.__setitem__, clock=lambda: now_seconds)
    await units.start()
    await units.stop()
    return units, times


@pytest.mark.parametrize(
    ("before", "after", "times"),
    [("Creating", "Running", 3), ("Running", "Running", 3), ("Releasing", "Released", 1)],
)
async def test_what_was_cut_off_is_finished_at_the_next_start(
    store: UnitStore, before: Any, after: str, times: int
):
    await store.put(replace(BOUGHT, status=before, release_ms=None))
    units, limits = await started(store)
    assert (units.get("unit-1").status, limits) == (after, {"echo": times})
    assert [kept.status for kept in await store.all()] == [after]


async def test_units_that_came_due_meanwhile_are_released_at_the_start(store: UnitStore):
    await store.put(replace(BOUGHT, release_ms=1_500_000))
    units, limits = await started(store)
    assert (units.get("unit-1").status, limits) == ("Released", {"echo": 1})


async def test_released_units_are_forgotten_after_a_month(store: UnitStore):
    await store.put(replace(BOUGHT, status="Released", release_ms=1_500_000))
    assert len((await started(store))[0].all()) == 0
    assert len(await store.all()) == 1
    await started(store, now_seconds=(1_500_001 + KEPT_MS) / 1000)
    assert await store.all() == []
