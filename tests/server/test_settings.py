"""Layers of settings, and every way to get one wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from yangfan.errors import ConfigurationError
from yangfan.server.settings import EMBEDDED_MODELS, Settings, load


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder that is not the user's."""
    return tmp_path


def load_at(home: Path, flags: dict[str, object] | None = None, **environ: str) -> Settings:
    return load({"home": str(home), **(flags or {})}, environ)


def test_nothing_said_means_the_defaults():
    settings = Settings()
    assert (settings.host, settings.port, settings.models) == ("127.0.0.1", 8000, EMBEDDED_MODELS)
    assert settings.auth
    assert settings.home_path == Path("~/.yangfan").expanduser()
    assert settings.model_store_path == settings.home_path


def test_flags_win_over_environment_over_file_over_defaults(home: Path):
    (home / "yangfan.toml").write_text('port = 1\nslots = 1\nthreads = 1\nmodels = ["a"]\n')
    settings = load_at(home, {"port": 3}, YANGFAN_PORT="2", YANGFAN_SLOTS="2")
    assert (settings.port, settings.slots, settings.threads) == (3, 2, 1)
    assert (settings.models, settings.max_waiting) == (("a",), 512)


def test_flag_that_is_none_was_not_given(home: Path):
    assert load_at(home, {"port": None}, YANGFAN_PORT="2").port == 2


def test_home_of_the_environment_decides_where_the_file_is(home: Path):
    (home / "yangfan.toml").write_text("port = 5\n")
    assert load({}, {"YANGFAN_HOME": str(home)}).port == 5
    assert load({"home": str(home / "other")}, {"YANGFAN_HOME": str(home)}).port == 8000


def test_file_that_is_named_replaces_that_of_the_home(home: Path):
    (home / "yangfan.toml").write_text("port = 5\n")
    other = home / "other.toml"
    other.write_text("port = 6\n")
    assert load({"home": str(home)}, {}, file=other).port == 6


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("MODELS", "echo, b ,,c", ("echo", "b", "c")),
        ("EGRESS_ALLOW", "10.0.0.0/8,example", ("10.0.0.0/8", "example")),
        ("PRESETS", "ernie-4.0-8k=a, b = c", {"ernie-4.0-8k": "a", "b": "c"}),
        ("AUTH", "false", False),
        ("AUTH", "0", False),
        ("AUTH", "true", True),
        ("ECHO_DELAY_SECONDS", "0.5", 0.5),
        ("CONTEXT_TOKENS", "4096", 4096),
        ("LOG_LEVEL", "debug", "debug"),
        ("MODEL_STORE", "/models", "/models"),
        ("HOST", "localhost", "localhost"),
        ("PORT", "", 8000),
    ],
)
def test_every_kind_of_setting_can_come_from_the_environment(
    home: Path, name: str, text: str, value: object
):
    settings = load({"home": str(home)}, {f"YANGFAN_{name}": text})
    assert getattr(settings, name.lower()) == value


def test_variables_of_others_are_left_alone(home: Path):
    assert load_at(home, YANGFAN_API_KEY="x", PORT="1", QIANFAN_AK="y").port == 8000


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("PORT", "http", r"Expected `int`.*`\$\.port`"),
        ("PORT", "65536", r"`int` <= 65535.*`\$\.port`"),
        ("PORT", "-1", r"`int` >= 0.*`\$\.port`"),
        ("SLOTS", "0", r"`int` >= 1.*`\$\.slots`"),
        ("SLOTS", "1025", r"`int` <= 1024.*`\$\.slots`"),
        ("CONTEXT_TOKENS", "10", r">= 64.*`\$\.context_tokens`"),
        ("THREADS", "0", r">= 1.*`\$\.threads`"),
        ("MAX_WAITING", "-1", r">= 0.*`\$\.max_waiting`"),
        ("FIRST_BYTE_TIMEOUT_SECONDS", "0", r"> 0.*`\$\.first_byte_timeout_seconds`"),
        ("READ_TIMEOUT_SECONDS", "soon", r"`float`.*`\$\.read_timeout_seconds`"),
        ("MAX_BODY_BYTES", "100", r">= 1024.*`\$\.max_body_bytes`"),
        ("AUTH", "maybe", r"`bool`.*`\$\.auth`"),
        ("ECHO_DELAY_SECONDS", "-1", r">= 0.*`\$\.echo_delay_seconds`"),
        ("LOG_LEVEL", "loud", r"'loud'.*`\$\.log_level`"),
        ("TUNING_RENDEZVOUS", "10.0.0.1", r"matching regex.*`\$\.tuning_rendezvous`"),
        ("TUNING_NODES", "ssh b yangfan worker node", "so tuning_rendezvous must say where"),
        ("PRESETS", "ernie", r"YANGFAN_PRESETS must be preset=model.*'ernie' is no such pair"),
        ("PRESETS", "a=", r"'a=' is no such pair"),
        ("MODELS", " , ", "`models` names no model; give at least one, such as echo"),
    ],
)
def test_wrong_value_is_told_with_the_settings_name(home: Path, name: str, text: str, says: str):
    with pytest.raises(ConfigurationError, match=says) as raised:
        load({"home": str(home)}, {f"YANGFAN_{name}": text})
    assert raised.value.message.startswith("settings: ")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("prot = 1\n", r"unknown field `prot`.*yangfan\.toml"),
        ('port = "x"\n', r"`\$\.port`"),
        ("models = 5\n", r"Expected `array`.*`\$\.models`"),
        ("port = \n", r"yangfan\.toml is not TOML: .*line 1"),
        ("[presets]\na = 1\n", r"Expected `str`.*presets"),
    ],
)
def test_wrong_file_is_told_with_its_path(home: Path, content: str, says: str):
    (home / "yangfan.toml").write_text(content)
    with pytest.raises(ConfigurationError, match=says):
        load_at(home)


def test_file_that_is_not_text(home: Path):
    (home / "yangfan.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"yangfan\.toml is not TOML"):
        load_at(home)


def test_named_file_must_exist(home: Path):
    with pytest.raises(
        ConfigurationError, match=r"cannot read the settings file .*no\.toml: No such"
    ):
        load({}, {}, file=home / "no.toml")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1"])
def test_no_auth_is_for_this_machine(home: Path, host: str):
    assert not load_at(home, {"auth": False, "host": host}).auth


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.5", "example.com"])
def test_no_auth_for_others_is_refused(home: Path, host: str):
    with pytest.raises(ConfigurationError, match=f"needs a loopback host, not {host}"):
        load_at(home, {"auth": False, "host": host})
