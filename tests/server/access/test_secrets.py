"""The master key and what is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from yangfan.errors import ConfigurationError
from yangfan.server.access.secrets import (
    MASTER_KEY_BYTES,
    Vault,
    load_or_create_master_key,
    random_text,
)

KEY = bytes(range(32))


def test_sealed_secret_opens_under_the_same_key_and_id():
    sealed = Vault(KEY).seal("秘密", "key-1")
    assert "秘密".encode() not in sealed
    assert Vault(KEY).open(sealed, "key-1") == "秘密"


def test_sealing_twice_gives_different_bytes():
    assert Vault(KEY).seal("a", "key-1") != Vault(KEY).seal("a", "key-1")


@pytest.mark.parametrize(("key", "key_id"), [(bytes(32), "key-1"), (KEY, "key-2")])
def test_wrong_master_key_or_id_says_which_file_is_missing(key: bytes, key_id: str):
    sealed = Vault(KEY).seal("a", "key-1")
    with pytest.raises(
        ConfigurationError, match=r"secret\.key does not belong to this database; put back"
    ):
        Vault(key).open(sealed, key_id)


def test_damaged_seal_does_not_open():
    sealed = bytearray(Vault(KEY).seal("a", "key-1"))
    sealed[-1] ^= 1
    with pytest.raises(ConfigurationError):
        Vault(KEY).open(bytes(sealed), "key-1")


def test_each_use_has_a_key_of_its_own():
    vault = Vault(KEY)
    made = {vault.token_key, vault.hash("x"), bytes.fromhex(vault.account_id), KEY}
    assert len(made) == 4
    assert vault.hash("x") == Vault(KEY).hash("x") != Vault(bytes(32)).hash("x")


def test_nothing_secret_is_in_the_repr():
    assert repr(Vault(KEY)) == "Vault()"


def test_random_text_uses_its_alphabet():
    assert set(random_text(1000, "ab")) == {"a", "b"}
    assert len(random_text(32)) == 32
    assert random_text(32) != random_text(32)


def test_master_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path):
    path = tmp_path / "secret.key"
    key = load_or_create_master_key(path)
    assert len(key) == MASTER_KEY_BYTES
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_create_master_key(path) == key


def test_master_key_of_the_wrong_size_says_what_to_do(tmp_path: Path):
    path = tmp_path / "secret.key"
    path.write_bytes(b"short")
    with pytest.raises(
        ConfigurationError, match=r"must hold 32 bytes but holds 5; restore it, or remove"
    ):
        load_or_create_master_key(path)


def test_master_key_that_cannot_be_read_says_so(tmp_path: Path):
    path = tmp_path / "secret.key"
    path.mkdir()
    with pytest.raises(ConfigurationError, match=r"cannot use .*secret\.key: Is a directory"):
        load_or_create_master_key(path)
    with pytest.raises(ConfigurationError, match=r"cannot use .*: No such file or directory"):
        load_or_create_master_key(tmp_path / "nowhere" / "secret.key")
