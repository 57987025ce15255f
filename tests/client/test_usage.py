"""`client.usage`, `client.charge` and the limits of `client.keys`, of both clients."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from yangfan import errors
from yangfan.client.types import ComputeUnits, Key, KeyUsage, TPMResource

if TYPE_CHECKING:
    from tests.client.conftest import Connect, Playback

PAIR: dict[str, Any] = {"access_key": "ALTAK-id", "secret_access_key": "secret"}
ITEM = {
    "date": "2026-11-22",
    "keyId": "k",
    "model": "echo",
    "requests": 2,
    "promptTokens": 3,
    "completionTokens": 4,
    "totalTokens": 7,
}
INSTANCE = {
    "instanceId": "tpm-1",
    "paymentTiming": "Postpaid",
    "rpm": 5,
    "tpm": 1000,
    "status": "Running",
    "startTime": "2026-11-22T08:00:00Z",
    "expiredTime": "-",
}
EIGHT = datetime(2026, 11, 22, 8, tzinfo=UTC)


def result(playback: Playback, value: object) -> None:
    playback.json({"requestId": "r-1", "result": value})


async def test_usage_is_read_by_day_key_and_model(connect: Connect, playback: Playback):
    result(playback, {"items": [ITEM]})
    client = connect(**PAIR)
    day = date(2026, 11, 22)
    found = await client.of(client.client.usage.list(first=day, last=day, key_id="k", model="echo"))
    assert found == (KeyUsage(day, "k", "echo", 2, 3, 4),)
    assert found[0].total_tokens == 7
    (call,) = playback.received
    assert (call.path, call.query) == ("/v2/usage", "Action=DescribeUsage")
    assert call.json() == {
        "startDate": "2026-11-22",
        "endDate": "2026-11-22",
        "keyId": "k",
        "model": "echo",
    }


async def test_usage_of_the_last_days_needs_no_word(connect: Connect, playback: Playback):
    result(playback, {"items": []})
    client = connect(**PAIR)
    assert await client.of(client.client.usage.list()) == ()
    assert playback.received[0].json() == {}


async def test_usage_on_no_day_is_a_bad_reply(connect: Connect, playback: Playback):
    result(playback, {"items": [{**ITEM, "date": "today"}]})
    client = connect(**PAIR)
    with pytest.raises(errors.BadReply, match="'today' is not a day"):
        await client.of(client.client.usage.list())


async def test_limits_are_sent_with_a_new_key_and_read_from_the_list(
    connect: Connect, playback: Playback
):
    result(playback, {"keyId": "k", "kind": "bearer", "secret": "s"})
    limits: dict[str, Any] = {"models": ["echo"], "rpm": 1, "tpm": 2}
    tokens = {"dailyTokens": 3, "totalTokens": 4}
    times = {"createTime": "2026-11-22T08:00:00Z"}
    item = {"keyId": "k", "kind": "bearer", **times, **limits, **tokens, "lenient": True}
    result(playback, {"items": [item]})
    client = connect(**PAIR)
    keys = client.client.keys
    await client.of(keys.create(**limits, daily_tokens=3, total_tokens=4, lenient=True))
    assert playback.received[0].json() == {
        "kind": "bearer",
        "name": "",
        **limits,
        **tokens,
        "lenient": True,
    }
    (key,) = await client.of(keys.list())
    assert key == Key("k", "bearer", "", "enable", EIGHT, None, ("echo",), 1, 2, 3, 4, lenient=True)


@pytest.mark.parametrize("months", [None, 2])
async def test_capacity_is_purchased(connect: Connect, playback: Playback, months: int | None):
    result(playback, {"instanceId": "tpm-1"})
    client = connect(**PAIR)
    bought = client.client.charge.purchase_tpm("echo", 5, prepaid_months=months)
    assert await client.of(bought) == "tpm-1"
    reservation = {"reservationTimeUnit": "Month", "reservationLength": 2}
    billing = {"paymentTiming": "Prepaid", "reservation": reservation}
    assert playback.received[0].query == "Action=PurchaseTPMResource"
    assert playback.received[0].json() == {
        "model": "echo",
        "purchaseCount": 5,
        "billing": billing if months else {"paymentTiming": "Postpaid"},
    }


async def test_capacity_is_listed(connect: Connect, playback: Playback):
    ends = {**INSTANCE, "expiredTime": "2026-11-22T08:00:00Z"}
    result(playback, {"instances": [INSTANCE, ends]})
    client = connect(**PAIR)
    assert await client.of(client.client.charge.list_tpm("echo")) == (
        TPMResource("tpm-1", 5, 1000, "Running", EIGHT),
        TPMResource("tpm-1", 5, 1000, "Running", EIGHT, EIGHT),
    )


async def test_capacity_since_no_time_is_a_bad_reply(connect: Connect, playback: Playback):
    result(playback, {"instances": [{**INSTANCE, "startTime": "now"}]})
    client = connect(**PAIR)
    with pytest.raises(errors.BadReply, match="'now' is not a time"):
        await client.of(client.client.charge.list_tpm("echo"))


async def test_capacity_is_changed(connect: Connect, playback: Playback):
    client = connect(**PAIR)
    charge = client.client.charge
    beijing = EIGHT.astimezone(timezone(timedelta(hours=8)))
    for _ in range(4):
        result(playback, True)
    await client.of(charge.resize_tpm("tpm-1", 3))
    await client.of(charge.auto_release_tpm("tpm-1", beijing))
    await client.of(charge.auto_release_tpm("tpm-1", None))
    await client.of(charge.release_tpm("echo", "tpm-1"))
    assert [(call.query, call.json()) for call in playback.received] == [
        ("Action=ResizeTPMResource", {"instanceId": "tpm-1", "count": 3}),
        (
            "Action=AutoReleaseTPMResource",
            {"instanceId": "tpm-1", "releaseTime": "2026-11-22T08:00:00Z"},
        ),
        ("Action=AutoReleaseTPMResource", {"instanceId": "tpm-1"}),
        ("Action=ReleaseTPMResource", {"model": "echo", "instanceId": "tpm-1"}),
    ]


UNITS = {
    "instanceId": "unit-1",
    "status": "Running",
    "replicasCount": 2,
    "paymentTiming": "Postpaid",
    "startTime": "2026-11-22T08:00:00Z",
}


async def test_units_are_purchased(connect: Connect, playback: Playback):
    charge = (client := connect(**PAIR)).client.charge
    for _ in range(3):
        result(playback, {"instanceId": "unit-1"})
    assert await client.of(charge.purchase_units("echo", 2, release_at=EIGHT)) == "unit-1"
    assert await client.of(charge.purchase_units("echo", 2, prepaid_months=3)) == "unit-1"
    assert await client.of(charge.reserve_units(1, region="bd", kind="gpu-1")) == "unit-1"
    reservation = {"reservationTimeUnit": "Month", "reservationLength": 3}
    first, second, third = playback.received
    assert (first.path, first.query) == ("/v2/charge", "Action=PurchaseServiceResource")
    assert first.json() == {
        "serviceId": "echo",
        "replicasCount": 2,
        "billing": {"paymentTiming": "Postpaid", "releaseTime": "2026-11-22T08:00:00Z"},
    }
    assert second.json()["billing"] == {"paymentTiming": "Prepaid", "reservation": reservation}
    assert (third.path, third.query) == ("/v2/computeunit", "Action=PurchaseComputeUnit")
    assert third.json() == {
        "computeUnitCount": 1,
        "computeUnitConfig": {"region": "bd", "type": "gpu-1"},
        "billing": {"paymentTiming": "Postpaid"},
    }


async def test_units_are_shown(connect: Connect, playback: Playback):
    charge = (client := connect(**PAIR)).client.charge
    ends = {**UNITS, "expiredTime": "2026-11-22T08:00:00Z"}
    result(playback, {"instances": [UNITS]})
    result(playback, {"instance": ends})
    assert await client.of(charge.list_units("echo")) == (
        ComputeUnits("unit-1", "echo", 2, "Running", EIGHT),
    )
    assert await client.of(charge.get_units("echo", "unit-1")) == ComputeUnits(
        "unit-1", "echo", 2, "Running", EIGHT, EIGHT
    )


async def test_units_are_changed(connect: Connect, playback: Playback):
    charge = (client := connect(**PAIR)).client.charge
    for _ in range(4):
        result(playback, True)
    await client.of(charge.resize_units("unit-1", 3))
    await client.of(charge.auto_release_units("unit-1", EIGHT))
    await client.of(charge.auto_release_units("unit-1", None))
    await client.of(charge.release_units("echo", "unit-1"))
    assert [(call.query, call.json()) for call in playback.received] == [
        ("Action=ResizeComputeUnit", {"instanceId": "unit-1", "count": 3}),
        (
            "Action=AutoReleaseComputeUnit",
            {"instanceId": "unit-1", "releaseTime": "2026-11-22T08:00:00Z"},
        ),
        ("Action=AutoReleaseComputeUnit", {"instanceId": "unit-1"}),
        ("Action=ReleaseComputeUnit", {"serviceId": "echo", "instanceId": "unit-1"}),
    ]
