"""The client's settings: arguments, then `YANGFAN_*`, then the `QIANFAN_*` variables of the official SDK (spec. E.1).

The one file of the client that reads the environment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

Version = Literal[1, 2]

DEFAULT_BASE_URL = "http://127.0.0.1:8000"
"""Where `yangfan serve` listens."""

BAIDU_HOSTS = frozenset({"aip.baidubce.com", "qianfan.baidubce.com"})
BAIDU_V2 = "https://qianfan.baidubce.com"
BAIDU_IAM = "https://iam.bj.baidubce.com"

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_CREDENTIAL_VARIABLES = (
    {
        "api_key": "YANGFAN_API_KEY",
        "secret_key": "YANGFAN_SECRET_KEY",
        "access_token": "YANGFAN_ACCESS_TOKEN",
        "access_key": "YANGFAN_ACCESS_KEY",
        "secret_access_key": "YANGFAN_SECRET_ACCESS_KEY",
        "bearer": "YANGFAN_BEARER",
    },
    {
        "api_key": "QIANFAN_AK",
        "secret_key": "QIANFAN_SK",
        "access_token": "QIANFAN_ACCESS_TOKEN",
        "access_key": "QIANFAN_ACCESS_KEY",
        "secret_access_key": "QIANFAN_SECRET_KEY",
        "bearer": "QIANFAN_BEARER_TOKEN",
    },
)
_KINDS = (
    frozenset({"api_key", "secret_key", "access_token"}),
    frozenset({"access_key", "secret_access_key"}),
    frozenset({"bearer"}),
)
_PAIRS = (("api_key", "secret_key"), ("access_key", "secret_access_key"))


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who calls; empty strings for what there is not. Its repr masks the secrets.

    Attributes:
        api_key: An application's key, for OAuth.
        secret_key: Its secret.
        access_token: A ready-made OAuth token; used first, and replaced through the pair above once it is refused.
        access_key: An access key id, for bce-auth-v1 signatures.
        secret_access_key: Its secret.
        bearer: A bearer key for v2.
    """

    api_key: str = ""
    secret_key: str = ""
    access_token: str = ""
    access_key: str = ""
    secret_access_key: str = ""
    bearer: str = ""

    @property
    def has_oauth(self) -> bool:
        """There is an OAuth pair or a ready-made token."""
        return bool(self.api_key or self.access_token)

    @property
    def has_signature(self) -> bool:
        """There is a pair to sign with."""
        return bool(self.access_key)

    def masked(self) -> str:
        """What there is, as arguments, without the secrets."""
        pairs = ((item.name, getattr(self, item.name)) for item in fields(self))
        return ", ".join(f"{name}={_mask(value)!r}" for name, value in pairs if value)

    def __repr__(self) -> str:
        """Masked."""
        return f"Credentials({self.masked()})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the caller of `Client(…)` passed; None for what was left out."""

    base_url: str | None = None
    api_key: str | None = None
    secret_key: str | None = None
    access_token: str | None = None
    access_key: str | None = None
    secret_access_key: str | None = None
    bearer: str | None = None
    version: Version | None = None
    app_id: str | None = None
    timeout_seconds: float | None = None
    max_retries: int | None = None
    proxy: str | None = None
    verify_tls: bool | None = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that a client needs to know, complete and checked.

    Attributes:
        v1_url: Base of v1 inference and OAuth, without a trailing slash.
        v2_url: Base of v2 inference and of the `?Action=` calls.
        iam_url: Base of the bearer-token call.
        version: The dialect of inference calls.
        credentials: Who calls.
        app_id: Sent as `appid` with v2 calls; empty for none.
        timeout_seconds: Longest silence of the server.
        max_retries: How often a call is repeated after a passing failure.
        proxy: Address of an HTTP proxy; None for none.
        verify_tls: Check certificates.
        headers: Sent with every call.
    """

    v1_url: str
    v2_url: str
    iam_url: str
    version: Version
    credentials: Credentials
    app_id: str = ""
    timeout_seconds: float = 300.0
    max_retries: int = 2
    proxy: str | None = field(default=None, repr=False)
    verify_tls: bool = True
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def load(given: Given, environ: Mapping[str, str] | None = None) -> Settings:
    """Complete what was given from the environment and check it.

    Args:
        given: Arguments; they win.
        environ: Environment variables; the process's own by default.

    Raises:
        ConfigurationError: A value is not usable; the text says which and what to write instead.
    """
    env = _Environment(os.environ if environ is None else environ)
    v1_url, v2_url, iam_url = _addresses(given, env)
    credentials = _credentials(given, env)
    version = _version(given, env, credentials)
    if version == 1:
        refuse_closed_v1(v1_url)
    return Settings(
        v1_url=v1_url,
        v2_url=v2_url,
        iam_url=iam_url,
        version=version,
        credentials=credentials,
        app_id=given.app_id or env.text("YANGFAN_APP_ID", "QIANFAN_APP_ID") or "",
        timeout_seconds=_timeout_seconds(given, env),
        max_retries=_max_retries(given, env),
        proxy=_proxy(given, env, v1_url if version == 1 else v2_url),
        verify_tls=_verify_tls(given, env),
        headers=checked_headers(given.headers or {}),
    )


def refuse_closed_v1(v1_url: str) -> None:
    """Say so when v1 would go to Baidu, where nobody answers any more.

    Raises:
        ConfigurationError: `v1_url` is Baidu's.
    """
    if urlsplit(v1_url).hostname in BAIDU_HOSTS:
        raise ConfigurationError(
            "Baidu closed the v1 API on 2026-08-31: use version=2 with a bearer key (bearer='bce-v3/ALTAK-…'), or point"
            " base_url at a Yangfan server, which speaks v1"
        )


class _Environment:
    """Reads variables; the first name that is set wins, and an empty value counts as unset."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def named(self, *names: str) -> tuple[str, str] | None:
        """The first variable that is set: its name and value."""
        for name in names:
            value = self._environ.get(name, "").strip()
            if value:
                return name, value
        return None

    def text(self, *names: str) -> str | None:
        found = self.named(*names)
        return found[1] if found else None

    def number(self, *names: str) -> float | None:
        found = self.named(*names)
        if found is None:
            return None
        try:
            return float(found[1])
        except ValueError:
            raise ConfigurationError(f"{found[0]} must be a number, not {found[1]!r}") from None

    def truth(self, *names: str) -> bool | None:
        found = self.named(*names)
        if found is None:
            return None
        word = found[1].lower()
        if word not in _TRUE | _FALSE:
            raise ConfigurationError(f"{found[0]} must be true or false, not {found[1]!r}")
        return word in _TRUE


def _addresses(given: Given, env: _Environment) -> tuple[str, str, str]:
    own = given.base_url or env.text("YANGFAN_BASE_URL")
    theirs = env.text("QIANFAN_BASE_URL") or DEFAULT_BASE_URL
    v1_url = _base_url(own or theirs)
    v2_url = _base_url(own or env.text("QIANFAN_CONSOLE_API_BASE_URL") or theirs)
    iam_url = _base_url(
        own or env.text("QIANFAN_IAM_BASE_URL", "QIANFAN_CONSOLE_API_BASE_URL") or theirs
    )
    if _is_baidu(v2_url):
        v2_url = BAIDU_V2
    if _is_baidu(iam_url):
        iam_url = BAIDU_IAM
    return v1_url, v2_url, iam_url


def _is_baidu(url: str) -> bool:
    return urlsplit(url).hostname in BAIDU_HOSTS


def _base_url(text: str) -> str:
    """`text` without a trailing slash and without the /v1 or /v2 that OpenAI's clients want at its end."""
    if "@" in text:
        raise ConfigurationError(
            "base_url must hold no user and password; pass credentials as arguments"
        )
    url = text.strip().rstrip("/").removesuffix("/v2").removesuffix("/v1").rstrip("/")
    try:
        parts = urlsplit(url)
        usable = (
            parts.scheme in {"http", "https"}
            and parts.hostname
            and not parts.query
            and not parts.fragment
        )
        _ = parts.port
    except ValueError:
        usable = False
    if not usable or not url.isascii() or any(character.isspace() for character in url):
        raise ConfigurationError(f"base_url must look like {DEFAULT_BASE_URL}, not {text!r}")
    return url


def _credentials(given: Given, env: _Environment) -> Credentials:
    """The credentials of the first layer that names any; a missing half of a pair may come from a lower layer."""
    layers = [
        {name: getattr(given, name) for names in _KINDS for name in names},
        *(
            {name: env.text(variable) for name, variable in layer.items()}
            for layer in _CREDENTIAL_VARIABLES
        ),
    ]
    if not any(layers[0].values()) and env.truth("YANGFAN_NO_AUTH", "QIANFAN_NO_AUTH"):
        return Credentials()
    first = next((layer for layer in layers if any(layer.values())), None)
    if first is None:
        return Credentials()
    wanted = [name for names in _KINDS if any(first[name] for name in names) for name in names]
    found: dict[str, str] = {}
    for name in wanted:
        value = next((layer[name] for layer in layers if layer[name]), None)
        if value:
            found[name] = _secret(name, value)
    for pair in _PAIRS:
        _require_both(pair, found)
    return Credentials(**found)


def _secret(name: str, value: str) -> str:
    value = value.strip()
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError(
            f"{name} must be printable ASCII without spaces; copy the key again"
        )
    return value


def _require_both(pair: tuple[str, str], found: Mapping[str, str]) -> None:
    missing = [name for name in pair if name not in found]
    if len(missing) == 1:
        present = next(name for name in pair if name in found)
        variables = " or ".join(layer[missing[0]] for layer in _CREDENTIAL_VARIABLES)
        raise ConfigurationError(f"{present} needs {missing[0]}: pass it too, or set {variables}")


def _version(given: Given, env: _Environment, credentials: Credentials) -> Version:
    text = given.version if given.version is not None else env.text("YANGFAN_VERSION")
    match str(text) if text is not None else None:
        case "1":
            return 1
        case "2":
            return 2
        case None:
            only_oauth = (
                credentials.has_oauth and not credentials.has_signature and not credentials.bearer
            )
            return 1 if only_oauth else 2
        case other:
            raise ConfigurationError(f"version must be 1 or 2, not {other}")


def _timeout_seconds(given: Given, env: _Environment) -> float:
    seconds = given.timeout_seconds
    if seconds is None:
        seconds = env.number("YANGFAN_TIMEOUT_SECONDS", "QIANFAN_LLM_API_RETRY_TIMEOUT")
    return checked_timeout_seconds(300.0 if seconds is None else seconds)


def checked_timeout_seconds(seconds: float) -> float:
    """`seconds` as a float.

    Raises:
        ConfigurationError: It is not above 0 and at most a day.
    """
    if not 0 < seconds <= 86400:
        raise ConfigurationError(
            f"timeout_seconds must be above 0 and at most 86400, not {seconds}"
        )
    return float(seconds)


def _max_retries(given: Given, env: _Environment) -> int:
    retries = (
        given.max_retries if given.max_retries is not None else env.number("YANGFAN_MAX_RETRIES")
    )
    if retries is None:
        attempts = env.number("QIANFAN_LLM_API_RETRY_COUNT")
        retries = 2 if attempts is None else max(0, attempts - 1)
    if not 0 <= retries <= 100 or retries != int(retries):
        raise ConfigurationError(f"max_retries must be a whole number from 0 to 100, not {retries}")
    return int(retries)


def _verify_tls(given: Given, env: _Environment) -> bool:
    if given.verify_tls is not None:
        return given.verify_tls
    return env.truth("YANGFAN_VERIFY_TLS", "QIANFAN_SSL_VERIFICATION_ENABLED") is not False


def _proxy(given: Given, env: _Environment, target_url: str) -> str | None:
    """The proxy to use; the system's variables never apply to this machine itself nor to hosts in NO_PROXY."""
    proxy = (
        given.proxy or env.text("YANGFAN_PROXY", "QIANFAN_PROXY") or _system_proxy(env, target_url)
    )
    if not proxy:
        return None
    parts = urlsplit(proxy)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(
            "proxy must look like http://host:port or http://user:password@host:port"
        )
    return proxy


def _system_proxy(env: _Environment, target_url: str) -> str | None:
    target = urlsplit(target_url)
    host = target.hostname or ""
    excluded = [
        name.strip().lstrip(".") for name in (env.text("NO_PROXY", "no_proxy") or "").split(",")
    ]
    if (
        host in _LOOPBACK
        or "*" in excluded
        or any(name and (host == name or host.endswith(f".{name}")) for name in excluded)
    ):
        return None
    variable = f"{target.scheme}_proxy"
    return env.text(variable.upper(), variable)


def checked_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Headers as pairs.

    Raises:
        ConfigurationError: A name or value cannot be sent.
    """
    for name, value in headers.items():
        if not f"{name}{value}".isascii() or not f"{name}{value}".isprintable() or not name:
            raise ConfigurationError(f"header {name!r} must be printable ASCII")
    return tuple(headers.items())


def _mask(secret: str) -> str:
    """Enough of a secret to recognise it by, and never enough to use it."""
    if secret.startswith("bce-v3/ALTAK-"):
        return "bce-v3/ALTAK-…****"
    return f"{secret[:4]}…****" if len(secret) >= 16 else "****"
