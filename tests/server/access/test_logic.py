"""Who calls, with a clock that the test moves."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import sign_request

from yangfan import errors
from yangfan.server.access import Access
from yangfan.server.access.logic import MAX_SEEN_TOKENS
from yangfan.server.access.secrets import Vault
from yangfan.server.access.store import KeyStore
from yangfan.server.db import Database
from yangfan.server.http import Principal

DAY_SECONDS = 86_400
START_SECONDS = 1_700_000_000


class Clock:
    """Seconds since the epoch, as the test wants them."""

    def __init__(self) -> None:
        self.now = float(START_SECONDS)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(database_target: Path | str) -> AsyncGenerator[Database]:
    database = Database(database_target)
    await database.migrate()
    yield database
    await database.close()


@pytest.fixture
async def access(database: Database, clock: Clock) -> Access:
    access = Access(KeyStore(database), Vault(bytes(32)), clock=clock)
    await access.load()
    return access


def scope(path: str = "/v2/chat/completions", query: str = "", **headers: str) -> dict[str, Any]:
    """The head of a request."""
    return {
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }


def by_token(access: Access, token: str) -> Principal:
    return access.authenticate(scope(query=f"access_token={token}"), "inference")


def by_bearer(access: Access, token: str) -> Principal:
    return access.authenticate(scope(Authorization=f"Bearer {token}"), "inference")


async def pair(access: Access, lifetime_seconds: int | None = None) -> tuple[str, str]:
    key, secret = await access.create("oauth", "test", lifetime_seconds)
    return key.id, secret


async def test_builtin_keys_are_made_once(database: Database):
    first = await Access(KeyStore(database), Vault(bytes(32))).load()
    again = await Access(KeyStore(database), Vault(bytes(32))).load()
    assert first == again
    assert (len(first.api_key), len(first.secret_key)) == (24, 32)
    assert first.bearer.startswith("bce-v3/ALTAK-")


async def test_builtin_keys_under_another_master_key_are_refused_in_words(database: Database):
    await Access(KeyStore(database), Vault(bytes(32))).load()
    with pytest.raises(errors.ConfigurationError, match=r"secret\.key does not belong"):
        await Access(KeyStore(database), Vault(b"x" * 32)).load()


async def test_secrets_are_in_no_repr(access: Access):
    credentials = await access.load()
    shown = repr(credentials) + repr(access.all())
    for secret in (credentials.secret_key, credentials.secret_access_key, credentials.bearer):
        assert secret not in shown


async def test_access_token_lives_thirty_days_to_the_second(access: Access, clock: Clock):
    token = access.issue_access_token(*await pair(access))
    clock.now += 30 * DAY_SECONDS - 1
    assert by_token(access, token).kind == "oauth"
    clock.now += 1
    with pytest.raises(errors.TokenExpired, match="get a new one from /oauth"):
        by_token(access, token)


async def test_several_access_tokens_are_valid_at_once(access: Access):
    keys = await pair(access)
    tokens = [access.issue_access_token(*keys) for _ in range(3)]
    assert len(set(tokens)) == 3
    assert len({by_token(access, token).key_id for token in tokens}) == 1


async def test_revoking_a_key_ends_its_tokens_at_once_even_seen_ones(access: Access):
    keys = await pair(access)
    seen, fresh = access.issue_access_token(*keys), access.issue_access_token(*keys)
    by_token(access, seen)
    assert await access.revoke(keys[0])
    for token in (seen, fresh):
        with pytest.raises(errors.TokenInvalid):
            by_token(access, token)
    with pytest.raises(errors.BadClientCredentials, match="unknown client id"):
        access.issue_access_token(*keys)


async def test_key_that_expires_ends_its_tokens_too(access: Access, clock: Clock):
    token = access.issue_access_token(*await pair(access, lifetime_seconds=60))
    clock.now += 59.9
    by_token(access, token)
    clock.now += 0.1
    with pytest.raises(errors.TokenInvalid):
        by_token(access, token)


async def test_bearer_key_ends_at_its_time_and_when_revoked(access: Access, clock: Clock):
    key, secret = await access.create("bearer", "short", 60)
    assert by_bearer(access, secret).key_id == key.id
    clock.now += 60
    with pytest.raises(errors.BearerInvalid):
        by_bearer(access, secret)
    key, secret = await access.create("bearer", "long", None)
    assert by_bearer(access, secret).key_id == key.id
    await access.revoke(key.id)
    with pytest.raises(errors.BearerInvalid):
        by_bearer(access, secret)


async def test_short_lived_bearer_ends_at_its_time_and_with_its_signer(
    access: Access, clock: Clock
):
    key, _ = await access.create("signature", "signer", None)
    principal = Principal(key.id, key.app_id, "signature")
    token = access.issue_bearer(principal, expires_seconds=START_SECONDS + 60)
    assert by_bearer(access, token).key_id == key.id
    clock.now += 60
    with pytest.raises(errors.BearerInvalid):
        by_bearer(access, token)
    token = access.issue_bearer(principal, expires_seconds=START_SECONDS + 999)
    by_bearer(access, token)
    await access.revoke(key.id)
    with pytest.raises(errors.BearerInvalid):
        by_bearer(access, token)


async def test_seen_bearer_is_still_no_access_token_and_the_other_way_round(access: Access):
    _, bearer = await access.create("bearer", "b", None)
    token = access.issue_access_token(*await pair(access))
    by_bearer(access, bearer)
    by_token(access, token)
    with pytest.raises(errors.TokenInvalid):
        by_token(access, bearer)
    with pytest.raises(errors.BearerInvalid):
        by_bearer(access, token)


async def test_memory_for_seen_tokens_is_bounded(access: Access):
    keys = await pair(access)
    for _ in range(MAX_SEEN_TOKENS + 10):
        by_token(access, access.issue_access_token(*keys))
    seen = access._seen_access_tokens  # pyright: ignore[reportPrivateUsage] - its size is what is promised
    assert len(seen) <= MAX_SEEN_TOKENS


async def test_revoking_is_final_and_unknown_ids_are_told_apart(access: Access):
    key, _ = await access.create("bearer", "b", None)
    assert await access.revoke(key.id)
    revoked = {key.id: key.revoked_ms for key in access.all()}[key.id]
    assert await access.revoke(key.id)
    assert {key.id: key.revoked_ms for key in access.all()}[key.id] == revoked
    assert not await access.revoke("nobody")


async def test_secret_that_needs_no_reading_is_kept_as_a_hash_only(access: Access):
    for kind, sealed in (("bearer", False), ("oauth", False), ("signature", True)):
        key, secret = await access.create(kind, "k", None)  # pyright: ignore[reportArgumentType] - the three kinds
        assert (key.secret_sealed is not None) is sealed
        assert secret.encode() not in key.secret_hash


async def test_appid_must_be_an_application_here(access: Access):
    key, secret = await access.create("bearer", "b", None)
    headers = {"Authorization": f"Bearer {secret}"}
    ok = access.authenticate(scope(**headers, appid=key.app_id), "inference")
    assert ok.app_id == key.app_id
    with pytest.raises(errors.AppForbidden, match="'app-other'"):
        access.authenticate(scope(**headers, appid="app-other"), "inference")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "ACCESSCODE", "accesscode"])
async def test_bearer_goes_under_either_scheme(access: Access, scheme: str):
    key, secret = await access.create("bearer", "b", None)
    found = access.authenticate(scope(Authorization=f"{scheme} {secret}"), "inference")
    assert found.key_id == key.id


async def test_missing_credentials_are_refused_as_the_path_expects(access: Access):
    with pytest.raises(errors.TokenInvalid):
        access.authenticate(scope("/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/x"), "inference")
    with pytest.raises(errors.BearerInvalid):
        access.authenticate(scope(), "inference")


async def test_signature_needs_a_key_of_its_kind_that_lives(access: Access, clock: Clock):
    clock.now = time.time()
    key, secret = await access.create("signature", "s", 60)
    headers = sign_request("GET", "/v2/x", host="h:1", access_key=key.id, secret=secret)
    assert access.authenticate(scope("/v2/x", **headers), "signature").key_id == key.id
    clock.now += 61
    with pytest.raises(errors.SignatureInvalid) as raised:
        access.authenticate(scope("/v2/x", **headers), "signature")
    assert raised.value.reason == "InvalidAccessKeyId"


async def test_forwarded_host_may_be_the_signed_one(access: Access, clock: Clock):
    clock.now = time.time()
    key, secret = await access.create("signature", "s", None)
    headers = sign_request("GET", "/v2/x", host="public.example", access_key=key.id, secret=secret)
    inner = {**headers, "Host": "10.0.0.1:8000"}
    with pytest.raises(errors.SignatureInvalid):
        access.authenticate(scope("/v2/x", **inner), "signature")
    forwarded = {**inner, "X-Forwarded-Host": "public.example"}
    assert access.authenticate(scope("/v2/x", **forwarded), "signature").key_id == key.id


async def test_without_auth_anybody_infers_but_signed_calls_still_sign(database: Database):
    access = Access(KeyStore(database), Vault(bytes(32)), required=False)
    await access.load()
    assert access.authenticate(scope(), "inference").kind == "none"
    assert access.authenticate(scope(Authorization="Bearer x"), "inference").kind == "none"
    with pytest.raises(errors.SignatureInvalid):
        access.authenticate(scope(), "signature")


async def test_applications_outlive_the_process_and_deleted_ones_do_not(
    access: Access, database: Database
):
    kept, gone = await access.create_app("kept"), await access.create_app("gone")
    key, secret = await access.create("bearer", "b", None, app_id=kept.id)
    revoked, _ = await access.create("bearer", "b", None, app_id=gone.id)
    await access.delete_app(gone.id)
    again = Access(KeyStore(database), Vault(bytes(32)))
    await again.load()
    assert {app.name for app, _ in again.apps()} == {"built-in", "kept"}
    assert {key.id: key.app_id for key in again.all()}[key.id] == kept.id
    assert by_bearer(again, secret).app_id == kept.id
    assert next(key for key in again.all() if key.id == revoked.id).revoked_ms is not None
