"""What child programs that compute are told by their environment, whoever starts them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from yangfan import computing
from yangfan.errors import ConfigurationError
from yangfan.weights import child


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)


def test_threads_that_wait_sleep_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    assert computing.environment()["GOMP_SPINCOUNT"] == str(computing.OPENMP_SPINS)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert computing.environment()["GOMP_SPINCOUNT"] == "7"


def test_who_says_how_to_wait_is_not_contradicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert "GOMP_SPINCOUNT" not in computing.environment()


def test_programs_that_read_and_write_weights_are_told_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[str] = []
    start = subprocess.Popen

    def noting(*args: object, env: dict[str, str], **options: object) -> object:
        told.append(env["GOMP_SPINCOUNT"])
        return start(*args, env=env, **options)  # pyright: ignore[reportArgumentType, reportCallIssue] - as it was called

    monkeypatch.setattr(subprocess, "Popen", noting)
    order = child.Order(work="perplexity", source=str(tmp_path / "nothing.gguf"))
    with pytest.raises(ConfigurationError):
        child.run(order, lambda _done, _total: None)
    assert told == [str(computing.OPENMP_SPINS)]


def test_programs_of_others_see_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YANGFAN_DATABASE_PASSWORD", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    given = computing.environment_of_strangers()
    assert "secret" not in given.values()
    assert given["LANG"] == "C.UTF-8"
    assert "PATH" in given
