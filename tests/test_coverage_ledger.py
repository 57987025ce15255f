"""docs/coverage.toml and the code agree in both directions: what answers is listed, what is done is tested."""

import ast
import importlib
import operator
import pkgutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import pytest
from prometheus_client import CollectorRegistry

import yangfan
from yangfan import errors, protocol
from yangfan.protocol.endpoint import Dialect, Endpoint
from yangfan.protocol.v1 import errors as v1_errors
from yangfan.protocol.v1.envelope import EnvelopeError
from yangfan.protocol.v1.oauth import TokenError
from yangfan.protocol.v2 import errors as v2_errors
from yangfan.protocol.v2.keys import ActionError
from yangfan.server.app import build
from yangfan.server.health import Health
from yangfan.server.home import Home
from yangfan.server.http.dialects import ENCODERS
from yangfan.server.metrics.page import MetricsPage
from yangfan.server.reference import Reference
from yangfan.server.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
LEDGER = ROOT / "docs" / "coverage.toml"
SCRIPT = ROOT / "scripts" / "coverage_table.py"
BELOW_THE_TABLE = frozenset({(408, "invalid_argument")})
"""Sent by the listener to a request that never arrives whole."""


TABLES_OF: dict[Dialect, tuple[Dialect, ...]] = {
    "iam": ("iam", "action"),
    "action": ("iam", "action"),
    "data": ("v1", "iam", "action"),
}
"""Dialects whose codes stand in the tables of others."""


class Row(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What every row says: does it work, and which test or milestone stands for that."""

    status: Literal["done", "planned"]
    where: str = ""
    test: str = ""


class Call(Row, kw_only=True, forbid_unknown_fields=True):
    """An endpoint; `id` is the name of its Endpoint."""

    id: str
    capability: str
    method: Literal["GET", "POST", "DELETE"]
    path: str
    action: str | None = None
    aliases: tuple[str, ...] = ()
    spec: str
    sdk: str = ""


class Error(Row, kw_only=True, forbid_unknown_fields=True):
    """An error code; `text` is what its message begins with, empty where that depends."""

    code: int | str
    http: int
    text: str
    spec: str = ""


class State(Row, kw_only=True, forbid_unknown_fields=True):
    """One value of a state, with its meaning in English and Chinese."""

    value: int | str
    en: str
    zh: str


class ErrorTable(msgspec.Struct, forbid_unknown_fields=True):
    """The error codes of one dialect."""

    id: Dialect
    en: str
    zh: str
    spec: str
    error: list[Error]


class Machine(msgspec.Struct, forbid_unknown_fields=True):
    """The values of one state field."""

    id: str
    capability: str
    spec: str
    state: list[State]


class Ledger(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    milestones: dict[str, str]
    capabilities: dict[str, dict[Literal["en", "zh"], str]]
    endpoint: list[Call]
    dialect: list[ErrorTable]
    machine: list[Machine]

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Every row with a name for messages."""
        for call in self.endpoint:
            yield call.id, call
        for table in self.dialect:
            yield from ((f"{table.id} {row.http} {row.code}", row) for row in table.error)
        for machine in self.machine:
            yield from ((f"{machine.id} = {row.value!r}", row) for row in machine.state)

    def done(self) -> Iterator[tuple[str, Row]]:
        """The rows that are done."""
        return ((name, row) for name, row in self.rows() if row.status == "done")

    def errors_of(self, dialect: Dialect) -> list[Error]:
        """The error codes of a dialect."""
        return next(table.error for table in self.dialect if table.id == dialect)


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return msgspec.toml.decode(LEDGER.read_bytes(), type=Ledger)


@cache
def declared() -> dict[str, Endpoint[Any, Any]]:
    """Every Endpoint value in yangfan.protocol, by name."""
    found: dict[str, Endpoint[Any, Any]] = {}
    for module in pkgutil.walk_packages(protocol.__path__, f"{protocol.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Endpoint):
                found[value.name] = cast("Endpoint[Any, Any]", value)
    return found


def twice(names: Iterable[object]) -> list[object]:
    return [name for name, count in Counter(names).items() if count > 1]


def test_no_row_is_listed_twice(ledger: Ledger) -> None:
    answers = [
        (row.method, path, row.action)
        for row in ledger.endpoint
        for path in (row.path, *row.aliases)
    ]
    assert twice(row.id for row in ledger.endpoint) == []
    assert twice(answers) == []
    assert (
        twice(
            (table.id, row.http, row.code, row.text)
            for table in ledger.dialect
            for row in table.error
        )
        == []
    )
    assert (
        twice((machine.id, row.value) for machine in ledger.machine for row in machine.state) == []
    )


def test_every_row_belongs_to_a_listed_capability_and_every_capability_has_rows(
    ledger: Ledger,
) -> None:
    used = {row.capability for row in ledger.endpoint} | {
        machine.capability for machine in ledger.machine
    }
    assert used | {"errors"} == set(ledger.capabilities)


def test_planned_rows_say_where_and_done_rows_do_not(ledger: Ledger) -> None:
    for name, row in ledger.rows():
        milestone, _, reason = row.where.partition(": ")
        if row.status == "done":
            assert not row.where, f"{name} is done: drop its `where`"
        else:
            assert milestone in ledger.milestones, (
                f"{name}: `where` is none of {sorted(ledger.milestones)}"
            )
            assert bool(reason) == (milestone == "not planned"), (
                f"{name}: write 'not planned: <reason>'"
            )
            assert not row.test, f"{name} has a test: it is done, or the test is not its own"


def test_every_done_row_names_a_test_that_exists(ledger: Ledger) -> None:
    for name, row in ledger.done():
        path, _, function = row.test.partition("::")
        assert path.startswith("tests/"), f"{name} is done: name its test in `test`"
        assert (ROOT / path).is_file(), f"{name}: there is no {path}"
        assert not function or function in functions_of(path), f"{name}: {path} has no {function}"


@cache
def functions_of(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    functions = (
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def test_every_declared_endpoint_is_listed_as_done_under_its_name(ledger: Ledger) -> None:
    listed = {row.id: row for row in ledger.endpoint}
    for name, endpoint in declared().items():
        row = listed.get(name)
        assert row is not None, f"{name} is not in {LEDGER.name}"
        assert (row.method, row.path, row.action, row.aliases) == (
            endpoint.method,
            endpoint.path,
            endpoint.action,
            endpoint.aliases,
        )
        assert row.status == "done", f"{name} is declared in yangfan.protocol but not done"


async def test_the_server_answers_exactly_what_is_done(ledger: Ledger, tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    async with build(Settings(home=str(tmp_path), models=("echo",)), home) as platform:
        pages = [
            *Reference(platform.endpoints, "0").routes,
            *Health(platform.services).routes,
            *MetricsPage(CollectorRegistry(), public=False).routes,
        ]
        answered = {endpoint.name for endpoint in platform.endpoints}
    done = [row for row in ledger.endpoint if row.status == "done"]
    assert answered == {row.id for row in done if row.capability != "platform"}
    assert {page.path for page in pages} == {
        row.path for row in done if row.capability == "platform"
    }


def test_every_done_endpoint_is_declared_or_a_page(ledger: Ledger) -> None:
    done = {
        row.id for row in ledger.endpoint if row.status == "done" and row.capability != "platform"
    }
    assert done <= declared().keys()


def test_every_done_endpoint_names_a_method_of_the_sdk(ledger: Ledger) -> None:
    for row in ledger.endpoint:
        if row.status == "done" and row.sdk != "-":
            assert row.sdk, f"{row.id} is done: name its SDK method in `sdk`, or '-'"
            assert callable(sdk_method(row.sdk)), f"{row.id}: {row.sdk} is not a method"


def sdk_method(text: str) -> object:
    """What `client.keys.list` or `Client(version=1).chat` is, on a client that connects to nothing."""
    names: list[str] = []
    node = ast.parse(text, mode="eval").body
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    settings: dict[str, Any] = {"version": 2}
    if isinstance(node, ast.Call):
        settings |= {str(given.arg): ast.literal_eval(given.value) for given in node.keywords}
        node = node.func
    assert isinstance(node, ast.Name)
    assert node.id in {"client", "Client"}, f"{text}: begin with client or Client(…)"
    client = yangfan.Client("http://127.0.0.1:1", bearer="bce-v3/ALTAK-none/none", **settings)
    with client:
        return operator.attrgetter(".".join(names))(client)


def test_the_v1_error_table_and_the_ledger_list_the_same_codes(ledger: Ledger) -> None:
    listed = {(row.code, row.text) for row in ledger.errors_of("v1")}
    assert {(row.code, row.text) for row in v1_errors.TABLE} == listed
    assert {row.http for row in ledger.errors_of("v1")} == {200}


def test_the_v2_error_table_and_the_ledger_list_the_same_codes(ledger: Ledger) -> None:
    rows = [row for row in ledger.errors_of("v2") if (row.http, row.code) not in BELOW_THE_TABLE]
    assert {(row.status, row.code) for row in v2_errors.TABLE} == {
        (row.http, row.code) for row in rows
    }
    texts = {(row.status, row.code, row.text) for row in v2_errors.TABLE}
    assert {(row.http, row.code, row.text) for row in rows} <= texts


@pytest.mark.parametrize("dialect", ENCODERS)
def test_every_refusal_that_the_server_can_encode_is_listed(
    ledger: Ledger, dialect: Dialect
) -> None:
    tables = TABLES_OF.get(dialect, (dialect,))
    rows = [row for table in tables for row in ledger.errors_of(table)]
    listed = {(row.code, None if dialect == "oauth" else row.http) for row in rows}
    for error in refusals():
        status, body, _ = ENCODERS[dialect](error, "as-0123456789")
        assert (code_of(body), None if dialect == "oauth" else status) in listed, type(
            error
        ).__name__


def refusals() -> Iterator[errors.RefusedError]:
    """One error of every class that the platform can refuse a call with."""
    kinds: list[type[errors.RefusedError]] = [errors.RefusedError]
    for kind in kinds:
        kinds += [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
        yield kind("refused")
    yield errors.MalformedArgument("refused", param="model")
    for reason in (
        "InvalidAccessKeyId",
        "RequestExpired",
        "MissingAuthenticationHeader",
        "InvalidAuthorization",
    ):
        yield errors.SignatureInvalid("refused", reason=reason)


def code_of(body: msgspec.Struct) -> int | str:
    """The code in an error body of any dialect."""
    if isinstance(body, v1_errors.ErrorBody):
        return body.error_code
    if isinstance(body, EnvelopeError):
        return body.code
    if isinstance(body, v2_errors.ErrorBody):
        return body.error.code
    if isinstance(body, TokenError):
        return body.error
    assert isinstance(body, ActionError)
    return body.code


def render(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False
    )


def test_the_reference_pages_are_current() -> None:
    checked = render("--check")
    assert checked.returncode == 0, checked.stderr


def test_a_page_that_is_not_current_is_named(tmp_path: Path) -> None:
    assert render("--out", str(tmp_path)).returncode == 0
    (tmp_path / "coverage.md").write_text("by hand", "utf-8")
    checked = render("--check", "--out", str(tmp_path))
    assert checked.returncode == 1
    assert checked.stderr == f"{tmp_path / 'coverage.md'} is not current; run `make docs`\n"


def test_the_page_shows_percentages_of_what_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "ledger.toml").write_text(
        """
        milestones = { later = "以后", "not planned" = "不做" }
        capabilities = { chat = { en = "Chat", zh = "对话" }, errors = { en = "Errors", zh = "错误码" } }
        [[endpoint]]
        id = "v2.chat"
        capability = "chat"
        method = "POST"
        path = "/v2/chat"
        spec = "C.2"
        status = "done"
        test = "tests/test_chat.py::test_it_answers"
        sdk = "client.chat()"
        [[dialect]]
        id = "v1"
        en = "v1"
        zh = "v1"
        spec = "B.13"
        error = [{ code = 1, http = 200, text = "a|b", status = "planned", where = "not planned: because" }]
        [[machine]]
        id = "v1.state"
        capability = "chat"
        spec = "D.1"
        state = [{ value = "Ready", en = "usable", zh = "就绪", status = "planned", where = "later" }]
        """,
        "utf-8",
    )
    assert render("--ledger", str(tmp_path / "ledger.toml"), "--out", str(tmp_path)).returncode == 0
    english = (tmp_path / "coverage.md").read_text("utf-8")
    assert "| [Chat](#chat) | 1 / 1 | 0 / 1 |  | `██████████░░░░░░░░░░` 50 % |" in english
    assert (
        "| ● | `POST /v2/chat` | C.2 | `client.chat()` | [test_it_answers](../../tests/test_chat.py) |"
    ) in english
    assert "| ✕ | `1` | 200 | a\\|b | B.13 | not planned: because |" in english
    assert '| ○ | `"Ready"` | 就绪 | 以后 |' in (tmp_path / "coverage.zh-CN.md").read_text("utf-8")
