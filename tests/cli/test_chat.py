"""`yangfan chat` against a real server whose model repeats what it is told."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import NOBODY_LISTENS, Command
from tests.conftest import Server


def test_question_is_answered_on_stdout_and_nothing_else_is_said(yangfan: Command):
    shown = yangfan("chat", "1加1为什么等于2? 🚀")
    assert (shown.status, shown.out, shown.err) == (0, "1加1为什么等于2? 🚀\n", "")


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("how", ["--stream", "--no-stream"])
def test_both_dialects_answer_streamed_and_whole(yangfan: Command, version: str, how: str):
    shown = yangfan.inside("chat", "你好", "--version", version, how)
    assert (shown.status, shown.out, shown.err) == (0, "你好\n", "")


def test_pipe_is_the_question(yangfan: Command):
    assert yangfan("chat", stdin="管道里的问题\n".encode()).out == "管道里的问题\n"


def test_pipe_is_appended_to_the_prompt(yangfan: Command):
    shown = yangfan.inside("chat", "Summarise:", stdin=b"line one\nline two\n")
    assert shown.out == "Summarise:\n\nline one\nline two\n"


def test_verbose_tells_on_stderr_which_model_answered(yangfan: Command):
    shown = yangfan.inside("chat", "hello", "-v", "--model", "ernie_speed")
    assert shown.out == "hello\n"
    assert shown.err.startswith("model echo · ")
    assert " tokens · " in shown.err


def test_json_is_one_object_of_the_whole_result(yangfan: Command):
    shown = yangfan.inside("chat", "hello there", "--json", "--max-tokens", "8", "--seed", "1")
    result = json.loads(shown.out)
    assert (shown.status, shown.err) == (0, "")
    assert result["text"] == "hello there"
    assert result["info"]["served_model"] == "echo"
    assert result["usage"]["total_tokens"] > 0
    assert result["choices"][0]["finish_reason"] == "stop"
    assert "raw" not in result


def test_options_reach_the_server(yangfan: Command):
    shown = yangfan.inside(
        "chat", "one two three four five six", "--max-tokens", "2", "--json", "--temperature", "0.5"
    )
    result = json.loads(shown.out)
    assert result["usage"]["completion_tokens"] == 2
    assert result["is_truncated"]


def test_refusal_is_the_servers_own_words(yangfan: Command):
    shown = yangfan.inside("chat", "hello", "--temperature", "7")
    assert (shown.status, shown.out) == (1, "")
    assert shown.err.startswith("yangfan: ")
    assert "temperature" in shown.err
    assert shown.err.count("\n") == 1


def test_unknown_model_is_refused_with_what_there_is(yangfan: Command):
    shown = yangfan.inside("chat", "hello", "--model", "no-such-model")
    assert shown.status == 1
    assert "no-such-model" in shown.err
    assert "echo" in shown.err


@pytest.mark.parametrize(
    ("arguments", "stdin", "status", "said"),
    [
        (["chat"], b"", 2, "nothing to ask"),
        (["chat", "  "], b"\n", 2, "nothing to ask"),
        (["chat", "x", "--version", "3"], b"", 2, "--version is 1 or 2"),
        (["chat", "x", "--temperature", "warm"], b"", 2, "--temperature"),
        (["chat", "x", "y"], b"", 2, "y"),
        (["chat"], b"\xff\xfe", 1, "not UTF-8"),
        (["chat", "x", "--base-url", "nonsense"], b"", 1, "base_url must look like"),
        (["chat", "x", "--access-key", "ALTAK"], b"", 1, "secret_access_key"),
        (["chat", "x", "--base-url", NOBODY_LISTENS], b"", 1, "cannot reach"),
        (["chat", "x", "--bearer", "bce-v3/ALTAK-wrong/0"], b"", 1, "yangfan: "),
    ],
)
def test_mistake_is_said_clearly(
    yangfan: Command, arguments: list[str], stdin: bytes, status: int, said: str
):
    shown = yangfan.inside(*arguments, stdin=stdin)
    assert (shown.status, shown.out) == (status, "")
    assert said in shown.err
    assert "Traceback" not in shown.err


def test_answer_comes_while_it_is_made(
    slow: Command, read_until: Callable[[subprocess.Popen[bytes], bytes], bytes]
):
    with slow.started("chat", "one two three four five six seven eight nine ten") as process:
        assert b"ten" not in read_until(process, b"one")
        assert process.poll() is None


def test_interrupt_ends_a_single_answer_with_status_130(
    slow: Command, read_until: Callable[[subprocess.Popen[bytes], bytes], bytes]
):
    with slow.started("chat", "one " * 100) as process:
        read_until(process, b"one")
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=20)
    assert (process.returncode, complaint) == (130, b"")


def test_conversation_remembers_and_forgets(yangfan: Command):
    """The prompt's tokens show how many turns were sent."""
    with yangfan.in_terminal("chat", "-v") as terminal:
        terminal.expect("ernie-speed-8k · /help.*> ")
        terminal.type("hello\n")
        alone = _prompt_tokens(terminal.expect("> "))
        terminal.type("hello\n")
        assert _prompt_tokens(terminal.expect("> ")) > alone
        terminal.type("/reset\n")
        terminal.expect("Forgotten.*> ")
        terminal.type("hello\n")
        assert _prompt_tokens(terminal.expect("> ")) == alone
        terminal.type("/exit\n")
        assert terminal.rest().status == 0


def test_conversation_obeys_its_commands(yangfan: Command):
    with yangfan.in_terminal("chat") as terminal:
        terminal.expect("> ")
        terminal.type("/help\n")
        assert "/reset" in terminal.expect("> ")
        terminal.type("/model\n")
        assert "ernie-speed-8k" in terminal.expect("> ")
        terminal.type("/model no-such-model\n")
        terminal.expect("Now asking no-such-model.*> ")
        terminal.type("hello\n")
        assert "yangfan: " in terminal.expect("> ")
        terminal.type("/model echo\n")
        terminal.expect("Now asking echo.*> ")
        terminal.type("\n")
        terminal.expect("> ")
        terminal.type("/dance\n")
        assert "No command /dance" in terminal.expect("> ")
        terminal.type("/usr/bin is a folder\n")
        assert terminal.expect("> ").count("/usr/bin is a folder") == 2
        assert terminal.end().status == 0


def test_interrupt_stops_the_answer_and_keeps_the_conversation(slow: Command):
    with slow.in_terminal("chat") as terminal:
        terminal.expect("> ")
        terminal.type("one two " * 50 + "\n")
        terminal.expect("\n.*one")
        terminal.interrupt_until("> ")
        terminal.interrupt_until("Ctrl-D ends.*> ")
        # A late Ctrl-C of the two lines above may still undo what is typed.
        terminal.type_until("still\n", "\nstill.*> ", undone_by="Ctrl-D ends.*> ")
        assert terminal.end().status == 0


def test_model_cannot_steer_the_terminal(yangfan: Command):
    with yangfan.in_terminal("chat", "red: \x1b[31m!") as terminal:
        shown = terminal.end()
    assert shown.status == 0
    assert "red: [31m!" in shown.out
    assert "\x1b" not in shown.out


def test_program_gets_every_character(yangfan: Command):
    assert yangfan.inside("chat", "red: \x1b[31m!").out == "red: \x1b[31m!\n"


def test_json_needs_a_prompt_in_a_terminal(yangfan: Command):
    with yangfan.in_terminal("chat", "--json") as terminal:
        assert terminal.rest().status == 2


def test_credentials_may_come_from_the_environment(lonely: Command, echo_server: Server):
    environ = {"YANGFAN_BASE_URL": echo_server.base_url, "YANGFAN_BEARER": echo_server.bearer}
    assert lonely.inside("chat", "hello", environ=environ).out == "hello\n"


def test_credentials_may_come_from_options(lonely: Command, echo_server: Server):
    shown = lonely.inside(
        "chat", "hello", "--base-url", echo_server.base_url, "--api-key", echo_server.api_key,
        "--secret-key", echo_server.secret_key,
    )  # fmt: skip
    assert shown.out == "hello\n"


def test_server_is_found_by_its_home(lonely: Command, echo_server: Server):
    assert lonely.inside("chat", "hello", "--home", str(echo_server.home)).out == "hello\n"


def test_home_without_a_server_says_how_to_start_one(lonely: Command):
    shown = lonely.inside("chat", "hello", "--home", str(lonely.home))
    assert shown.status == 1
    assert f"yangfan serve --home {lonely.home}" in shown.err


def _prompt_tokens(shown: str) -> int:
    return int(shown.rpartition("model echo · ")[2].split()[0])


# What the other options cannot say ----------------------------------------------------------------

FIND = {"name": "find", "description": "Finds things.", "parameters": {"type": "object"}}
TOOLS = [{"type": "function", "function": FIND}]


def test_any_field_of_the_call_goes_along(yangfan: Command, tmp_path: Path):
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps(TOOLS))
    shown = yangfan.inside(
        "chat", "one two three", "--json", "--stop", " three", "-o", "top_k=3", "-o", "user-id=me",
        "-o", f"tools=@{tools}", "-o", "tool_choice=none", "-o", "n=2",
    )  # fmt: skip
    found = json.loads(shown.out)
    assert (found["text"], len(found["choices"])) == ("one two", 2)
    shown = yangfan.inside("chat", "one", "-o", "n=2", "-o", "enable_thinking=false")
    assert shown.out == "one\none\n"


@pytest.mark.parametrize("how", ["--stream", "--no-stream"])
def test_functions_that_a_model_wants_called_are_shown(yangfan: Command, how: str):
    asked = ("-o", f"tools={json.dumps(TOOLS)}", "-o", "tool_choice=required")
    for version in ("2", "1"):
        if version == "1":
            asked = (*asked[:2], "-o", 'tool_choice={"name": "find"}')
        shown = yangfan.inside("chat", "hi", how, "--version", version, *asked)
        assert (shown.status, shown.err) == (0, "")
        assert shown.out.startswith("find({")
        assert shown.out.count("\n") == 1


def test_an_answer_follows_the_schema_of_a_file(yangfan: Command, tmp_path: Path):
    """The echo model's answers of a shape are objects."""
    file = tmp_path / "schema.json"
    file.write_text('{"type": "object", "properties": {"echo": {"type": "string"}}}')
    shown = yangfan.inside("chat", "a number", "--schema", str(file))
    assert json.loads(shown.out) == {"echo": "a number"}, shown.err
    file.write_text('{"type": "object", "not": {}}')
    shown = yangfan.inside("chat", "a number", "--schema", str(file))
    assert (shown.status, "/not: not is not supported" in shown.err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["-o", "top_k"], 2, "--option is NAME=VALUE"),
        (["-o", "tools=@/absent.json"], 1, "cannot read /absent.json"),
        (["-o", "tempreature=1"], 1, "did you mean temperature?"),
        (["-o", "web_search={}", "--version", "1"], 1, "web_search is a field of v2"),
        (["--schema", "/absent.json"], 1, "cannot read /absent.json"),
        (["--schema", "/proc/self/status"], 1, "is not JSON"),
    ],
)
def test_a_field_that_cannot_go_along_is_said(
    yangfan: Command, arguments: list[str], status: int, said: str
):
    shown = yangfan.inside("chat", "hi", *arguments)
    assert (shown.status, shown.out) == (status, "")
    assert said in shown.err
