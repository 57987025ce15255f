"""Everything wrong that a caller can send: each gets its documented code and a text that says what to change.

Bodies are rows of bad_input.toml; what needs more than a body is below. All of it goes to one server, which must be as well at the
end as it was at the start.
"""

from __future__ import annotations

import re
import socket
import time
import tomllib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from tests.conftest import Server, serving, wait_until
from tests.server.conftest import Caller, Reply, mint_of, sign_request

V1_ROOT = "/rpc/2.0/ai_custom/v1/wenxinworkshop"
V1 = f"{V1_ROOT}/chat/ernie_speed"
V2 = "/v2/chat/completions"
TOKEN = "/oauth/2.0/token"
BEARER_TOKEN = "/v1/BCE-BEARER/token"
KEYS = "/v2/apikey?Action=DescribeApiKeys"
MESSAGES = '[{"role":"user","content":"hi"}]'
MODEL = '"model":"ernie-speed-8k"'
GOOD_V1 = f'{{"messages":{MESSAGES}}}'
GOOD_V2 = f'{{{MODEL},"messages":{MESSAGES}}}'
MAX_BODY_BYTES = 200_000
MAX_GROWTH_BYTES = 64 * 1024 * 1024
"""How much larger the server may be after everything; the largest bodies alone are hundreds of megabytes in all."""

TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_name("bad_input.toml").read_text("utf-8"))

Refused = tuple[int, str | int, str]
"""HTTP status, documented code, what the text must say."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A server with a small body limit, and proof that all of this did it no harm."""
    limits = {"YANGFAN_MAX_BODY_BYTES": str(MAX_BODY_BYTES), "YANGFAN_READ_TIMEOUT_SECONDS": "0.5"}
    with serving(tmp_path_factory.mktemp("bad-input"), environ=limits) as server:
        caller = Caller(server)
        assert caller.v2(GOOD_V2).status == 200
        before_bytes = rss_bytes(server.pid)
        yield server
        assert server.process.poll() is None, "the server ended"
        assert caller.v1(GOOD_V1).json["result"] == "hi"
        assert caller.v2(GOOD_V2).json["choices"][0]["message"]["content"] == "hi"
        echo = caller.ask("GET", "/healthz").json["models"]["echo"]
        assert (echo["ready"], echo["restarts"], echo["slots"]["busy"]) == (True, 0, 0)
        assert rss_bytes(server.pid) - before_bytes < MAX_GROWTH_BYTES
        log = (server.home / "logs" / "server.log").read_text("utf-8")
        assert "handler failed" not in log
        assert "Traceback" not in log


@pytest.fixture(scope="module")
def caller(server: Server) -> Caller:
    return Caller(server)


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def check(reply: Reply, status: int, code: str | int, says: str) -> None:
    """What every refusal must be, in every dialect."""
    body = reply.json
    assert b"\n" not in reply.body, "Python clients parse the first line only"
    assert re.fullmatch(r"[\x21-\x7e]{1,128}", reply.headers["X-Baidu-Request-Id"] or "")
    if "error_code" in body:
        found, text = body["error_code"], body["error_msg"]
    elif "error_description" in body:
        found, text = body["error"], body["error_description"]
    elif "success" in body:
        found, text = body["code"], body["message"]["global"]
        assert (body["success"], body["status"]) == (False, 400)
        assert body["log_id"] == reply.headers["X-Baidu-Request-Id"]
    elif "requestId" in body:
        found, text = body["code"], body["message"]
        assert reply.headers["X-Bce-Error-Code"] == code
        assert reply.headers["X-Bce-Request-Id"] == body["requestId"]
    else:
        found, text = body["error"]["code"], body["error"]["message"]
        assert body["error"]["type"]
        assert re.fullmatch(r"as-[0-9a-z]{10}", body["id"])
    assert (reply.status, found) == (status, code), text
    assert re.search(says, text), text


def rows(*path: str) -> list[Any]:
    """Parameters from a section of the table, named by their rows."""
    section: Any = TABLE
    for name in path:
        section = section[name]
    return [pytest.param(*row, id=name) for name, row in section.items()]


# Bodies, from the table


@pytest.mark.parametrize(("body", "code", "says"), rows("v1", "bodies"))
def test_v1_refuses_body(caller: Caller, body: str, code: int, says: str):
    check(caller.v1(body), 200, code, says)


@pytest.mark.parametrize(("messages", "code", "says"), rows("v1", "messages"))
def test_v1_refuses_messages(caller: Caller, messages: str, code: int, says: str):
    check(caller.v1(f'{{"messages":{messages}}}'), 200, code, says)


@pytest.mark.parametrize(("field", "code", "says"), rows("v1", "fields"))
def test_v1_refuses_field(caller: Caller, field: str, code: int, says: str):
    check(caller.v1(f'{{"messages":{MESSAGES},{field}}}'), 200, code, says)


@pytest.mark.parametrize(
    ("field", "code", "says"),
    [row for row in rows("v1", "fields") if not row.values[0].startswith('"stream"')],
)
def test_v1_refuses_field_of_a_streaming_call_in_plain_json(
    caller: Caller, field: str, code: int, says: str
):
    check(caller.v1(f'{{"stream":true,"messages":{MESSAGES},{field}}}'), 200, code, says)


@pytest.mark.parametrize(("body", "code", "says"), rows("v1", "embeddings"))
def test_v1_refuses_texts_to_embed(caller: Caller, body: str, code: int, says: str):
    check(
        caller.ask("POST", f"{V1_ROOT}/embeddings/embedding-v1", body, caller.bearer()),
        200,
        code,
        says,
    )


@pytest.mark.parametrize(("body", "code", "says"), rows("v1", "rerank"))
def test_v1_refuses_documents_to_rank(caller: Caller, body: str, code: int, says: str):
    path = f"{V1_ROOT}/reranker/bce_reranker_base"
    check(caller.ask("POST", path, body, caller.bearer()), 200, code, says)


@pytest.mark.parametrize(("field", "status", "code", "says"), rows("v2", "embeddings"))
def test_v2_refuses_field_of_embeddings(
    caller: Caller, field: str, status: int, code: str, says: str
):
    body = f'{{"model":"embedding-v1","input":["a"],{field}}}'
    check(caller.ask("POST", "/v2/embeddings", body, caller.bearer()), status, code, says)


@pytest.mark.parametrize(("given", "status", "code", "says"), rows("v2", "embeddings_input"))
def test_v2_refuses_what_is_to_be_embedded(
    caller: Caller, given: str, status: int, code: str, says: str
):
    body = f'{{"model":"embedding-v1","input":{given}}}'
    check(caller.ask("POST", "/v2/embeddings", body, caller.bearer()), status, code, says)


@pytest.mark.parametrize("path", ["/v2/embeddings", "/v2/rerank"])
def test_v2_refuses_a_call_without_a_model(caller: Caller, path: str):
    body = '{"input":["a"],"query":"a","documents":["b"]}'
    says = "^model is empty; name one"
    check(caller.ask("POST", path, body, caller.bearer()), 400, "invalid_model", says)


@pytest.mark.parametrize(("body", "code", "says"), rows("v1", "completions"))
@pytest.mark.parametrize("stream", [False, True])
def test_v1_refuses_a_completion_in_plain_json(
    caller: Caller, stream: bool, body: str, code: int, says: str
):
    path, body = f"{V1_ROOT}/completions/sqlcoder_7b", _streaming(body) if stream else body
    check(caller.ask("POST", path, body, caller.bearer()), 200, code, says)


@pytest.mark.parametrize(("body", "code", "says"), rows("v1", "tokenizer"))
def test_v1_refuses_to_count(caller: Caller, body: str, code: int, says: str):
    path = f"{V1_ROOT}/tokenizer/erniebot"
    check(caller.ask("POST", path, body, caller.bearer()), 200, code, says)


@pytest.mark.parametrize(("body", "status", "code", "says"), rows("v2", "completions"))
@pytest.mark.parametrize("stream", [False, True])
def test_v2_refuses_a_completion(
    caller: Caller, stream: bool, body: str, status: int, code: str, says: str
):
    body = _streaming(body) if stream else body
    check(caller.ask("POST", "/v2/completions", body, caller.bearer()), status, code, says)


def _streaming(body: str) -> str:
    """The same body, asking for a stream."""
    return body.replace("{", '{"stream":true,' if body != "{}" else '{"stream":true', 1)


@pytest.mark.parametrize(("body", "status", "code", "says"), rows("v2", "bodies"))
def test_v2_refuses_body(caller: Caller, body: str, status: int, code: str, says: str):
    check(caller.v2(body), status, code, says)


@pytest.mark.parametrize(("messages", "status", "code", "says"), rows("v2", "messages"))
def test_v2_refuses_messages(caller: Caller, messages: str, status: int, code: str, says: str):
    body = f'{{{MODEL},"messages":{messages}}}'
    check(caller.v2(body), status, code, says)


@pytest.mark.parametrize(("field", "status", "code", "says"), rows("v2", "fields"))
@pytest.mark.parametrize("path", [V2, "/v1/chat/completions"])
def test_v2_refuses_field(caller: Caller, path: str, field: str, status: int, code: str, says: str):
    body = f'{{{MODEL},"messages":{MESSAGES},{field}}}'
    check(caller.ask("POST", path, body, caller.bearer()), status, code, says)


@pytest.mark.parametrize(("body", "status", "code", "says"), rows("oauth", "bodies"))
def test_oauth_refuses_body(caller: Caller, body: str, status: int, code: str, says: str):
    check(caller.ask("POST", TOKEN, body), status, code, says)


@pytest.mark.parametrize(("action", "body", "status", "code", "says"), rows("actions", "bodies"))
def test_action_refuses_body(
    caller: Caller, action: str, body: str, status: int, code: str, says: str
):
    check(caller.action(action, body), status, code, says)


@pytest.mark.parametrize(("action", "body", "status", "code", "says"), rows("services", "actions"))
def test_action_on_services_refuses_body(
    caller: Caller, action: str, body: str, status: int, code: str, says: str
):
    path = f"/v2/service?Action={action}"
    check(caller.ask("POST", path, body, caller.signed("POST", path)), status, code, says)


@pytest.mark.parametrize(("path", "body", "code", "says"), rows("services", "paths"))
def test_v1_services_refuse_body(caller: Caller, path: str, body: str, code: int, says: str):
    path = f"/wenxinworkshop/service/{path}"
    check(caller.ask("POST", path, body, caller.signed("POST", path)), 200, code, says)


@pytest.mark.parametrize(("path", "body", "code", "says"), rows("v1", "prompts"))
def test_v1_refuses_a_prompt_template(caller: Caller, path: str, body: str, code: int, says: str):
    path = f"/wenxinworkshop/prompt/{path}"
    reply = caller.ask("POST", path, body, caller.signed("POST", path))
    check(reply, 200, code, says)


@pytest.mark.parametrize(("action", "body", "status", "code", "says"), rows("actions", "prompts"))
def test_action_refuses_a_prompt_template(
    caller: Caller, action: str, body: str, status: int, code: str, says: str
):
    of_labels = "PromptLabel" in action
    path = f"/v2/prompt{'Labels' if of_labels else 'Templates'}?Action={action}"
    check(caller.ask("POST", path, body, caller.signed("POST", path)), status, code, says)


@pytest.mark.parametrize("field", ["templateContent", "templateName", "negativeTemplateContent"])
def test_prompt_template_is_capped(caller: Caller, field: str):
    body = {"templateName": "n", "templateContent": "x", field: "x" * 100_001}
    path = "/v2/promptTemplates?Action=CreatePromptTemplate"
    reply = caller.ask("POST", path, body, caller.signed("POST", path))
    says = rf"param\[{field}\] invalid.*must be a text of length <= 100"
    check(reply, 400, "InappropriateJSON", says)


def test_prompt_that_would_explode_is_refused(caller: Caller):
    path = "/v2/promptTemplates?Action=CreatePromptTemplate"
    body = {"templateName": "bomb", "templateContent": "{bomb}" * 16_000}
    assert caller.ask("POST", path, body, caller.signed("POST", path)).status == 200
    path = "/v2/promptTemplates?Action=DescribePromptTemplate"
    body = {"templateId": "bomb", "bomb": "x" * 100_000}
    reply = caller.ask("POST", path, body, caller.signed("POST", path))
    check(reply, 400, "InappropriateJSON", r"param\[bomb\].*longer than 1000000 characters; bomb")


# Bodies that are too much, or not text

LONG = "字" * 30_000
BODIES: dict[str, tuple[bytes, Refused, Refused]] = {
    "bytes that are not UTF-8": (
        b'{"model":"echo","messages":[{"role":"user","content":"\xff\xfe"}]}',
        (200, 336002, "UTF-8"),
        (400, "malformed_json", "UTF-8"),
    ),
    "UTF-8 cut in a character": (
        b'{"model":"echo","messages":[{"role":"user","content":"\xe4\xbd"}]}',
        (200, 336002, "UTF-8"),
        (400, "malformed_json", "UTF-8"),
    ),
    "UTF-16": (
        GOOD_V2.encode("utf-16"),
        (200, 336002, "UTF-8"),
        (400, "malformed_json", "UTF-8"),
    ),
    "GBK": (
        '{"model":"echo","messages":[{"role":"user","content":"你好"}]}'.encode("gbk"),
        (200, 336002, "UTF-8"),
        (400, "malformed_json", "UTF-8"),
    ),
    "only zero bytes": (
        bytes(1000),
        (200, 336002, "Invalid JSON"),
        (400, "malformed_json", "JSON"),
    ),
    "open brackets without end": (
        b"[" * 100_000,
        (200, 336001, "expected `object`"),
        (400, "invalid_argument", "expected `object`"),
    ),
    "arrays nested too deeply": (
        b'{"x":' + b"[" * 90_000 + b"]" * 90_000 + b"}",
        (200, 336002, "nested too deeply"),
        (400, "malformed_json", "nested too deeply"),
    ),
    "objects nested too deeply": (
        b'{"web_search":' + b'{"a":' * 30_000 + b"1" + b"}" * 30_001,
        (200, 336002, "nested too deeply"),
        (400, "malformed_json", "nested too deeply"),
    ),
    "number of a hundred thousand digits": (
        b'{"seed":' + b"9" * 100_000 + b"}",
        (200, 336003, "seed"),
        (400, "invalid_argument", "seed"),
    ),
    "body one byte too large": (
        b" " * (MAX_BODY_BYTES + 1),
        (200, 336004, f"larger than {MAX_BODY_BYTES} bytes; send less"),
        (413, "characters_too_long", f"larger than {MAX_BODY_BYTES} bytes; send less"),
    ),
    "body of 20 MB": (
        b"[" + b"0," * 10_000_000 + b"0]",
        (200, 336004, "larger than"),
        (413, "characters_too_long", "larger than"),
    ),
    "more characters than the model takes": (
        f'{{"model":"ernie-speed-8k","messages":[{{"role":"user","content":"{LONG}"}}]}}'.encode(),
        (200, 336007, "^the max input characters is 24000; messages and system have 30000"),
        (400, "characters_too_long", "^the max input characters is 24000"),
    ),
    "more tokens than the model takes": (
        b'{"model":"ernie-speed-8k","messages":[{"role":"user","content":"%b"}]}'
        % (b"a " * 11_000),
        (200, 336103, "^Prompt tokens too long: .* drop or shorten"),
        (400, "tokens_too_long", "^Prompt tokens too long: .* drop or shorten"),
    ),
    "thousands of empty messages": (
        b'{"model":"echo","messages":[%b{}]}' % (b"{}," * 50_000),
        (200, 336006, "missing required field `role`"),
        (400, "invalid_messages", "missing required field `role`"),
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_v1_refuses_bytes(caller: Caller, name: str):
    body, refused, _ = BODIES[name]
    check(caller.ask("POST", V1, body, caller.bearer()), *refused)


@pytest.mark.parametrize("name", BODIES)
def test_v2_refuses_bytes(caller: Caller, name: str):
    body, _, refused = BODIES[name]
    check(caller.ask("POST", V2, body, caller.bearer()), *refused)


def test_v1_counts_the_system_prompt_among_the_characters(caller: Caller):
    body = {"system": "a" * 23_999, "messages": [{"role": "user", "content": "hi"}]}
    check(caller.v1(body), 200, 336007, "^the max input characters is 24000")
    body = {"system": "a" * 24_001, "messages": [{"role": "user", "content": "hi"}]}
    check(caller.v1(body), 200, 336104, "^Invalid Argument, system is longer than 24000")


def test_v1_names_the_limit_of_the_model_that_is_called(caller: Caller):
    body = {"messages": [{"role": "user", "content": "a" * 20_001}]}
    check(caller.v1(body, "completions"), 200, 336007, "^the max input characters is 20000")


def test_announced_terabyte_is_refused_before_it_is_sent(caller: Caller):
    head = f"POST {V2} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {caller.server.bearer}\r\n"
    reply = caller.raw(f"{head}Content-Length: {10**12}\r\n\r\n".encode())
    check(reply, 413, "characters_too_long", "larger than")


# Credentials


@dataclass(frozen=True)
class Key:
    """A key made for these tests; for kind bearer the secret is the whole string."""

    id: str
    secret: str


@dataclass(frozen=True)
class Keys:
    """Keys that no longer open anything, by state and kind."""

    revoked: Mapping[str, Key]
    expired: Mapping[str, Key]
    old_token: str
    token_of_revoked: str
    bearer_of_revoked: str


@pytest.fixture(scope="module")
def keys(caller: Caller) -> Keys:
    made: dict[str, dict[str, Key]] = {"revoked": {}, "expired": {}}
    for kind in ("bearer", "oauth", "signature"):
        for state, lifetime in (("revoked", {}), ("expired", {"expireInSeconds": 1})):
            result = caller.result("CreateApiKey", {"kind": kind, "name": state, **lifetime})
            made[state][kind] = Key(result["keyId"], result["secret"])
    oauth, signature = made["revoked"]["oauth"], made["revoked"]["signature"]
    query = urlencode(
        {
            "grant_type": "client_credentials",
            "client_id": oauth.id,
            "client_secret": oauth.secret,
        }
    )
    token = caller.ask("POST", f"{TOKEN}?{query}").json["access_token"]
    signed = caller.signed("GET", BEARER_TOKEN, access_key=signature.id, secret=signature.secret)
    bearer = caller.ask("GET", BEARER_TOKEN, headers=signed).json["token"]
    for key in made["revoked"].values():
        assert caller.result("DeleteApiKey", {"keyId": key.id}) is True

    def all_expired() -> bool:
        items = caller.result("DescribeApiKeys", {})["items"]
        return all(item["status"] == "expired" for item in items if item["name"] == "expired")

    wait_until(all_expired, "the short-lived keys to expire")
    old = mint_of(caller.server).access_token(
        1, now_seconds=int(time.time()) - 2592001, lifetime_seconds=2592000
    )
    return Keys(made["revoked"], made["expired"], old, token, bearer)


Present = Callable[[Caller, Keys], tuple[str, dict[str, str]]]
"""What is put behind the path, and headers."""


def header(text: str) -> Present:
    return lambda _caller, _keys: ("", {"Authorization": text})


def token(pick: Callable[[Caller, Keys], str]) -> Present:
    return lambda caller, keys: ("?access_token=" + quote(pick(caller, keys)), {})


def bearer(pick: Callable[[Caller, Keys], str]) -> Present:
    return lambda caller, keys: ("", {"Authorization": f"Bearer {pick(caller, keys)}"})


IAM = "IAM Certification failed"
UNKNOWN_BEARER = f"{IAM}: the bearer key is unknown, expired or revoked; see `yangfan keys list`"
INVALID_TOKEN = "^Access token invalid or no longer valid; .*/oauth/2.0/token"

INFERENCE: dict[str, tuple[Present, int, str]] = {
    "no credentials": (lambda _c, _k: ("", {}), 110, INVALID_TOKEN),
    "empty access_token": (token(lambda _c, _k: ""), 110, INVALID_TOKEN),
    "access_token of nonsense": (token(lambda _c, _k: "nonsense"), 110, INVALID_TOKEN),
    "access_token in the right form": (
        token(lambda _c, _k: "24." + "a" * 48 + ".2592000.1999999999.282335-1"),
        110,
        INVALID_TOKEN,
    ),
    "access_token with another expiry": (
        token(lambda c, _k: re.sub(r"\.(\d+)\.282335", r".9\1.282335", c.access_token())),
        110,
        INVALID_TOKEN,
    ),
    "access_token of another application": (
        token(lambda c, _k: re.sub(r"-\d+$", "-2", c.access_token())),
        110,
        INVALID_TOKEN,
    ),
    "access_token with NUL": (token(lambda _c, _k: "24.\0"), 110, INVALID_TOKEN),
    "access_token of bytes": (lambda _c, _k: ("?access_token=%ff%fe", {}), 110, INVALID_TOKEN),
    "access_token with broken percents": (
        lambda _c, _k: ("?access_token=%zz%", {}),
        110,
        INVALID_TOKEN,
    ),
    "access_token of 10,000 characters": (token(lambda _c, _k: "2" * 10_000), 110, INVALID_TOKEN),
    "two access_tokens, the last one wrong": (
        lambda c, _k: (f"?access_token={c.access_token()}&access_token=x", {}),
        110,
        INVALID_TOKEN,
    ),
    "bearer as access_token": (
        token(lambda c, _k: c.server.bearer),
        110,
        "^Access token invalid or no longer valid; this is a bearer key, send it as Authorization: Bearer",
    ),
    "expired access_token": (
        token(lambda _c, k: k.old_token),
        111,
        "^Access token expired; get a new one",
    ),
    "access_token of a revoked key": (token(lambda _c, k: k.token_of_revoked), 110, INVALID_TOKEN),
    "empty bearer": (header("Bearer "), 14, UNKNOWN_BEARER),
    "bearer of nonsense": (header("Bearer x"), 14, UNKNOWN_BEARER),
    "bearer of bytes": (header("Bearer \xff\xfe"), 14, UNKNOWN_BEARER),
    "bearer with one letter changed": (
        bearer(lambda c, _k: c.server.bearer[:-1] + ("0" if c.server.bearer[-1] != "0" else "1")),
        14,
        UNKNOWN_BEARER,
    ),
    "bearer in capitals": (bearer(lambda c, _k: c.server.bearer.upper()), 14, UNKNOWN_BEARER),
    "bearer in quotes": (bearer(lambda c, _k: f'"{c.server.bearer}"'), 14, UNKNOWN_BEARER),
    "bearer's id alone": (bearer(lambda c, _k: c.server.bearer.split("/")[1]), 14, UNKNOWN_BEARER),
    "API key as bearer": (bearer(lambda c, _k: c.server.api_key), 14, UNKNOWN_BEARER),
    "secret key as bearer": (bearer(lambda c, _k: c.server.secret_key), 14, UNKNOWN_BEARER),
    "access_token as bearer": (bearer(lambda c, _k: c.access_token()), 14, UNKNOWN_BEARER),
    "revoked bearer": (bearer(lambda _c, k: k.revoked["bearer"].secret), 14, UNKNOWN_BEARER),
    "expired bearer": (bearer(lambda _c, k: k.expired["bearer"].secret), 14, UNKNOWN_BEARER),
    "bearer of a revoked signer": (bearer(lambda _c, k: k.bearer_of_revoked), 14, UNKNOWN_BEARER),
    "expired short-lived bearer": (
        lambda c, _k: (
            "",
            {"Authorization": f"Bearer {mint_of(c.server).bearer(2, expires_seconds=1000)}"},
        ),
        14,
        UNKNOWN_BEARER,
    ),
    "wrong ACCESSCODE": (header("ACCESSCODE 123"), 14, UNKNOWN_BEARER),
}


@pytest.mark.parametrize("name", INFERENCE)
def test_v1_refuses_credentials(caller: Caller, keys: Keys, name: str):
    present, code, says = INFERENCE[name]
    query, headers = present(caller, keys)
    check(caller.ask("POST", V1 + query, GOOD_V1, headers), 200, code, says)


@pytest.mark.parametrize("name", INFERENCE)
def test_v2_refuses_credentials(caller: Caller, keys: Keys, name: str):
    query, headers = INFERENCE[name][0](caller, keys)
    reply = caller.ask("POST", V2 + query, GOOD_V2, headers)
    check(reply, 401, "invalid_iam_token", f"^{IAM}: .*(token|key|Bearer)")


@pytest.mark.parametrize("path", ["/v2/models", "/v1/models", "/v2/models/echo"])
def test_models_refuse_to_list_for_strangers(caller: Caller, path: str):
    check(caller.ask("GET", path), 401, "invalid_iam_token", "send Authorization: Bearer <key>")


def test_unknown_scheme_is_told_which_ones_there_are(caller: Caller):
    headers = {"Authorization": "Basic dXNlcjpwYXNz"}
    check(caller.ask("POST", V1, GOOD_V1, headers), 200, 110, "add \\?access_token=")
    reply = caller.ask("POST", V2, GOOD_V2, headers)
    check(reply, 401, "invalid_iam_token", "Authorization: Bearer <key>")


def test_appid_of_another_key_is_refused(caller: Caller):
    caller.result("CreateApiKey", {"name": "other"})
    items = caller.result("DescribeApiKeys", {})["items"]
    own, other = items[0]["appId"], items[-1]["appId"]
    headers = {**caller.bearer(), "appid": other}
    says = f"No permission to use the appid.*{other}.*not the application of this key, {own}"
    check(caller.ask("POST", V2, GOOD_V2, headers), 401, "invalid_appid", says)
    assert caller.ask("POST", V2, GOOD_V2, {**caller.bearer(), "appid": own}).status == 200


def test_appid_of_nobody_is_refused(caller: Caller):
    headers = {**caller.bearer(), "appid": "app-nobody"}
    says = "No permission to use the appid.*'app-nobody'.*not an application here"
    check(caller.ask("POST", V2, GOOD_V2, headers), 401, "invalid_appid", says)
    check(caller.ask("POST", V1, GOOD_V1, headers), 200, 6, "No permission to access data.*appid")


Sign = Callable[[Caller, Keys, str], dict[str, str]]
"""Headers for a GET of the path."""


def signature(**given: Any) -> Sign:
    return lambda caller, _keys, path: caller.signed("GET", path, **given)


def with_key(pick: Callable[[Keys], Key]) -> Sign:
    def sign(caller: Caller, keys: Keys, path: str) -> dict[str, str]:
        key = pick(keys)
        return caller.signed("GET", path, access_key=key.id, secret=key.secret)

    return sign


def changed(pattern: str, replacement: str) -> Sign:
    def sign(caller: Caller, _keys: Keys, path: str) -> dict[str, str]:
        headers = caller.signed("GET", path)
        headers["Authorization"] = re.sub(pattern, replacement, headers["Authorization"])
        return headers

    return sign


def with_header(name: str, value: str) -> Sign:
    return lambda caller, _keys, path: {**caller.signed("GET", path), name: value}


def for_other(method: str, path: str) -> Sign:
    return lambda caller, _keys, _path: caller.signed(method, path)


MISMATCH: Refused = (403, "SignatureDoesNotMatch", "Signature does not match")
UNKNOWN_KEY: Refused = (403, "InvalidAccessKeyId", "Could not find credential")
MALFORMED: Refused = (
    400,
    "InvalidAuthorization",
    "Authorization must be bce-auth-v1/|in Authorization",
)

SIGNATURES: dict[str, tuple[Sign, Refused]] = {
    "no signature": (
        lambda _c, _k, _p: {},
        (403, "MissingAuthenticationHeader", "sign the request.*`yangfan sign"),
    ),
    "bearer instead": (lambda c, _k, _p: c.bearer(), MALFORMED),
    "nonsense": (lambda _c, _k, _p: {"Authorization": "bce-auth-v1/x"}, MALFORMED),
    "bytes": (lambda _c, _k, _p: {"Authorization": "bce-auth-v1/\xff/\xfe"}, MALFORMED),
    "older version": (changed("bce-auth-v1", "bce-auth-v0"), MALFORMED),
    "newer version": (changed("bce-auth-v1", "bce-auth-v2"), MALFORMED),
    "one part too many": (changed("$", "/x"), MALFORMED),
    "timestamp as epoch": (changed(r"\d{4}-\d\d-\d\dT[^/]+", "1700000000"), MALFORMED),
    "timestamp with an offset": (changed(r"Z/", "+08:00/"), MALFORMED),
    "timestamp of no date": (changed(r"\d{4}-\d\d-\d\d", "2026-13-45"), MALFORMED),
    "timestamp in Arabic digits": (
        changed(r"\d{4}-", "٢٠٢٦-".encode().decode("latin-1")),
        MALFORMED,
    ),
    "expiration of words": (changed("/1800/", "/soon/"), MALFORMED),
    "negative expiration": (changed("/1800/", "/-1/"), MALFORMED),
    "endless expiration": (changed("/1800/", "/99999999999999999999/"), MALFORMED),
    "unknown access key": (changed(r"(?<=v1/)[^/]+", "ALTAKnobody"), UNKNOWN_KEY),
    "empty access key": (changed(r"(?<=v1/)[^/]+", ""), UNKNOWN_KEY),
    "OAuth pair's key": (
        lambda c, _k, p: c.signed(
            "GET", p, access_key=c.server.api_key, secret=c.server.secret_key
        ),
        UNKNOWN_KEY,
    ),
    "revoked access key": (with_key(lambda k: k.revoked["signature"]), UNKNOWN_KEY),
    "expired access key": (with_key(lambda k: k.expired["signature"]), UNKNOWN_KEY),
    "wrong secret": (signature(secret="x" * 32), MISMATCH),
    "signature cut": (changed(".$", ""), MISMATCH),
    "signature empty": (changed("[0-9a-f]{64}$", ""), MISMATCH),
    "signature of bytes": (changed("[0-9a-f]{64}$", "\xff" * 64), MISMATCH),
    "another expiration": (changed("/1800/", "/1801/"), MISMATCH),
    "for another method": (for_other("POST", BEARER_TOKEN), MISMATCH),
    "for another path": (for_other("GET", "/v1/other"), MISMATCH),
    "for another query": (for_other("GET", BEARER_TOKEN + "?expireInSeconds=60"), MISMATCH),
    "x-bce-date changed": (with_header("x-bce-date", "2026-01-01T00:00:00Z"), MISMATCH),
    "x-bce header added": (with_header("x-bce-security-token", "x"), MISMATCH),
    "another host": (with_header("Host", "evil.example"), MISMATCH),
    "host not signed": (
        changed("/[^/]*host[^/]*/(?=[0-9a-f]{64}$)", "/x-bce-date/"),
        (403, "MissingAuthenticationHeader", "Host header must be among the signed headers"),
    ),
    "signed yesterday": (
        signature(age_seconds=86_400),
        (400, "RequestExpired", "signed 8640\\d s ago but valid for 1800 s; sign again or set"),
    ),
    "valid for no time": (
        signature(age_seconds=3, expiration_seconds=0),
        (400, "RequestExpired", "valid for 0 s"),
    ),
    "signed tomorrow": (
        signature(age_seconds=-86_400),
        (400, "RequestExpired", "in the future; set this machine's clock"),
    ),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signed_endpoint_refuses_signature(caller: Caller, keys: Keys, name: str):
    sign, refused = SIGNATURES[name]
    reply = caller.ask("GET", BEARER_TOKEN, headers=sign(caller, keys, BEARER_TOKEN))
    check(reply, *refused)
    exact = {
        "InvalidAccessKeyId": "NotFound, cause: Could not find credential.",
        "SignatureDoesNotMatch": "SignatureDoesNotMatch, cause: Fail to authn user: Signature does not match",
    }
    expected = exact.get(str(refused[1]), reply.json["message"])
    assert reply.headers["X-Bce-Error-Message"] == expected


@pytest.mark.parametrize(
    "name",
    [n for n, (_, r) in SIGNATURES.items() if r in (MISMATCH, UNKNOWN_KEY) or "signed " in n],
)
def test_v1_says_14_for_signature(caller: Caller, keys: Keys, name: str):
    headers = SIGNATURES[name][0](caller, keys, V1)
    check(caller.ask("POST", V1, GOOD_V1, headers), 200, 14, f"^{IAM}: ")


def test_action_refuses_a_signature_for_another_action(caller: Caller):
    headers = caller.signed("POST", "/v2/apikey?Action=DescribeApiKeys")
    reply = caller.ask("POST", "/v2/apikey?Action=CreateApiKey", "{}", headers)
    check(reply, *MISMATCH)


def test_oauth_refuses_a_wrong_secret_in_every_form(caller: Caller):
    pair = {
        "grant_type": "client_credentials",
        "client_id": caller.server.api_key,
        "client_secret": "wrong",
    }
    form = urlencode(pair)
    refused = (401, "invalid_client", "^Client authentication failed$")
    check(caller.ask("POST", f"{TOKEN}?{form}"), *refused)
    check(caller.ask("POST", TOKEN, pair), *refused)
    urlencoded = "application/x-www-form-urlencoded"
    check(caller.ask("POST", TOKEN, form, content_type=urlencoded), *refused)
    check(caller.ask("GET", f"{TOKEN}?{form}"), *refused)


@pytest.mark.parametrize("state", ["revoked", "expired"])
def test_oauth_refuses_a_dead_pair(caller: Caller, keys: Keys, state: str):
    key = (keys.revoked if state == "revoked" else keys.expired)["oauth"]
    pair = {"grant_type": "client_credentials", "client_id": key.id, "client_secret": key.secret}
    check(caller.ask("POST", TOKEN, pair), 401, "invalid_client", "^unknown client id$")


@pytest.mark.parametrize("kind", ["bearer", "signature"])
def test_oauth_refuses_keys_of_other_kinds(caller: Caller, kind: str):
    key_id, secret = {
        "bearer": (caller.server.bearer.split("/")[1], caller.server.bearer),
        "signature": (caller.server.access_key, caller.server.secret_access_key),
    }[kind]
    pair = {"grant_type": "client_credentials", "client_id": key_id, "client_secret": secret}
    check(caller.ask("POST", TOKEN, pair), 401, "invalid_client", "^unknown client id$")


@pytest.mark.parametrize(
    "text", ["0", "-1", "2592001", "1e3", "ten", "", "9" * 5000, "٣", "%ff", "1.5"]
)
def test_bearer_token_refuses_lifetime(caller: Caller, text: str):
    raw = text if text == "%ff" else quote(text)
    path = f"{BEARER_TOKEN}?expireInSeconds={raw}"
    reply = caller.ask("GET", path, headers=caller.signed("GET", path, query_in_path=True))
    says = r"expireInSeconds must be a whole number in \[1, 2592000\]"
    check(reply, 400, "InappropriateJSON", says)


# Methods and paths

V1_METHOD: Refused = (200, 336101, "^Invalid HTTP method: Only POST requests are accepted, got ")
V2_METHOD: Refused = (405, "method_not_supported", "^Only (POST|GET) requests are accepted, got ")
NO_PATH: Refused = (404, "path_not_found", "does not exist here; /docs lists every path")
NO_V1_PATH: Refused = (200, 3, "^Unsupported openapi method.*/docs lists every path")

WRONG_PATHS: dict[str, tuple[str, str, Refused]] = {
    "v1 chat by GET": ("GET", V1, V1_METHOD),
    "v1 chat by PUT": ("PUT", V1, V1_METHOD),
    "v1 chat by DELETE": ("DELETE", V1, V1_METHOD),
    "v1 chat by PATCH": ("PATCH", V1, V1_METHOD),
    "v1 chat by OPTIONS": ("OPTIONS", V1, V1_METHOD),
    "v2 chat by GET": ("GET", V2, V2_METHOD),
    "v2 chat by PUT": ("PUT", V2, V2_METHOD),
    "v2 chat by DELETE": ("DELETE", V2, V2_METHOD),
    "alias by GET": ("GET", "/v1/chat/completions", V2_METHOD),
    "models by POST": ("POST", "/v2/models", V2_METHOD),
    "model by DELETE": ("DELETE", "/v2/models/echo", V2_METHOD),
    "OAuth by PUT": ("PUT", TOKEN, (405, "invalid_request", "GET and POST.*got PUT")),
    "OAuth by DELETE": ("DELETE", TOKEN, (405, "invalid_request", "GET and POST.*got DELETE")),
    "bearer token by POST": ("POST", BEARER_TOKEN, (405, "MethodNotAllowed", "Only GET.*got POST")),
    "keys by GET": ("GET", KEYS, (405, "MethodNotAllowed", "Only POST.*got GET")),
    "keys without an Action": (
        "POST",
        "/v2/apikey",
        (400, "InappropriateJSON", "Action must be one of CreateApiKey.*got None"),
    ),
    "keys with an empty Action": (
        "POST",
        "/v2/apikey?Action=",
        (400, "InappropriateJSON", "Action must be one of CreateApiKey"),
    ),
    "v1 chat without a model": ("POST", V1.rpartition("/")[0], NO_V1_PATH),
    "v1 chat with an empty model": ("POST", V1.rpartition("/")[0] + "/", NO_V1_PATH),
    "v1 path too long": ("POST", V1 + "/more", NO_V1_PATH),
    "v1 unknown kind": ("POST", V1.replace("/chat/", "/chats/"), NO_V1_PATH),
    "v1 unknown console path": ("POST", "/wenxinworkshop/nothing/list", NO_V1_PATH),
    "v1 prefix alone": ("POST", "/rpc/2.0/", NO_V1_PATH),
    "v1 in capitals": ("POST", V1.replace("/rpc/2.0", "/rpc/2.1"), NO_V1_PATH),
    "v2 unknown path": ("POST", "/v2/chats", NO_PATH),
    "v2 in capitals": ("POST", "/v2/Chat/Completions", NO_PATH),
    "v2 with dots": ("POST", "/v2/../v2/chat/completions", NO_PATH),
    "v2 with broken percents": ("POST", "/v2/ch%zzat", NO_PATH),
    "v2 with percent at the end": ("POST", "/v2/chat%", NO_PATH),
    "v2 with bytes": ("POST", "/v2/%ff%fe", NO_PATH),
    "v2 with an encoded line feed": ("POST", "/v2/a%0d%0aX-Evil:%201", NO_PATH),
    "v2 with an encoded NUL": ("POST", "/v2/%00", NO_PATH),
    "models with two parts": ("GET", "/v2/models/a/b", NO_PATH),
    "OAuth unknown path": (
        "POST",
        "/oauth/2.0/authorize",
        (404, "invalid_request", "does not exist"),
    ),
    "root by POST": ("POST", "/", NO_PATH),
    "unknown page": ("GET", "/admin.php", NO_PATH),
    "page by POST": (
        "POST",
        "/healthz",
        (405, "method_not_supported", "Only GET and HEAD requests"),
    ),
    "reference by DELETE": ("DELETE", "/openapi.json", (405, "method_not_supported", "Only GET")),
}


@pytest.mark.parametrize("name", WRONG_PATHS)
def test_refuses_method_or_path(caller: Caller, name: str):
    method, path, refused = WRONG_PATHS[name]
    reply = caller.ask(method, path, headers=caller.bearer())
    check(reply, *refused)
    assert "X-Evil" not in reply.headers
    if reply.status == 405:
        allowed = reply.headers["Allow"].split(", ")
        assert allowed
        assert method not in allowed


V1_NO_MODEL = "^Unsupported openapi method: no model .*Served here: echo.*GET /v2/models"


@pytest.mark.parametrize(
    "model",
    ["nobody", "gpt-4o", "..", "%ff", "%00", "a" * 5000, "%E4%BD%A0", "%"],
)
def test_unknown_model_in_the_path_is_told_what_exists(caller: Caller, model: str):
    check(caller.v1(GOOD_V1, model), 200, 3, V1_NO_MODEL)
    reply = caller.ask("GET", f"/v2/models/{model}", headers=caller.bearer())
    check(reply, 401, "invalid_model", "Served here: echo")
    assert len(reply.body) < 1000


def test_v1_chat_with_a_model_of_another_kind_says_so(caller: Caller):
    check(caller.v1(GOOD_V1, "bge_large_zh"), 200, 3, "is a model for embeddings, not for chat")


# What is no proper HTTP

HEAD = b"Host: x\r\nAuthorization: Bearer %b\r\n"


def v2_request(head: bytes, body: bytes = GOOD_V2.encode()) -> bytes:
    return b"POST /v2/chat/completions HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n" + body


def get(path: bytes, head: bytes = b"Host: x\r\n") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\n" + head + b"\r\n"


NO_HTTP: Refused = (400, "invalid_argument", "^this is not proper HTTP: [A-Z].*\\. Speak HTTP/1.1")
LARGE_HEAD: Refused = (431, "invalid_argument", "head is larger than 65536 bytes; send fewer or")
STRANGER: Refused = (401, "invalid_iam_token", "send Authorization")
SLOW: Refused = (408, "invalid_argument", "not complete after 0.5 s of silence; send it faster")

RAW: dict[str, tuple[bytes, Refused]] = {
    "no request line": (b"HELLO\r\n\r\n", NO_HTTP),
    "TLS on a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), NO_HTTP),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NO_HTTP),
    "HTTP/3.0": (b"GET /v2/models HTTP/3.0\r\nHost: x\r\n\r\n", NO_HTTP),
    "another protocol": (b"GET /v2/models FTP/1.1\r\nHost: x\r\n\r\n", NO_HTTP),
    "method in lower case": (b"get /v2/models HTTP/1.1\r\nHost: x\r\n\r\n", NO_HTTP),
    "method of nobody": (b"BREW /v2/models HTTP/1.1\r\nHost: x\r\n\r\n", NO_HTTP),
    "no path": (b"GET  HTTP/1.1\r\nHost: x\r\n\r\n", NO_HTTP),
    "tunnel": (
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        (400, "invalid_argument", "^CONNECT is for proxies, .* ask it for paths$"),
    ),
    "NUL in the path": (get(b"/v2/\x00"), NO_HTTP),
    "raw Chinese in the path": (get("/v2/模型".encode()), NO_HTTP),
    "raw Chinese in the query": (get("/v2/models?a=模型".encode()), NO_HTTP),
    "NUL in a header": (get(b"/v2/models", b"Host: x\r\nX: a\x00b\r\n"), NO_HTTP),
    "header without a colon": (get(b"/v2/models", b"Host: x\r\nnonsense\r\n"), NO_HTTP),
    "header with a space in its name": (get(b"/v2/models", b"Host: x\r\na b: c\r\n"), NO_HTTP),
    "header without a name": (get(b"/v2/models", b"Host: x\r\n: c\r\n"), NO_HTTP),
    "folded header": (get(b"/v2/models", b"Host: x\r\nX: a\r\n b\r\n"), NO_HTTP),
    "line feeds alone": (b"GET /v2/models HTTP/1.1\nHost: x\n\n", NO_HTTP),
    "Content-Length negative": (v2_request(b"Content-Length: -5\r\n"), NO_HTTP),
    "Content-Length of words": (v2_request(b"Content-Length: many\r\n"), NO_HTTP),
    "Content-Length beyond 64 bits": (v2_request(b"Content-Length: %d\r\n" % 10**30), NO_HTTP),
    "two Content-Lengths": (
        v2_request(b"Content-Length: 10\r\nContent-Length: 20\r\n"),
        NO_HTTP,
    ),
    "Content-Length and chunks": (
        v2_request(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"),
        NO_HTTP,
    ),
    "unknown Transfer-Encoding": (v2_request(b"Transfer-Encoding: gzip\r\n", b"x"), NO_HTTP),
    "HTTP/0.9": (b"GET /v2/models\r\n\r\n", STRANGER),
    "HTTP/1.0": (b"GET /v2/models HTTP/1.0\r\n\r\n", STRANGER),
    "no Host": (get(b"/v2/models", b""), STRANGER),
    "two Hosts": (get(b"/v2/models", b"Host: a\r\nHost: b\r\n"), STRANGER),
    "URL with another host": (get(b"http://evil.example/v2/models"), STRANGER),
    "fragment": (get(b"/v2/models#x"), STRANGER),
    "WebSocket": (
        get(
            b"/v2/models",
            b"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
        ),
        STRANGER,
    ),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", NO_PATH),
    "thousand headers": (
        get(b"/v2/models", b"".join(b"X-%d: y\r\n" % number for number in range(1000))),
        STRANGER,
    ),
    "endless header": (b"GET /v2/models HTTP/1.1\r\nX: " + b"a" * 200_000, LARGE_HEAD),
    "endless name of a header": (b"GET /v2/models HTTP/1.1\r\n" + b"a" * 200_000, LARGE_HEAD),
    "endless path": (b"GET /" + b"a" * 200_000, LARGE_HEAD),
    "endless method": (b"G" * 200_000, NO_HTTP),
    "long path": (get(b"/v2/" + b"a" * 70_000), LARGE_HEAD),
    "one large header": (get(b"/v2/models", b"X: %b\r\n" % (b"a" * 70_000)), LARGE_HEAD),
    "too many headers": (
        get(b"/v2/models", b"".join(b"X-%d: yyyyyyyyyyyyyyyy\r\n" % n for n in range(5000))),
        LARGE_HEAD,
    ),
}


@pytest.mark.parametrize("name", RAW)
def test_refuses_bytes_on_the_wire(caller: Caller, name: str):
    data, refused = RAW[name]
    check(caller.raw(data), *refused)


AUTHORIZED: dict[str, tuple[bytes, Refused]] = {
    "Content-Length too small": (
        v2_request(b"Content-Length: 10\r\n%b"),
        NO_HTTP,
    ),
    "Content-Length too large": (v2_request(b"Content-Length: 1000\r\n%b"), SLOW),
    "no Content-Length": (v2_request(b"%b", b""), (400, "malformed_json", "JSON")),
    "chunks of nonsense": (
        v2_request(b"Transfer-Encoding: chunked\r\n%b", b"zz\r\n{}"),
        NO_HTTP,
    ),
    "chunk of negative size": (
        v2_request(b"Transfer-Encoding: chunked\r\n%b", b"-1\r\n{}"),
        NO_HTTP,
    ),
    "chunk larger than any number": (
        v2_request(b"Transfer-Encoding: chunked\r\n%b", b"fffffffffffffffffff\r\n{}"),
        NO_HTTP,
    ),
    "chunks without end": (
        v2_request(b"Transfer-Encoding: chunked\r\n%b", b"2\r\n{}\r\n"),
        SLOW,
    ),
    "chunks larger than the limit": (
        v2_request(b"Transfer-Encoding: chunked\r\n%b", b"8000\r\n%b\r\n" % (b" " * 0x8000) * 8),
        (413, "characters_too_long", "larger than"),
    ),
    "compressed body": (
        v2_request(b"Content-Encoding: gzip\r\nContent-Length: 4\r\n%b", b"\x1f\x8b\x08\x00"),
        (400, "malformed_json", "the body is compressed; send it as it is"),
    ),
}


@pytest.mark.parametrize("name", AUTHORIZED)
def test_refuses_bodies_on_the_wire(caller: Caller, name: str):
    data, refused = AUTHORIZED[name]
    key = b"Authorization: Bearer " + caller.server.bearer.encode() + b"\r\n"
    check(caller.raw(data.replace(b"%b", key, 1)), *refused)


def test_head_that_comes_too_slowly_is_cut_off(caller: Caller):
    with socket.create_connection((caller.host, caller.port), 5) as connection:
        connection.sendall(b"GET /v2/models HTTP/1.1\r\nHost: x\r\n")
        assert connection.recv(1) == b""


def test_caller_that_leaves_in_the_middle_of_the_body_does_no_harm(caller: Caller):
    head = f"POST {V2} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {caller.server.bearer}\r\n"
    for half in (True, False):
        with socket.create_connection((caller.host, caller.port), 5) as connection:
            connection.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
            if half:
                connection.shutdown(socket.SHUT_WR)
                assert connection.recv(1) == b""


def test_signature_over_another_host_behind_a_proxy_needs_the_header(caller: Caller):
    headers = sign_request(
        "GET",
        BEARER_TOKEN,
        host="qianfan.example",
        access_key=caller.server.access_key,
        secret=caller.server.secret_access_key,
    )
    own = f"{caller.host}:{caller.port}"
    check(caller.ask("GET", BEARER_TOKEN, headers={**headers, "Host": own}), *MISMATCH)


def test_table_is_large_enough():
    table = sum(len(section) for dialect in TABLE.values() for section in dialect.values())
    others = (BODIES, INFERENCE, SIGNATURES, WRONG_PATHS, RAW, AUTHORIZED)
    assert table + sum(map(len, others)) >= 220
