"""The log: JSON lines, bounded, without secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from logging.handlers import RotatingFileHandler
from pathlib import Path

import pytest
import structlog

from yangfan.server import logs

SECRETS = [
    "bce-v3/ALTAK-BGQpbXfOzTwQOCAsk7VTJ/cd79b1e2b57d8f40e8b29004777c5c1028937011",
    "bce-auth-v1/ALTAK8rbLo/2026-01-01T00:00:00Z/1800/host/" + "a" * 64,
    "24." + "b" * 48 + ".2592000.1702592000.282335-7",
    "25." + "c" * 32 + ".1",
]


@pytest.fixture
def log(tmp_path: Path) -> Generator[Path]:
    """A log file; logging is put back as it was at the end."""
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    path = tmp_path / "server.log"
    logs.configure(path, "debug")
    yield path
    for handler in root.handlers:
        handler.close()
    root.handlers[:], logging.raiseExceptions = handlers, raising
    root.setLevel(level)
    structlog.reset_defaults()


def fail(message: str) -> None:
    raise ValueError(message)


def lines(path: Path) -> list[dict[str, object]]:
    """What this module logged: a thread that an earlier test left may log at any time as well."""
    written = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    return [line for line in written if line["logger"] in {"yangfan.test", "other"}]


def test_both_kinds_of_loggers_write_json_lines(log: Path):
    structlog.get_logger("yangfan.test").info("你好", number=5)
    logging.getLogger("other").warning("plain %s", "text")
    first, second = lines(log)
    assert (first["event"], first["number"], first["level"]) == ("你好", 5, "info")
    assert (second["event"], second["logger"], second["level"]) == (
        "plain text",
        "other",
        "warning",
    )
    assert "你好" in log.read_text("utf-8")


def test_exceptions_are_kept_whole_on_one_line(log: Path):
    try:
        fail("broken")
    except ValueError:
        structlog.get_logger("yangfan.test").exception("failed", request_id="r-1")
    (line,) = lines(log)
    assert "ValueError: broken" in str(line["exception"])
    assert line["request_id"] == "r-1"


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_masked_wherever_they_stand(log: Path, secret: str):
    logger = structlog.get_logger("yangfan.test")
    logger.info(f"in the text {secret} of an event", field=f"and {secret}, there")
    logging.getLogger("other").info("as an argument: %s", secret)
    try:
        fail(secret)
    except ValueError:
        logger.exception("in a stack")
    assert len(lines(log)) == 3
    assert secret not in log.read_text("utf-8")
    assert "***" in log.read_text("utf-8")


@pytest.mark.parametrize("name", ["access_token", "client_secret"])
def test_parameters_that_are_secret_are_masked(log: Path, name: str):
    logging.getLogger("other").info("GET /x?a=1&%s=hidden%%2Fvalue&b=2", name)
    text = log.read_text("utf-8")
    assert "hidden" not in text
    assert "&b=2" in text


def test_disk_that_cannot_be_written_does_not_stop_the_caller(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    handler = next(h for h in logging.getLogger().handlers if isinstance(h, RotatingFileHandler))

    def write(_text: str) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(handler.stream, "write", write)
    structlog.get_logger("yangfan.test").info("lost")
    assert capsys.readouterr() == ("", "")


def test_level_is_respected(log: Path):
    logging.getLogger().setLevel("ERROR")
    structlog.get_logger("yangfan.test").info("quiet")
    assert lines(log) == []
