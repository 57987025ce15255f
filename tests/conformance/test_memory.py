"""Memory through the published package, unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conformance.conftest import Programs
    from tests.conftest import Server


def test_qianfan_keeps_a_system_memory_and_chats_with_it(programs: Programs, echo_server: Server):
    found = programs.run(
        "qianfan_memory",
        environ={
            "QIANFAN_BASE_URL": echo_server.base_url,
            "QIANFAN_CONSOLE_API_BASE_URL": echo_server.base_url,
            "QIANFAN_ACCESS_KEY": echo_server.access_key,
            "QIANFAN_SECRET_KEY": echo_server.secret_access_key,
        },
    )
    assert found["id"].startswith("sm-")
    assert [item["systemMemoryId"] for item in found["listed"]["items"]] == [found["id"]]
    assert found["shown"]["memories"][0][1] == {"role": "system", "content": "I am Jin."}
    assert found["told"] > found["plain"]
    assert found["user"].startswith("um-")
    assert (found["deleted"], found["left"]) == (True, [])
