"""Making, hashing and sealing secrets, all under one master key in a file that only its owner can read."""

from __future__ import annotations

import hmac
import os
import secrets
import string
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

MASTER_KEY_BYTES = 32
_ALPHANUMERIC = string.ascii_letters + string.digits
_NONCE_BYTES = 12


def random_text(length: int, alphabet: str = _ALPHANUMERIC) -> str:
    """`length` characters from the system's secure source; 5.95 bits each by default."""
    return "".join(secrets.choice(alphabet) for _ in range(length))


class Vault:
    """Keyed hashing and sealing.

    Args:
        master_key: 32 random bytes; every use derives a key of its own from it (HMAC-SHA-256 over a label).
    """

    def __init__(self, master_key: bytes) -> None:
        """Derive the keys."""
        self._hash_key = self.derive(master_key, b"yangfan/secret-hash")
        self._aead = AESGCM(self.derive(master_key, b"yangfan/secret-seal"))
        self.token_key = self.derive(master_key, b"yangfan/tokens")
        self.job_key = self.derive(master_key, b"yangfan/jobs")
        self.link_key = self.derive(master_key, b"yangfan/links")
        self.account_id = self.derive(master_key, b"yangfan/account").hex()[:32]

    def __repr__(self) -> str:
        """No secrets."""
        return "Vault()"

    @staticmethod
    def derive(master_key: bytes, label: bytes) -> bytes:
        """32 bytes for one use."""
        return hmac.digest(master_key, label, "sha256")

    def hash(self, secret: str) -> bytes:
        """Keyed hash of a secret with 190 or more random bits, which needs no slow hash."""
        return hmac.digest(self._hash_key, secret.encode("utf-8", "surrogateescape"), "sha256")

    def seal(self, secret: str, key_id: str) -> bytes:
        """Encrypt a secret that must be read again, bound to its key's id."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, secret.encode(), key_id.encode())

    def open(self, sealed: bytes, key_id: str) -> str:
        """Decrypt what `seal` made.

        Raises:
            ConfigurationError: The master key is not the one that sealed it.
        """
        try:
            plain = self._aead.decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], key_id.encode()
            )
        except InvalidTag:
            raise ConfigurationError(
                "secret.key does not belong to this database; put back the secret.key that was beside it, or copy that of the first server"
                " that used the database into this home folder"
            ) from None
        return plain.decode()


def load_or_create_master_key(path: Path) -> bytes:
    """Read the master key, or make it at the first start (mode 0600, written durably before it is used).

    Raises:
        ConfigurationError: The file cannot be read or written, or holds something else.
    """
    try:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            key = path.read_bytes()
        else:
            key = secrets.token_bytes(MASTER_KEY_BYTES)
            with os.fdopen(descriptor, "wb") as file:
                file.write(key)
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise ConfigurationError(f"cannot use {path}: {error.strerror}") from None
    if len(key) != MASTER_KEY_BYTES:
        raise ConfigurationError(
            f"{path} must hold {MASTER_KEY_BYTES} bytes but holds {len(key)}; restore it, or remove it together with yangfan.db to start anew"
        )
    return key
