"""Arguments beat YANGFAN_*, which beats QIANFAN_*; bad values are refused by name (specification E.1)."""

from __future__ import annotations

from typing import Any

import pytest

from yangfan.client.settings import Credentials, Given, Settings, load
from yangfan.errors import ConfigurationError

BEARER = "bce-v3/ALTAK-0123456789abcdefghijk/" + "0" * 40


def settings(environ: dict[str, str] | None = None, **given: Any) -> Settings:
    return load(Given(**given), environ or {})


def test_without_anything_the_server_on_this_machine_is_called_in_v2_without_credentials():
    found = settings()
    assert found == Settings(
        v1_url="http://127.0.0.1:8000",
        v2_url="http://127.0.0.1:8000",
        iam_url="http://127.0.0.1:8000",
        version=2,
        credentials=Credentials(),
    )
    assert (found.timeout_seconds, found.max_retries, found.verify_tls) == (300.0, 2, True)


def test_arguments_win_over_yangfan_variables_and_those_over_qianfan_variables():
    environ = {
        "YANGFAN_BASE_URL": "http://yangfan:1",
        "QIANFAN_BASE_URL": "http://qianfan:1",
        "YANGFAN_APP_ID": "app-y",
        "QIANFAN_APP_ID": "app-q",
        "QIANFAN_LLM_API_RETRY_TIMEOUT": "7",
        "QIANFAN_LLM_API_RETRY_COUNT": "5",
        "QIANFAN_PROXY": "http://proxy:1",
        "QIANFAN_SSL_VERIFICATION_ENABLED": "false",
    }
    found = settings(environ, base_url="http://given:1/")
    assert (found.v1_url, found.v2_url, found.iam_url) == ("http://given:1",) * 3
    assert (found.app_id, found.timeout_seconds, found.max_retries) == ("app-y", 7.0, 4)
    assert (found.proxy, found.verify_tls) == ("http://proxy:1", False)
    assert settings(environ).v2_url == "http://yangfan:1"
    mine = {
        "YANGFAN_TIMEOUT_SECONDS": "8",
        "YANGFAN_MAX_RETRIES": "0",
        "YANGFAN_PROXY": "http://mine:1",
    }
    found = settings({**environ, **mine, "YANGFAN_VERIFY_TLS": "yes"})
    assert (found.timeout_seconds, found.max_retries, found.proxy, found.verify_tls) == (
        8.0,
        0,
        "http://mine:1",
        True,
    )
    found = settings(
        {**environ, **mine},
        timeout_seconds=9,
        max_retries=1,
        proxy="http://arg:1",
        verify_tls=True,
        app_id="app-a",
    )
    assert (found.timeout_seconds, found.max_retries, found.proxy) == (9.0, 1, "http://arg:1")
    assert (found.verify_tls, found.app_id) == (True, "app-a")


def test_the_three_addresses_of_the_official_sdk_are_read():
    environ = {
        "QIANFAN_BASE_URL": "http://a:1",
        "QIANFAN_CONSOLE_API_BASE_URL": "http://b:1",
        "QIANFAN_IAM_BASE_URL": "http://c:1",
    }
    found = settings(environ)
    assert (found.v1_url, found.v2_url, found.iam_url) == ("http://a:1", "http://b:1", "http://c:1")
    assert settings({"QIANFAN_BASE_URL": "http://a:1"}).iam_url == "http://a:1"
    del environ["QIANFAN_IAM_BASE_URL"]
    assert settings(environ).iam_url == "http://b:1"


@pytest.mark.parametrize("host", ["https://aip.baidubce.com", "https://qianfan.baidubce.com/v2"])
@pytest.mark.parametrize("how", ["argument", "variable"])
def test_v2_calls_to_baidu_find_their_hosts(host: str, how: str):
    found = (
        settings(base_url=host, bearer=BEARER)
        if how == "argument"
        else settings({"QIANFAN_BASE_URL": host}, bearer=BEARER)
    )
    assert found.v2_url == "https://qianfan.baidubce.com"
    assert found.iam_url == "https://iam.bj.baidubce.com"


@pytest.mark.parametrize("host", ["https://aip.baidubce.com", "https://qianfan.baidubce.com"])
def test_v1_calls_to_baidu_are_refused_with_the_way_out(host: str):
    with pytest.raises(ConfigurationError, match="closed the v1 API on 2026-08-31") as caught:
        settings(base_url=host, api_key="a", secret_key="b")
    assert "version=2" in caught.value.message
    assert "Yangfan server" in caught.value.message
    with pytest.raises(ConfigurationError, match="2026-08-31"):
        settings({"QIANFAN_BASE_URL": host}, version=1)
    assert settings(base_url=host, version=2, bearer=BEARER).version == 2


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v2", "/v2/"])
def test_an_address_may_end_as_openais_clients_want_it(ending: str):
    assert settings(base_url=f"http://host:8000{ending}").v2_url == "http://host:8000"


@pytest.mark.parametrize(
    "url",
    [
        "host:8000",
        "ftp://host",
        "http://",
        "http://host:port",
        "http://a b",
        "http://host?x=1",
        "http://ho\u200bst",
        "http://[::1",
    ],
)
def test_a_base_url_that_is_none_is_refused(url: str):
    with pytest.raises(ConfigurationError, match="base_url must look like http"):
        settings(base_url=url)


def test_a_password_in_the_address_is_refused_without_repeating_it():
    with pytest.raises(ConfigurationError, match="no user and password") as caught:
        settings(base_url="http://user:hunter2@host")
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    ("given", "version"),
    [
        ({}, 2),
        ({"api_key": "a", "secret_key": "b"}, 1),
        ({"access_token": "t"}, 1),
        ({"api_key": "a", "secret_key": "b", "bearer": "c"}, 2),
        ({"api_key": "a", "secret_key": "b", "access_key": "c", "secret_access_key": "d"}, 2),
        ({"access_key": "c", "secret_access_key": "d"}, 2),
        ({"api_key": "a", "secret_key": "b", "version": 2}, 2),
        ({"bearer": "c", "version": 1}, 1),
    ],
)
def test_the_version_is_2_unless_oauth_is_all_there_is(given: dict[str, Any], version: int):
    assert settings(**given).version == version


def test_the_version_comes_from_the_environment_too():
    assert settings({"YANGFAN_VERSION": "1"}).version == 1
    assert settings({"YANGFAN_VERSION": "1"}, version=2).version == 2


def test_credentials_of_every_variable_are_read():
    yangfan = {
        "YANGFAN_API_KEY": "1",
        "YANGFAN_SECRET_KEY": "2",
        "YANGFAN_ACCESS_TOKEN": "3",
        "YANGFAN_ACCESS_KEY": "4",
        "YANGFAN_SECRET_ACCESS_KEY": "5",
        "YANGFAN_BEARER": "6",
    }
    qianfan = {
        "QIANFAN_AK": "1",
        "QIANFAN_SK": "2",
        "QIANFAN_ACCESS_TOKEN": "3",
        "QIANFAN_ACCESS_KEY": "4",
        "QIANFAN_SECRET_KEY": "5",
        "QIANFAN_BEARER_TOKEN": "6",
    }
    expected = Credentials("1", "2", "3", "4", "5", "6")
    assert settings(yangfan).credentials == expected
    assert settings(qianfan).credentials == expected
    assert (
        settings({**yangfan, "QIANFAN_AK": "x", "QIANFAN_SECRET_KEY": "y"}).credentials == expected
    )


def test_credentials_of_a_higher_layer_hide_other_kinds_below():
    environ = {"YANGFAN_API_KEY": "a", "YANGFAN_SECRET_KEY": "b", "QIANFAN_BEARER_TOKEN": "c"}
    assert settings(environ).credentials == Credentials(api_key="a", secret_key="b")
    found = settings(environ, access_key="d", secret_access_key="e")
    assert found.credentials == Credentials(access_key="d", secret_access_key="e")
    assert found.version == 2
    assert settings(environ, bearer="f").credentials == Credentials(bearer="f")


def test_the_other_half_of_a_pair_may_come_from_the_environment():
    environ = {"QIANFAN_SK": "b", "QIANFAN_SECRET_KEY": "d", "YANGFAN_BEARER": "x"}
    assert settings(environ, api_key="a").credentials == Credentials(api_key="a", secret_key="b")
    assert settings(environ, access_key="c").credentials == Credentials(
        access_key="c", secret_access_key="d"
    )


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            {"api_key": "a"},
            "api_key needs secret_key: pass it too, or set YANGFAN_SECRET_KEY or QIANFAN_SK",
        ),
        ({"secret_key": "a"}, "secret_key needs api_key"),
        ({"access_key": "a"}, "set YANGFAN_SECRET_ACCESS_KEY or QIANFAN_SECRET_KEY"),
        ({"bearer": "a b"}, "bearer must be printable ASCII"),
        ({"bearer": "密钥"}, "bearer must be printable ASCII"),
        ({"bearer": "a\nb"}, "bearer must be printable ASCII"),
        ({"version": 3}, "version must be 1 or 2, not 3"),
        ({"timeout_seconds": 0}, "timeout_seconds must be above 0"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds must be above 0"),
        ({"max_retries": -1}, "max_retries must be a whole number"),
        ({"max_retries": 1.5}, "max_retries must be a whole number"),
        ({"proxy": "host:1"}, "proxy must look like http"),
        ({"headers": {"X-A": "ü"}}, "header 'X-A' must be printable ASCII"),
        ({"headers": {"X-A": "a\r\nb"}}, "header 'X-A' must be printable ASCII"),
    ],
)
def test_a_bad_argument_is_refused_with_what_to_change(given: dict[str, Any], text: str):
    with pytest.raises(ConfigurationError) as caught:
        settings(**given)
    assert text in caught.value.message


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("YANGFAN_TIMEOUT_SECONDS", "soon", "YANGFAN_TIMEOUT_SECONDS must be a number, not 'soon'"),
        ("QIANFAN_LLM_API_RETRY_COUNT", "x", "QIANFAN_LLM_API_RETRY_COUNT must be a number"),
        ("YANGFAN_VERIFY_TLS", "perhaps", "YANGFAN_VERIFY_TLS must be true or false"),
        ("YANGFAN_VERSION", "v2", "version must be 1 or 2, not v2"),
    ],
)
def test_a_bad_variable_is_refused_by_name(variable: str, value: str, text: str):
    with pytest.raises(ConfigurationError) as caught:
        settings({variable: value})
    assert text in caught.value.message


@pytest.mark.parametrize("variable", ["QIANFAN_NO_AUTH", "YANGFAN_NO_AUTH"])
def test_no_auth_drops_credentials_of_the_environment_only(variable: str):
    environ = {variable: "true", "QIANFAN_AK": "a", "QIANFAN_SK": "b"}
    assert settings(environ).credentials == Credentials()
    assert settings({**environ, variable: "false"}).credentials.api_key == "a"
    assert settings(environ, bearer="c").credentials == Credentials(bearer="c")


def test_empty_variables_count_as_unset():
    assert settings({"YANGFAN_BASE_URL": " ", "YANGFAN_BEARER": ""}) == settings()


def test_the_systems_proxy_never_applies_to_this_machine_nor_to_excluded_hosts():
    environ = {
        "HTTPS_PROXY": "http://proxy:1",
        "http_proxy": "http://proxy:2",
        "NO_PROXY": "example.com, .corp",
    }
    assert settings(environ).proxy is None
    assert settings(environ, base_url="http://[::1]:8000").proxy is None
    assert settings(environ, base_url="https://api.example.com").proxy is None
    assert settings(environ, base_url="http://host.corp").proxy is None
    assert settings(environ, base_url="https://other.org").proxy == "http://proxy:1"
    assert settings(environ, base_url="http://other.org").proxy == "http://proxy:2"
    assert settings({**environ, "NO_PROXY": "*"}, base_url="http://other.org").proxy is None


def test_reprs_show_no_secret():
    secrets: dict[str, Any] = {
        "api_key": "K" * 24,
        "secret_key": "S" * 32,
        "access_token": "24.tokentokentoken",
        "access_key": "ALTAKabcdefghijkl",
        "secret_access_key": "short",
        "bearer": BEARER,
    }
    found = settings(
        **secrets, proxy="http://u:proxypassword@p:1", headers={"X-Secret": "headersecret"}
    )
    text = repr(found)
    assert "bearer='bce-v3/ALTAK-…****'" in text
    assert "api_key='KKKK…****'" in text
    for secret in (*secrets.values(), "proxypassword", "headersecret"):
        assert secret not in text
