"""Capacity of models by the Actions of /v2/charge (specification D.15), on a real server."""

from __future__ import annotations

import re
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import serving, wait_until
from tests.server.conftest import Caller, Reply

CHAT: dict[str, Any] = {
    "model": "echo",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 900,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("charge")


@pytest.fixture(scope="module", name="caller")
def caller_fixture(home: Path) -> Generator[Caller]:
    """A server whose models' limits may be changed."""
    with serving(home) as server:
        yield Caller(server)


def act(caller: Caller, action: str, body: dict[str, Any]) -> Reply:
    path = f"/v2/charge?Action={action}"
    return caller.ask("POST", path, body, caller.signed("POST", path))


def result(caller: Caller, action: str, body: dict[str, Any]) -> Any:
    reply = act(caller, action, body)
    assert reply.status == 200, reply.body
    return reply.json["result"]


def purchase(caller: Caller, count: int = 1, **more: Any) -> str:
    body = {"model": "echo", "purchaseCount": count, "billing": {"paymentTiming": "Postpaid"}}
    return result(caller, "PurchaseTPMResource", {**body, **more})["instanceId"]


def listed(caller: Caller, **filters: str) -> list[dict[str, Any]]:
    found = result(caller, "DescribeTPMResource", {"model": "echo", **filters})
    return found["instances"]


def release(caller: Caller, instance_id: str) -> Any:
    body = {"model": "echo", "instanceId": instance_id}
    return result(caller, "ReleaseTPMResource", body)


def limit(caller: Caller) -> int:
    """Tokens a minute of the model, as an answer's header tells them."""
    return int(caller.v2({**CHAT, "max_tokens": 1}).headers["X-Ratelimit-Limit-Tokens"])


def test_purchased_capacity_is_what_the_model_takes_until_it_is_released(caller: Caller):
    assert limit(caller) == 10**9
    instance = purchase(caller, 2)
    (item,) = listed(caller)
    assert re.fullmatch(r"tpm-[0-9a-f]{12}", instance)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", item.pop("startTime"))
    assert item == {
        "instanceId": instance,
        "model": "echo",
        "paymentTiming": "Postpaid",
        "rpm": 10**6,
        "tpm": 2000,
        "status": "Running",
        "expiredTime": "-",
    }
    assert limit(caller) == 2000
    assert (
        caller.v2({**CHAT, "max_tokens": 2000}).json["error"]["code"] == "tpm_rate_limit_exceeded"
    )
    another = purchase(caller)
    assert limit(caller) == 3000
    assert release(caller, instance) is True
    assert limit(caller) == 1000
    release(caller, another)
    assert (limit(caller), listed(caller)) == (10**9, [])


def test_capacity_is_resized(caller: Caller):
    instance = purchase(caller)
    body = {"instanceId": instance, "count": 7}
    assert result(caller, "ResizeTPMResource", body) is True
    assert (listed(caller)[0]["tpm"], limit(caller)) == (7000, 7000)
    release(caller, instance)


def test_capacity_releases_itself_at_its_time(caller: Caller):
    instance = purchase(caller)
    later = datetime.now(UTC) + timedelta(hours=1)
    for text in (f"{later:%Y-%m-%dT%H:%M:%SZ}", None):
        body = {"instanceId": instance, **({"releaseTime": text} if text else {})}
        assert result(caller, "AutoReleaseTPMResource", body) is True
        assert listed(caller)[0]["expiredTime"] == (text or "-")
    soon = datetime.now(UTC) + timedelta(seconds=2)
    body = {"instanceId": instance, "releaseTime": f"{soon:%Y-%m-%dT%H:%M:%SZ}"}
    result(caller, "AutoReleaseTPMResource", body)
    wait_until(lambda: listed(caller) == [], "the capacity to be released")
    assert limit(caller) == 10**9


def test_prepaid_capacity_ends_with_its_reservation(caller: Caller):
    reservation = {"reservationTimeUnit": "Month", "reservationLength": 2}
    instance = purchase(caller, billing={"paymentTiming": "Prepaid", "reservation": reservation})
    (item,) = listed(caller, paymentTiming="Prepaid")
    begins, ends = (datetime.fromisoformat(item[n]) for n in ("startTime", "expiredTime"))
    assert ends - begins == timedelta(days=60)
    assert listed(caller, paymentTiming="Postpaid") == []
    assert listed(caller, instanceId="tpm-other") == listed(caller, status="Expired") == []
    release(caller, instance)


def test_any_name_of_a_model_names_its_capacity(caller: Caller):
    instance = purchase(caller, model="ernie-4.0-8k")
    assert [item["instanceId"] for item in listed(caller)] == [instance]
    release(caller, instance)


GONE = {"instanceId": "tpm-gone"}


@pytest.mark.parametrize(
    ("action", "body", "status", "says"),
    [
        ("PurchaseTPMResource", {"model": "echo", "purchaseCount": 0}, 400, "purchaseCount"),
        ("PurchaseTPMResource", {"model": "echo"}, 400, "purchaseCount"),
        ("PurchaseTPMResource", {"model": "nobody", "purchaseCount": 1}, 404, "no model 'nobody'"),
        ("DescribeTPMResource", {}, 400, "model"),
        ("ReleaseTPMResource", {"model": "echo", **GONE}, 404, "no TPM resource 'tpm-gone'"),
        ("ResizeTPMResource", {**GONE, "count": 1}, 404, "no TPM resource 'tpm-gone'"),
        ("ResizeTPMResource", {**GONE, "count": 0}, 400, "count"),
        ("AutoReleaseTPMResource", GONE, 404, "no TPM resource 'tpm-gone'"),
        (
            "AutoReleaseTPMResource",
            {**GONE, "releaseTime": "2001-01-01T00:00:00Z"},
            400,
            "must lie ahead",
        ),
        (
            "AutoReleaseTPMResource",
            {**GONE, "releaseTime": "2030-13-01T00:00:00Z"},
            400,
            "a time such as",
        ),
        ("AutoReleaseTPMResource", {**GONE, "releaseTime": "soon"}, 400, "releaseTime"),
    ],
)
def test_impossible_changes_of_capacity_are_refused(
    caller: Caller, action: str, body: dict[str, Any], status: int, says: str
):
    reply = act(caller, action, body)
    assert (reply.status, says in reply.json["message"]) == (status, True), reply.body


def test_capacity_outlives_the_server(tmp_path: Path):
    with serving(tmp_path / "home") as server:
        kept = purchase(Caller(server), 3)
    with serving(tmp_path / "home") as server:
        caller = Caller(server)
        assert [item["instanceId"] for item in listed(caller)] == [kept]
        assert limit(caller) == 3000
