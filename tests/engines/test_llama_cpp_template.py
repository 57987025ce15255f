"""llama.cpp with chat templates that render functions and have a switch for thinking: its own parsing of both, on the real engine.

The model is one whose words are written down (`tests.engines.scripted`): small real models of that kind there are none.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.engines import scripted

from yangfan.engines import llama_cpp
from yangfan.engines.base import (
    Answer,
    ChatReply,
    ChatRequest,
    Delta,
    Engine,
    EngineSpec,
    Finish,
    FunctionCall,
    Message,
    Sampling,
    Tool,
)
from yangfan.engines.wire.chat import gather_reply

pytestmark = pytest.mark.skipif(llama_cpp.missing() is not None, reason=str(llama_cpp.missing()))

TEMPLATE = (
    r"""{%- if tools %}<|im_start|>system
# Tools
<tools>
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
</tools>
For each call answer with JSON between <tool_call></tool_call>:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role in ['user', 'system'] %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% elif message.role == 'assistant' %}<|im_start|>assistant
{% if message.reasoning_content %}<think>
{{ message.reasoning_content }}
</think>

{% endif %}{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}
{%- if (loop.first and message.content) or not loop.first %}
{% endif %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": """
    r"""{% if call.function.arguments is string %}{{ call.function.arguments }}{% else %}{{ call.function.arguments | tojson }}{% endif %}}
</tool_call>
{%- endfor %}<|im_end|>
{% elif message.role == 'tool' %}<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% else %}PREFILL{% endif %}{% endif %}"""
)
"""Like Qwen3's."""

BEGIN = "<|im_start|>assistant\n"
SPEAKS = ["Fine", "<tool_call>", '{"name":']
WORDS: dict[str, list[str]] = {
    # Thinking, with the closing tag in two tokens.
    "<think>\n": ["Hm, "],
    "Hm, ": ["yes."],
    "yes.": ["\n</thi"],
    "\n</thi": ["nk>\n\n"],
    "nk>\n\n": SPEAKS,
    "</think>\n\n": SPEAKS,
    # In plain words.
    "Fine": [", thanks."],
    ", thanks.": [scripted.END, " Really."],
    " Really.": [scripted.END, " Really."],
    # Two calls of its own accord; the model would rather say town.
    "<tool_call>": ['\n{"name": "weather", '],
    '\n{"name": "weather", ': ['"arguments": '],
    '"arguments": ': ['{"town": ', '{"city": '],
    '{"town": ': ['"Paris"'],
    '{"city": ': ['"Paris"'],
    '"Paris"': ["}}"],
    "}}": ["\n</tool_call>"],
    "\n</tool_call>": ["\n<tool_call>"],
    "\n<tool_call>": ['\n{"name": "time", '],
    '\n{"name": "time", ': ['"arguments": {"city":'],
    '"arguments": {"city":': [' "Rome"'],
    ' "Rome"': ["}}\n"],
    "}}\n": ["</tool_call>"],
    "</tool_call>": [scripted.END],
    # The call that a grammar without tags brings.
    '{"name":': [' "time",'],
    ' "time",': [' "arguments":'],
    ' "arguments":': [' {"city":'],
    ' {"city":': ['"Oslo"'],
    '"Oslo"': ["} }"],
    "} }": [scripted.END, "]", ", "],
    ", ": ['{"name":'],
    "]": [scripted.END],
}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = (Tool("weather", "Weather of a city", CITY), Tool("time", "Time in a city", CITY))
THOUGHT, WORDS_SAID = "Hm, yes.", "Fine, thanks."
HI = (Message("user", "Hi"),)


@pytest.fixture(scope="module", params=["prefilled", "own"])
def script(request: pytest.FixtureRequest) -> tuple[dict[str, list[str]], str]:
    """Words and template: the template opens the thought, as DeepSeek's, or the model does, as Qwen3's."""
    if request.param == "prefilled":
        return {BEGIN: SPEAKS, **WORDS}, TEMPLATE.replace("PREFILL", "<think>\n")
    return {BEGIN: ["<think>\n", *SPEAKS[1:]], **WORDS}, TEMPLATE.replace("PREFILL", "")


@pytest.fixture
async def engine(
    script: tuple[dict[str, list[str]], str], tmp_path: Path
) -> AsyncGenerator[Engine]:
    async with running(*script, tmp_path) as engine:
        yield engine


@asynccontextmanager
async def running(
    words: dict[str, list[str]], template: str, tmp_path: Path
) -> AsyncGenerator[Engine]:
    path = tmp_path / "model.gguf"
    scripted.write(path, words, template)
    spec = EngineSpec(
        "scripted",
        str(path),
        slots=2,
        threads=1,
        context_tokens=4096,
        options={"program": "wheel"},
    )
    engine = llama_cpp.create(spec, tmp_path)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@pytest.fixture
def calling(script: tuple[dict[str, list[str]], str]) -> Sampling:
    """Makes the model call: the word that begins its plain answer is forbidden."""
    fine = scripted.token_ids(script[0])["Fine"]
    return Sampling(temperature=0, max_output_tokens=120, logit_bias={str(fine): -100})


SPEAKING = Sampling(temperature=0, max_output_tokens=120)


async def answer(
    engine: Engine,
    messages: tuple[Message, ...] = HI,
    sampling: Sampling = SPEAKING,
    **fields: Any,
) -> Answer:
    """The one answer, the same whole and in a stream, whose text never shows a tag."""
    request = ChatRequest(messages, sampling, **fields)
    whole_reply = await engine.chat(request)
    whole = whole_reply.answers[0]
    deltas: list[Delta] = [delta async for delta in engine.chat_stream(request)]

    async def again() -> AsyncGenerator[Delta]:
        for delta in deltas:
            yield delta

    streamed: ChatReply = await gather_reply(again(), 1)
    thoughts = (whole_reply.usage.reasoning_tokens, streamed.usage.reasoning_tokens)
    assert all((count > 0) == bool(whole.reasoning.strip()) for count in thoughts)
    assert max(thoughts) <= whole_reply.usage.completion_tokens
    assert [(call.name, call.arguments) for call in whole.function_calls] == [
        (call.name, call.arguments) for call in streamed.answers[0].function_calls
    ]
    parts = [(one.text, one.reasoning, one.finish) for one in (whole, streamed.answers[0])]
    assert parts[0] == parts[1]
    assert deltas[-1].finish is whole.finish
    for tag in ("<think", "think>"):
        assert tag not in whole.text + whole.reasoning
    return msgspec.structs.replace(
        whole, reasoning=whole.reasoning.rstrip()
    )  # llama.cpp keeps the line end


def calls_of(answer: Answer) -> list[tuple[str, Any]]:
    return [(call.name, json.loads(call.arguments)) for call in answer.function_calls]


async def test_thoughts_are_told_apart_and_the_switch_works(engine: Engine) -> None:
    for thinking in (None, True):
        thought = await answer(engine, enable_thinking=thinking)
        assert (thought.reasoning, thought.text) == (THOUGHT, WORDS_SAID)
        assert thought.finish is Finish.NATURAL
    at_once = await answer(engine, enable_thinking=False)
    assert (at_once.reasoning, at_once.text) == ("", WORDS_SAID)
    cut = await answer(
        engine, sampling=Sampling(temperature=0, max_output_tokens=2), enable_thinking=True
    )
    assert cut.text == ""
    assert cut.finish is Finish.LENGTH


async def test_a_model_that_may_call_calls_or_answers_in_words(
    engine: Engine, calling: Sampling
) -> None:
    words = await answer(engine, tools=TOOLS, enable_thinking=True)
    assert (words.text, words.reasoning, words.function_calls) == (WORDS_SAID, THOUGHT, ())
    for thinking in (True, False):
        called = await answer(engine, sampling=calling, tools=TOOLS, enable_thinking=thinking)
        assert calls_of(called) == [("weather", {"city": "Paris"}), ("time", {"city": "Rome"})]
        assert called.finish is Finish.FUNCTION_CALL
        assert called.text == ""
        assert called.reasoning == (THOUGHT if thinking else "")
        ids = [call.id for call in called.function_calls]
        assert len(set(ids)) == 2
        assert all(ids)


async def test_one_call_at_most_where_parallel_calls_are_off(
    engine: Engine, calling: Sampling
) -> None:
    called = await answer(engine, sampling=calling, tools=TOOLS, parallel_tool_calls=False)
    assert calls_of(called) == [("weather", {"city": "Paris"})]
    assert called.finish is Finish.FUNCTION_CALL


@pytest.mark.parametrize("thinking", [True, False])
async def test_calls_that_must_come_come_after_the_thoughts(engine: Engine, thinking: bool) -> None:
    for choice in ("required", "function:time"):
        called = await answer(engine, tools=TOOLS, tool_choice=choice, enable_thinking=thinking)
        assert calls_of(called) == [("time", {"city": "Oslo"})]
        assert called.text == ""
        assert called.finish is Finish.FUNCTION_CALL
        assert called.reasoning == (THOUGHT if thinking else "")
    several = await answer(
        engine,
        tools=TOOLS,
        tool_choice="required",
        parallel_tool_calls=True,
        enable_thinking=thinking,
    )
    assert len(several.function_calls) >= 1
    assert all(set(arguments) == {"city"} for _, arguments in calls_of(several))


async def test_none_means_no_call(engine: Engine) -> None:
    words = await answer(engine, tools=TOOLS, tool_choice="none", enable_thinking=False)
    assert (words.text, words.function_calls) == (WORDS_SAID, ())
    told = await engine.chat(ChatRequest(HI, SPEAKING, tools=TOOLS, tool_choice="none"))
    plain = await engine.chat(ChatRequest(HI, SPEAKING))
    assert told.usage.prompt_tokens == plain.usage.prompt_tokens


async def test_a_model_that_may_not_call_does_not_do_so_in_raw_words(
    engine: Engine, calling: Sampling
) -> None:
    for thinking in (True, False):
        said = await answer(
            engine, sampling=calling, tools=TOOLS, tool_choice="none", enable_thinking=thinking
        )
        assert "tool_call" not in said.text
        assert said.text
        assert said.function_calls == ()


UNTOLD = re.sub(
    r"\{% if enable_thinking is defined.*?PREFILL\{% endif %\}",
    "<think>\n",
    re.sub(r"\{% if message.reasoning_content %\}.*?\{% endif %\}", "", TEMPLATE, flags=re.DOTALL),
    flags=re.DOTALL,
)
"""Opens every thought and shows none again, as the templates of DeepSeek-R1's smaller kin; llama.cpp takes it for one without."""

PLAIN = (
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{%- endfor %}\n"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
"""The same without functions."""


@pytest.mark.parametrize("template", [UNTOLD, PLAIN], ids=["functions", "none"])
async def test_thoughts_that_the_template_opens_and_never_shows_are_told_apart(
    template: str, tmp_path: Path
) -> None:
    words = {BEGIN: SPEAKS, **WORDS}
    forbidden = {str(scripted.token_ids(words)["Fine"]): -100.0}
    calling = Sampling(temperature=0, max_output_tokens=120, logit_bias=forbidden)
    async with running(words, template, tmp_path) as engine:
        for thinking in (None, True, False):  # it has no switch
            said = await answer(engine, enable_thinking=thinking)
            assert (said.reasoning, said.text) == (THOUGHT, WORDS_SAID)
        said = await answer(engine, tools=TOOLS)
        assert (said.reasoning, said.text) == (THOUGHT, WORDS_SAID)
        called = await answer(engine, sampling=calling, tools=TOOLS)
        assert [name for name, _ in calls_of(called)] == ["weather", "time"]
        assert (called.reasoning, called.text) == (THOUGHT, "")
        # A grammar leaves no room for a thought.
        forced = await answer(engine, tools=TOOLS, tool_choice="function:time")
        assert (forced.reasoning, [name for name, _ in calls_of(forced)]) == ("", ["time"])


TAGGED: dict[str, list[str]] = {
    "<think>": ["\n"],
    "\n": ["Hm, "],
    "Hm, ": ["yes."],
    "yes.": ["Or", "</think>"],
    "Or": [" no, "],
    " no, ": ["yes."],
    "</think>": ["\n\n"],
    "\n\n": ["Fine"],
    "Fine": [", thanks."],
    ", thanks.": [scripted.END],
}
"""Thinks for ever, with tags that are tokens, as those of models that think are."""


@pytest.mark.parametrize("opened", ["prefilled", "own", "plain"])
async def test_a_thought_ends_when_it_has_had_all_its_tokens(opened: str, tmp_path: Path) -> None:
    """Whether llama.cpp knows that the model thinks (the template has a switch) or not."""
    words = {BEGIN: ["<think>"], **TAGGED}
    template = PLAIN.replace("<think>\n", "<think>") if opened == "plain" else TEMPLATE
    template = template.replace("PREFILL", "<think>" if opened == "prefilled" else "")
    thoughts = {0: "", 2: "Hm,", 3: "Hm, yes."}
    async with running(words, template, tmp_path) as engine:
        for budget, thought in thoughts.items():
            cut = await answer(engine, thinking_budget=budget)
            assert (cut.reasoning.strip(), cut.text) == (thought, WORDS_SAID)
            assert cut.finish is Finish.NATURAL
        endless = await answer(engine, thinking_budget=500)
        assert (endless.text, endless.finish) == ("", Finish.LENGTH)


async def test_a_vocabulary_with_the_beginning_of_a_call_as_one_token_may_call(
    tmp_path: Path,
) -> None:
    """llama.cpp refuses its own grammar for such a model: "Grammar trigger word should be marked as preserved token"."""
    words = {BEGIN: ["Fine", "<tool_call>\n"], **WORDS, "<tool_call>\n": ['{"name":']}
    forbidden = {str(scripted.token_ids(words)["Fine"]): -100.0}
    calling = Sampling(temperature=0, max_output_tokens=120, logit_bias=forbidden)
    async with running(words, TEMPLATE.replace("PREFILL", ""), tmp_path) as engine:
        said = await answer(engine, tools=TOOLS)
        assert said.text == WORDS_SAID
        called = await answer(engine, sampling=calling, tools=TOOLS)
        assert calls_of(called) == [("time", {"city": "Oslo"})]


async def test_calls_and_their_results_are_in_the_prompt(engine: Engine) -> None:
    call = FunctionCall("weather", '{"city": "Bern"}', "call_1")
    asked = (
        *HI,
        Message("assistant", None, function_calls=(call,)),
        Message("tool", "21 degrees", tool_call_id="call_1"),
    )
    rendered = (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<tool_call>\n"
        '{"name": "weather", "arguments": {"city": "Bern"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\n21 degrees\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    reply = await engine.chat(ChatRequest(asked, SPEAKING, enable_thinking=False))
    assert reply.usage.prompt_tokens == await engine.count_text_tokens(rendered)
    words = await answer(engine, asked, tools=TOOLS, enable_thinking=False)
    assert words.text == WORDS_SAID


# Answers of a least length ------------------------------------------------------------------------


async def test_an_answer_has_at_least_as_many_tokens_as_are_wanted(engine: Engine) -> None:
    """The model would end after its two words; kept from it, it says another over and over."""

    def wanted(least: int, most: int = 40, *stop: str) -> ChatRequest:
        sampling = Sampling(
            temperature=0, min_output_tokens=least, max_output_tokens=most, stop=stop
        )
        return ChatRequest(HI, sampling)

    short = await engine.chat(ChatRequest(HI, SPEAKING))
    tokens = short.usage.completion_tokens
    assert short.answers[0].finish is Finish.NATURAL
    same = await engine.chat(wanted(2))
    (one,), (other,) = same.answers, short.answers
    assert (one.text, one.reasoning, one.finish) == (
        other.text,
        other.reasoning.strip(),
        other.finish,
    )
    assert same.usage.completion_tokens == tokens
    longer = await engine.chat(wanted(tokens + 6))
    assert tokens + 6 <= longer.usage.completion_tokens <= tokens + 7
    assert longer.usage.prompt_tokens == short.usage.prompt_tokens
    assert longer.answers[0].text.startswith(f"{WORDS_SAID} Really. Really.")
    assert (longer.answers[0].finish, longer.answers[0].reasoning) == (Finish.NATURAL, THOUGHT)
    full = await engine.chat(wanted(tokens + 6, tokens + 6))
    assert (full.usage.completion_tokens, full.answers[0].finish) == (tokens + 6, Finish.LENGTH)
    stopped = await engine.chat(wanted(tokens, 40, ", than"))
    assert (stopped.answers[0].text, stopped.answers[0].finish) == ("Fine", Finish.STOP_STRING)
