"""What a call can be told: one keyword for every request field of both dialects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, TypedDict

Messages: TypeAlias = str | Sequence[Mapping[str, object]]
"""One user turn as text, or the turns: mappings with `role` (system, user, assistant, tool or function), `content` and what
else the dialects have. Either dialect's spelling is understood: system turns, `tool_calls` and `function_call`, roles tool and
function are translated."""

Prompt: TypeAlias = str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]]
"""A text to go on from; in v2 also several, or token ids of the model's own vocabulary: those of one prompt, or those of several."""

JSONObject: TypeAlias = Mapping[str, object]


class WritingOptions(TypedDict, total=False):
    """Options that chats and completions share; all may be left out, and None means left out.

    "v1" or "v2" in front says that only that dialect has it: the other refuses it with ConfigurationError.
    """

    temperature: float | None
    """(0, 1.0] in v1 and for ernie models in chats, [0, 2.0] otherwise; higher is more random. Default: the model's own, 0.95 or 0.8 in
    chats with ERNIE presets."""
    top_p: float | None
    """[0, 1.0]. Default: the model's own, 0.7 or 0.8 in chats with ERNIE presets."""
    top_k: int | None
    """At least 1; open-weight models."""
    penalty_score: float | None
    """[1.0, 2.0] against repetition. Default 1.0."""
    repetition_penalty: float | None
    """v2: (0, 2.0]; open-weight models."""
    stop: str | Sequence[str] | None
    """Up to 4 strings of 1 to 20 characters each that end the answer."""
    seed: int | None
    """[0, 2147483647]; equal seeds give equal answers on one engine."""
    logit_bias: Mapping[str, float] | None
    """v2: token id to bias."""
    disable_search: bool | None
    """v1: no search. Default false."""
    enable_citation: bool | None
    """v1: mark sources in the text. Default false."""
    user_id: str | None
    """Your own end user, for your logs. v2 sends it as user."""
    user: str | None
    """The name of user_id in v2; give one of the two."""
    stream_options: JSONObject | None
    """v2: ``{"include_usage": true}`` for usage at the end of a stream. The client asks for it unless you say otherwise."""
    extra_parameters: JSONObject | None
    """Parameters of single models, such as ChatLaw's ``{"use_keyword": true, "use_reference": true}``."""
    extra_body: JSONObject | None
    """Fields that this list does not know, put into the body as they are."""
    n: int | None
    """v2: answers to generate, for each prompt of a completion, [1, 8]. Default 1."""


class ChatOptions(WritingOptions, total=False):
    """Options of a chat call; all may be left out, and None means left out.

    "v1" or "v2" in front says that only that dialect has it: the other refuses it with ConfigurationError.
    """

    system: str | None
    """Persona; counts towards the input limits. v2 sends it as the first message."""
    frequency_penalty: float | None
    """[-2.0, 2.0]."""
    presence_penalty: float | None
    """[-2.0, 2.0]."""
    max_output_tokens: int | None
    """[2, 2048], or [2, 4096] for 128K models. Default 1024 (4096). v2 sends it as max_completion_tokens."""
    max_completion_tokens: int | None
    """The name of max_output_tokens in v2; give one of the two."""
    min_output_tokens: int | None
    """v1: [2, 1024]."""
    response_format: Literal["text", "json_object"] | JSONObject | None
    """text (default) or json_object; v2 also takes ``{"type": "json_schema", "json_schema": {…}}``."""
    logprobs: bool | None
    """v2: return log-probabilities."""
    top_logprobs: int | None
    """v2: how many alternatives to each token, [0, 20]."""
    functions: Sequence[JSONObject] | None
    """Functions on offer: name, description, parameters (JSON Schema). v2 sends them as tools."""
    tools: Sequence[JSONObject] | None
    """The same in v2's shape, ``{"type": "function", "function": {…}}``; v1 sends those as functions, and built-in tools such as
    ``{"type": "baidu_search", "baidu_search": {}}`` as they are."""
    tool_choice: Literal["none", "auto", "required"] | JSONObject | None
    """``{"type": "function", "function": {"name": …}}`` forces one; the words are v2's alone."""
    parallel_tool_calls: bool | None
    """v2: allow several calls in one answer. Default true."""
    enable_trace: bool | None
    """v1: return what search found. Default false."""
    trace_number: int | None
    """How many results of search to return."""
    web_search: JSONObject | None
    """v2: ``{"enable": true, "enable_citation": …, "enable_trace": …}``."""
    enable_thinking: bool | None
    """v2: reason first; models that can."""
    thinking_budget: int | None
    """v2: most tokens of reasoning; then it is ended, and the model answers."""
    enable_system_memory: bool | None
    """Put a system memory in front (Yangfan servers in v2); needs system_memory_id."""
    system_memory_id: str | None
    """Which system memory, ``sm-…``; see `client.memory`."""
    enable_user_memory: bool | None
    """Put a user memory in front (Yangfan servers in v2); needs user_memory_id."""
    user_memory_id: str | None
    """Which user memory, ``um-…``; by default user_id, if that is one."""
    user_memory_level: int | None
    """How much of the user memory to recall, [0, 4]: 0 its description alone, 4 all of it. Default 1."""
    user_memory_extract_level: int | None
    """[0, 2]: what Baidu's cloud puts into the user memory by itself; Yangfan servers put nothing."""
    user_setting: str | None
    """v1: old name of a persona."""
    metadata: Mapping[str, str] | None
    """v2: your own labels."""
    preemptible: bool | None
    """v2: low priority. Default false."""


class CompletionOptions(WritingOptions, total=False):
    """Options of a completion; all may be left out, and None means left out.

    "v1" or "v2" in front says that only that dialect has it: the other refuses it with ConfigurationError.
    """

    system: str | None
    """v1: put in front of the prompt, on a line of its own."""
    frequency_penalty: float | None
    """v2: [-2.0, 2.0]."""
    presence_penalty: float | None
    """v2: [-2.0, 2.0]."""
    max_output_tokens: int | None
    """Most tokens of each text. v1: at least 2, default 1024. v2 sends it as max_tokens: at least 1 (0 with echo and logprobs), default 16."""
    max_tokens: int | None
    """The name of max_output_tokens in v2; give one of the two."""
    response_format: Literal["text"] | None
    """v1: text, the only one."""
    best_of: int | None
    """v2: must equal n."""
    logprobs: int | None
    """v2: log-probabilities of the tokens and of so many alternatives, [0, 5]."""
    echo: bool | None
    """v2: put the prompt in front of each text; with logprobs, tell those of its tokens, too."""
    suffix: str | None
    """v2: text behind the gap to fill; models here fill none and refuse it."""
