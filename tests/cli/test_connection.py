"""Where a command finds the server and its credentials."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from yangfan.cli.connection import Connection
from yangfan.errors import ConfigurationError

SERVER = {
    "base_url": "http://127.0.0.1:4321",
    "api_key": "the-api-key",
    "secret_key": "the-secret-key",
    "access_key": "the-access-key",
    "secret_access_key": "the-secret-access-key",
    "bearer": "the-bearer",
    "pid": 1,
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder whose server runs."""
    (tmp_path / "server.json").write_text(json.dumps(SERVER))
    return tmp_path


def test_running_server_gives_address_and_credentials(home: Path):
    found = Connection().completed({"YANGFAN_HOME": str(home)})
    assert {**vars(found), "pid": 1} == {**SERVER, "home": None}


def test_home_option_outweighs_the_environment(home: Path):
    environ = {"YANGFAN_BASE_URL": "http://example.com", "YANGFAN_BEARER": "theirs"}
    found = Connection(home=home).completed(environ)
    assert (found.base_url, found.bearer) == (SERVER["base_url"], "the-bearer")


@pytest.mark.parametrize(
    "environ",
    [
        {"YANGFAN_BASE_URL": "http://example.com"},
        {"QIANFAN_BASE_URL": "https://qianfan.baidubce.com"},
        {"QIANFAN_CONSOLE_API_BASE_URL": "https://qianfan.baidubce.com"},
    ],
)
def test_credentials_of_the_file_go_to_no_other_address(home: Path, environ: dict[str, str]):
    found = Connection().completed({"YANGFAN_HOME": str(home), **environ})
    assert found == Connection()


def test_credentials_of_the_file_go_to_no_other_address_given_as_an_option(home: Path):
    asked = Connection(base_url="http://example.com", home=home)
    assert asked.completed({}) == asked


def test_credentials_of_the_file_go_to_its_own_address(home: Path):
    found = Connection(base_url="http://127.0.0.1:4321/", home=home).completed({})
    assert found.bearer == "the-bearer"


@pytest.mark.parametrize(
    ("asked", "environ"),
    [
        (Connection(bearer="mine"), {}),
        (Connection(), {"YANGFAN_BEARER": "mine"}),
        (Connection(), {"QIANFAN_AK": "mine", "QIANFAN_SK": "mine"}),
    ],
)
def test_own_credentials_take_only_the_address_of_the_file(
    home: Path, asked: Connection, environ: dict[str, str]
):
    found = asked.completed({"YANGFAN_HOME": str(home), **environ})
    assert found.base_url == SERVER["base_url"]
    assert (found.bearer, found.access_key, found.api_key) == (asked.bearer, None, None)


def test_without_a_running_server_nothing_is_added(tmp_path: Path):
    assert Connection().completed({"YANGFAN_HOME": str(tmp_path)}) == Connection()


def test_home_without_a_running_server_is_a_mistake(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=f"yangfan serve --home {tmp_path}"):
        Connection(home=tmp_path).completed({})


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"base_url": 7}'])
def test_damaged_file_says_what_to_do(tmp_path: Path, content: str):
    (tmp_path / "server.json").write_text(content)
    with pytest.raises(ConfigurationError, match="restart `yangfan serve`"):
        Connection(home=tmp_path).completed({})


def test_secrets_stay_out_of_the_repr(home: Path):
    shown = repr(Connection(home=home).completed({}))
    assert "the-access-key" in shown
    for secret in ("the-bearer", "the-secret-key", "the-secret-access-key"):
        assert secret not in shown
