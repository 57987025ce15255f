"""`yangfan sign`: what it prints is what a server accepts."""

from __future__ import annotations

import http.client
import re
import shlex
from urllib.parse import urlsplit

import pytest
from tests.cli.conftest import Command
from tests.conftest import Server

LIST_KEYS = "/v2/apikey?Action=DescribeApiKeys"
KEY = ("--access-key", "ALTAK0123456789", "--secret-access-key", "the-secret-0123456789")


def ask(server: Server, method: str, path: str, headers: dict[str, str]) -> int:
    parts = urlsplit(server.base_url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        body = b"{}" if method == "POST" else None
        connection.request(method, path, body, {"Content-Type": "application/json", **headers})
        return connection.getresponse().status
    finally:
        connection.close()


def headers_of(lines: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in lines.splitlines())


def test_server_accepts_the_headers(yangfan: Command, echo_server: Server):
    shown = yangfan("sign", "POST", echo_server.base_url + LIST_KEYS)
    assert (shown.status, shown.err) == (0, "")
    headers = headers_of(shown.out)
    assert set(headers) == {"Authorization", "Host", "x-bce-date"}
    assert ask(echo_server, "POST", LIST_KEYS, headers) == 200


def test_path_means_the_server_that_runs(yangfan: Command, echo_server: Server):
    headers = headers_of(yangfan.inside("sign", "post", LIST_KEYS).out)
    assert headers["Host"] == urlsplit(echo_server.base_url).netloc
    assert ask(echo_server, "POST", LIST_KEYS, headers) == 200


def test_headers_given_are_covered_and_printed(yangfan: Command, echo_server: Server):
    shown = yangfan.inside(
        "sign",
        "POST",
        LIST_KEYS,
        "-H",
        "Content-Type: application/json",
        "-H",
        "x-bce-trace: 扬帆 1",
    )
    headers = headers_of(shown.out)
    assert headers["Content-Type"] == "application/json"
    assert "/content-type;host;x-bce-date;x-bce-trace/" in headers["Authorization"]
    headers["x-bce-trace"] = headers["x-bce-trace"].encode().decode("latin-1")
    changed = {**headers, "x-bce-trace": "2"}
    assert ask(echo_server, "POST", LIST_KEYS, changed) == 403


def test_curl_command_is_ready_to_paste(yangfan: Command):
    shown = yangfan.inside("sign", "GET", "http://h/a?b=it's", "--curl", *KEY)
    words = shlex.split(shown.out)
    assert words[:4] == ["curl", "-X", "GET", "http://h/a?b=it's"]
    assert [words[index] for index in range(4, len(words), 2)] == ["-H"] * 3
    assert "Host: h" in words


def test_explanation_goes_to_stderr_and_holds_the_canonical_request(yangfan: Command):
    shown = yangfan.inside(
        "sign",
        "PUT",
        "http://example.com:8080/a%20b?y=2&x=1",
        "--explain",
        "--expires-in",
        "60",
        *KEY,
    )
    stamp = headers_of(shown.out)["x-bce-date"]
    encoded = stamp.replace(":", "%3A")
    canonical = f"PUT\n/a%20b\nx=1&y=2\nhost:example.com%3A8080\nx-bce-date:{encoded}\n"
    assert canonical in shown.err
    assert f"bce-auth-v1/ALTAK0123456789/{stamp}/60" in shown.err
    signature = headers_of(shown.out)["Authorization"].rpartition("/")[2]
    assert re.search(rf"signature +{signature}\n", shown.err)


def test_explanation_holds_neither_secret_nor_derived_key(yangfan: Command):
    shown = yangfan.inside("sign", "GET", "http://h/", "--explain", "--curl", *KEY)
    said = shown.out + shown.err
    assert "the-secret" not in said
    # The signature is the only text of 64 hexadecimal digits.
    assert len(set(re.findall(r"\b[0-9a-f]{64}\b", said))) == 1


def test_keys_may_come_from_the_environment(lonely: Command):
    environ = {"YANGFAN_ACCESS_KEY": "ALTAKfromenv", "YANGFAN_SECRET_ACCESS_KEY": "secret"}
    shown = lonely.inside("sign", "GET", "http://h/", environ=environ)
    assert "bce-auth-v1/ALTAKfromenv/" in shown.out


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["GET", "http://h/"], 1, "nothing to sign with"),
        (["GET", "ftp://h/", *KEY], 2, "is no address"),
        (["GET", "nonsense", *KEY], 2, "is no address"),
        (["GET", "http://h/你好", *KEY], 2, "percent-encoded"),
        (["G T", "http://h/", *KEY], 2, "is no HTTP method"),
        (["GET", "http://h/", "-H", "no colon", *KEY], 2, "is no header"),
        (["GET", "http://h/", "-H", "a: b\r\nc: d", *KEY], 2, "is no header"),
        (["GET", "http://h/", "--expires-in", "0", *KEY], 2, "--expires-in"),
        (["GET", "http://h/", "--access-key", "only-half"], 1, "secret_access_key"),
        (["GET"], 2, "url"),
    ],
)
def test_mistake_is_said_clearly(lonely: Command, arguments: list[str], status: int, said: str):
    shown = lonely.inside("sign", *arguments)
    assert (shown.status, shown.out) == (status, "")
    assert said.lower() in shown.err.lower()
