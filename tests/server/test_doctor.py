"""Each check of `yangfan doctor` finds what it looks for."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from tests.conftest import Server
from tests.postgresql import PostgreSQL

from yangfan.hub.store import ModelStore
from yangfan.server import doctor
from yangfan.server.doctor import Answer
from yangfan.server.home import Home
from yangfan.server.settings import Settings, UpstreamSettings

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


@pytest.fixture
def stranger() -> Generator[int]:
    """The port of another program, one that speaks HTTP."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server.server_port
        server.shutdown()


def address(server: Server) -> tuple[str, int]:
    parts = urlsplit(server.base_url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def test_our_server_is_known_by_its_health_and_tells_the_time(echo_server: Server):
    answer = doctor.probe(*address(echo_server))
    assert answer is not None
    assert (answer.ours, answer.healthy) == (True, True)
    assert answer.time is not None
    assert abs(datetime.now(UTC) - answer.time) < timedelta(seconds=30)


def test_another_program_is_not_ours(stranger: int):
    answer = doctor.probe("127.0.0.1", stranger)
    assert answer is not None
    assert not answer.ours
    found = doctor.check_port("127.0.0.1", stranger, answer)
    assert (found.state, found.detail) == ("problem", "another program has it")
    assert "--port" in found.advice


def test_program_that_says_nothing_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        answer = doctor.probe("127.0.0.1", silent.getsockname()[1], timeout_seconds=0.05)
    assert answer == Answer(ours=False, healthy=False, time=None)


def test_free_port_is_free():
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]
    assert doctor.probe("127.0.0.1", port) is None
    assert doctor.check_port("127.0.0.1", port, None).state == "ok"


def test_address_of_another_machine_cannot_be_used():
    found = doctor.check_port("192.0.2.1", 8000, None)
    assert found.state == "problem"


def test_server_that_is_not_well_is_a_warning():
    sick = Answer(ours=True, healthy=False, time=None)
    assert doctor.check_port("127.0.0.1", 8000, sick).state == "warning"


def test_running_server_is_found_by_its_file(echo_server: Server, tmp_path: Path):
    found = doctor.running_server(Home(echo_server.home))
    assert found is not None
    assert found.ours
    assert doctor.running_server(Home(tmp_path)) is None
    (tmp_path / "server.json").write_text("{}")
    assert doctor.running_server(Home(tmp_path)) is None


@pytest.mark.parametrize(
    ("now", "off", "state"),
    [
        (NOW, None, "ok"),
        (NOW, timedelta(seconds=59), "ok"),
        (NOW, timedelta(seconds=-60), "warning"),
        (NOW, timedelta(seconds=300), "problem"),
        (NOW.replace(year=1970), None, "problem"),
    ],
)
def test_clock(now: datetime, off: timedelta | None, state: str):
    found = doctor.check_clock(now, None if off is None else now + off)
    assert found.state == state
    assert bool(found.advice) == (state != "ok")


@pytest.mark.parametrize(
    ("version", "mode"), [((3, 40, 1), "TRUNCATE"), ((3, 51, 3), "WAL"), ((3, 44, 6), "WAL")]
)
def test_journal_mode_is_named(version: tuple[int, int, int], mode: str):
    found = doctor.check_sqlite(version)
    assert found.state == "ok"
    assert f"journal mode {mode}" in found.detail


def test_old_python_is_a_problem():
    assert doctor.check_python((3, 10, 9)).state == "problem"
    assert doctor.check_python((3, 11, 0)).state == "ok"


@pytest.mark.parametrize(
    ("free_bytes", "state"), [(10**7, "problem"), (5 * 10**8, "warning"), (10**12, "ok")]
)
def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_bytes: int, state: str):
    usage = shutil.disk_usage(tmp_path)._replace(free=free_bytes)

    def disk_usage(_: Path) -> object:
        return usage

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert doctor.check_disk(tmp_path / "not" / "there" / "yet").state == state


def test_home_that_is_not_there_yet_will_be_made(tmp_path: Path):
    found = doctor.check_writable(tmp_path / "new" / "home")
    assert (found.state, "will be made" in found.detail) == ("ok", True)
    assert not (tmp_path / "new").exists()


def test_home_that_is_a_file_is_a_problem(tmp_path: Path):
    (tmp_path / "home").write_text("")
    assert doctor.check_writable(tmp_path / "home").state == "problem"


def test_home_that_cannot_be_written_is_a_problem():
    assert doctor.check_writable(Path("/proc/yangfan")).state == "problem"


def test_engines():
    assert doctor.check_engine("echo").state == "ok"


def test_missing_model_says_how_to_get_it(tmp_path: Path):
    found = doctor.check_model(ModelStore(tmp_path), "all-minilm-l6-v2")
    assert found.state == "warning"
    assert "yangfan pull all-minilm-l6-v2` (92 MB)" in found.advice


def test_extras_name_what_is_installed():
    assert "server" in doctor.check_extras().detail


def test_wrong_settings_are_a_finding_and_the_rest_is_still_checked(tmp_path: Path):
    found = doctor.examine(
        {"home": str(tmp_path), "port": 0}, {"YANGFAN_PORT": "x", "YANGFAN_SLOTS": "0"}
    )
    assert (found[0].check, found[0].state) == ("settings", "problem")
    assert {"disk", "clock", "engine echo"} <= {finding.check for finding in found}


def test_upstreams_of_the_settings_are_asked(echo_server: Server):
    fine = UpstreamSettings(base_url=f"{echo_server.base_url}/v2", key=echo_server.bearer)
    wrong = UpstreamSettings(base_url=f"{echo_server.base_url}/v2", key="not-the-key-0123456789")
    odd = UpstreamSettings(base_url="ftp://nowhere")
    chosen = Settings(
        egress_allow=("127.0.0.1",), upstreams={"fine": fine, "wrong": wrong, "odd": odd}
    )
    found = {name: doctor.check_upstream(chosen, name) for name in chosen.upstreams}
    assert {name: each.state for name, each in found.items()} == {
        "fine": "ok",
        "wrong": "warning",
        "odd": "problem",
    }
    assert found["fine"].detail == f"{fine.base_url} answers"
    assert "must renew the key of that upstream" in found["wrong"].detail
    assert "not-the-key" not in str(found["wrong"])
    assert "baseUrl must be an address" in found["odd"].detail


def test_postgresql_is_asked_for_its_version_and_pgvector(postgresql: PostgreSQL):
    found = doctor.check_database(postgresql.new())
    assert (found.check, found.state) == ("PostgreSQL", "ok")
    assert re.fullmatch(r"\d+\.\d+\S*.*, pgvector \d+\.\d+\.\d+", found.detail)


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [(("13.9", "0.8.0"), "warning", "upgrade"), (("18.1", None), "warning", "extension")],
)
def test_an_old_postgresql_and_one_without_pgvector_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, answer: tuple[str, str | None], state: str, words: str
):
    async def told(url: str) -> tuple[str, str | None]:
        del url
        return answer

    monkeypatch.setattr(doctor, "_ask_postgresql", told)
    found = doctor.check_database("postgresql://host/name")
    assert found.state == state
    assert words in found.advice


def test_postgresql_that_is_not_there_is_a_problem_without_its_password():
    pytest.importorskip("asyncpg")
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]
    found = doctor.check_database(f"postgresql://me:s3cret@127.0.0.1:{port}/yangfan")
    assert (found.check, found.state) == ("PostgreSQL", "problem")
    assert "cannot use the database" in found.detail
    assert "s3cret" not in repr(found)


def test_without_a_database_setting_sqlite_is_looked_at():
    assert doctor.check_database(None).check == "SQLite"
