"""A short run of both fuzzers, the same calls every time; `make fuzz` is the long one."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from tests.conftest import Server, serving
from tests.fuzz.octets import fuzz_octets
from tests.server.conftest import Caller
from tests.server.test_bad_input import rss_bytes

MAX_GROWTH_BYTES = 64 * 1024 * 1024


@pytest.fixture(scope="module", name="server")
def server_fixture(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A server that is as well afterwards as it was before."""
    with serving(tmp_path_factory.mktemp("fuzz")) as server:
        caller = Caller(server)
        chat = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
        assert caller.v2(chat).status == 200
        before = rss_bytes(server.pid)
        yield server
        assert caller.v2(chat).json["choices"][0]["message"]["content"] == "hi"
        assert rss_bytes(server.pid) - before < MAX_GROWTH_BYTES
        log = (server.home / "logs" / "server.log").read_text("utf-8")
        assert "handler failed" not in log
        assert "Traceback" not in log


def test_damaged_calls_are_answered_and_never_with_a_5xx(server: Server):
    counts, wrong = fuzz_octets(server, calls=1500)
    assert wrong == []
    assert counts["2xx"] > 100, "most damage kills the call: the seeds are not good calls any more"
    assert all(counts[kind] > 100 for kind in ("body", "header", "signature", "query", "form"))


@pytest.mark.timeout(120)
def test_calls_from_the_document_are_answered_as_the_document_says(server: Server):
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from tests.fuzz.document import fuzz_document

    statuses, wrong = fuzz_document(server, examples=4)
    assert wrong == []
    assert statuses[200] > 30, "hardly a call succeeds: the credentials are not right any more"
