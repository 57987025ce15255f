"""Limits and capacity through the published packages, unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import yangfan

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.conformance.conftest import Programs
    from tests.conftest import Server


def test_openai_raises_its_rate_limit_error_and_is_told_when_to_return(
    programs: Programs, echo_server: Server
):
    with yangfan.Client(
        echo_server.base_url,
        access_key=echo_server.access_key,
        secret_access_key=echo_server.secret_access_key,
    ) as client:
        key = client.keys.create(rpm=1, tpm=1000)
    where = {"BASE_URL": f"{echo_server.base_url}/v2", "API_KEY": key.secret}
    found = programs.run("openai_limits", environ=where)
    first, second = found["first"]["headers"], found["second"]["headers"]
    assert first["x-ratelimit-limit-requests"] == "1"
    assert first["x-ratelimit-remaining-requests"] == "0"
    assert first["x-ratelimit-limit-tokens"] == "1000"
    assert found["second"]["code"] == "rpm_rate_limit_exceeded"
    assert 1 <= int(second["retry-after"]) <= 60


@pytest.mark.timeout(60)
def test_qianfan_buys_and_releases_capacity(
    programs: Programs,
    start_server: Callable[..., AbstractContextManager[Server]],
    tmp_path: Path,
):
    with start_server(tmp_path) as server:
        found = programs.run(
            "qianfan_charge",
            environ={
                "QIANFAN_CONSOLE_API_BASE_URL": server.base_url,
                "QIANFAN_ACCESS_KEY": server.access_key,
                "QIANFAN_SECRET_KEY": server.secret_access_key,
            },
        )
    (bought,) = found["bought"]["instances"]
    assert (bought["tpm"], bought["status"], bought["expiredTime"]) == (2000, "Running", "-")
    assert (found["resized"], found["auto"], found["released"]) == (True, True, True)
    (after,) = found["after"]["instances"]
    assert (after["tpm"], after["expiredTime"]) == (5000, "2099-01-01T00:00:00Z")
    assert found["left"] == {"instances": []}


@pytest.mark.timeout(60)
def test_qianfan_buys_and_releases_compute_units(
    programs: Programs,
    start_server: Callable[..., AbstractContextManager[Server]],
    tmp_path: Path,
):
    with start_server(tmp_path) as server:
        found = programs.run(
            "qianfan_units",
            environ={
                "QIANFAN_CONSOLE_API_BASE_URL": server.base_url,
                "QIANFAN_ACCESS_KEY": server.access_key,
                "QIANFAN_SECRET_KEY": server.secret_access_key,
            },
        )
    (listed,) = found["listed"]["instances"]
    assert (listed["replicasCount"], listed["status"]) == (2, "Running")
    assert listed["expiredTime"] != "-"
    assert found["prepaid"] == found["listed"]
    assert (found["resized"], found["renewed"], found["released"]) == (True, True, True)
    shown = found["shown"]["instance"]
    assert (shown["replicasCount"], shown["expiredTime"]) == (5, "-")
    newer = found["newer"]["computeUnitInstance"]
    assert {name: newer[name] for name in shown} == shown
    assert found["left"] == {"instances": []}
