"""What calls return: one set of types for both dialects.

A field that only one dialect has says so. Times are seconds since 1970 unless the type says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date, datetime

    from yangfan.protocol.v2.keys import KeyKind

JSON = dict[str, object]
"""A decoded JSON object."""


def _no_json() -> JSON:
    return {}


@dataclass(frozen=True, slots=True)
class ToolUsage:
    """Work that one built-in tool did (v1)."""

    name: str
    points: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, counted by the tokenizer of the model that answered.

    Attributes:
        prompt_tokens: Tokens of the input.
        completion_tokens: Tokens of the answer.
        total_tokens: Both.
        cached_tokens: Tokens of the input that the engine had in its cache (v2).
        reasoning_tokens: Tokens of the answer that are reasoning (v2).
        tool_tokens: Tokens that built-in tools added (v1).
        tool_usage: What those tools did (v1).
        estimated: Whether a Yangfan server had to guess: the model is on somebody else's server, which does not count.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    tool_tokens: int = 0
    tool_usage: tuple[ToolUsage, ...] = ()
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The limits that applied, from the X-Ratelimit-* headers; None where the server did not say.

    Attributes:
        limit_requests: Requests a minute.
        limit_tokens: Tokens a minute, input and output together.
        remaining_requests: Requests left now.
        remaining_tokens: Tokens left now.
    """

    limit_requests: int | None = None
    limit_tokens: int | None = None
    remaining_requests: int | None = None
    remaining_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function that the model wants called.

    Attributes:
        name: Its name.
        arguments: Its arguments, JSON text.
        id: Name of this call, to answer it by (v2).
        thoughts: Why the model wants it (v1).
        index: Its place among the calls of the answer.
    """

    name: str = ""
    arguments: str = ""
    id: str = ""
    thoughts: str = ""
    index: int = 0


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A page that search found."""

    index: int = 0
    url: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer.

    Attributes:
        index: Its place, from 0.
        text: What the model says; empty when it calls functions.
        reasoning: What it thought first, where the model shows that (v2).
        finish_reason: Why it ended: normal, stop, length, content_filter, function_call (v1) or tool_calls (v2). None if
            the server did not say.
        function_calls: Functions that the model wants called.
        flag: How unsafe: 0 safe, 1 may continue, 2 show but end the chat, 3 do not show, 4 withdraw what was shown.
        ban_round: Index of the unsafe turn, -1 for the current one; None when safe.
        need_clear_history: The input is unsafe: drop the history.
        logprobs: Log-probabilities as they came (v2, on request).
    """

    index: int = 0
    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    function_calls: tuple[FunctionCall, ...] = ()
    flag: int = 0
    ban_round: int | None = None
    need_clear_history: bool = False
    logprobs: JSON | None = None


@dataclass(frozen=True, slots=True)
class ReplyInfo:
    """What the headers of a reply say.

    Attributes:
        request_id: X-Baidu-Request-Id: quote it when you ask for help.
        served_model: X-Yangfan-Model: the model that really answered.
        rate_limit: The limits that applied; None when no such header came.
    """

    request_id: str | None = None
    served_model: str | None = None
    rate_limit: RateLimit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatResult:
    """A whole answer of a chat model, or the texts of a completion; `str()` of it is the text.

    Attributes:
        id: Id of the answer, ``as-…``.
        created: When, in seconds since 1970.
        model: The name that was asked for.
        choices: Every answer; one unless `n` asked for more.
        usage: Tokens; None when the server did not say.
        is_truncated: The answer hit the limit of output tokens.
        is_safe: What the server says of safety; None when it does not (v1).
        search_results: Pages that search found.
        search_query: How search put the question (v1); None when it did not say.
        info: What the headers say.
        raw: The reply, decoded; of a stream, its last event.
    """

    id: str = ""
    created: int = 0
    model: str = ""
    choices: tuple[Choice, ...] = (Choice(),)
    usage: Usage | None = None
    is_truncated: bool = False
    is_safe: bool | None = None
    search_results: tuple[SearchResult, ...] = ()
    search_query: str | None = None
    info: ReplyInfo = field(default_factory=ReplyInfo)
    raw: JSON = field(default_factory=_no_json, repr=False)

    def __str__(self) -> str:
        """The text of the first answer."""
        return self.text

    @property
    def text(self) -> str:
        """Text of the first answer."""
        return self.choices[0].text

    @property
    def reasoning(self) -> str:
        """Reasoning of the first answer (v2)."""
        return self.choices[0].reasoning

    @property
    def finish_reason(self) -> str | None:
        """Why the first answer ended; see `Choice`."""
        return self.choices[0].finish_reason

    @property
    def function_calls(self) -> tuple[FunctionCall, ...]:
        """Functions that the first answer wants called."""
        return self.choices[0].function_calls

    @property
    def flag(self) -> int:
        """How unsafe the first answer is; see `Choice`."""
        return self.choices[0].flag

    @property
    def ban_round(self) -> int | None:
        """The unsafe turn; see `Choice`."""
        return self.choices[0].ban_round

    @property
    def need_clear_history(self) -> bool:
        """The input is unsafe: drop the history."""
        return self.choices[0].need_clear_history

    @property
    def request_id(self) -> str | None:
        """X-Baidu-Request-Id of the reply."""
        return self.info.request_id

    @property
    def served_model(self) -> str | None:
        """The model that really answered, where the server says so."""
        return self.info.served_model

    @property
    def rate_limit(self) -> RateLimit | None:
        """The limits that applied; None when the server did not say."""
        return self.info.rate_limit

    @property
    def message(self) -> JSON:
        """The first answer as a turn to append to the messages of the next call; either dialect takes it."""
        message: JSON = {"role": "assistant", "content": self.text}
        if self.function_calls:
            message["tool_calls"] = [
                {
                    "id": call.id or call.name,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in self.function_calls
            ]
        return message


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatEvent:
    """One event of a streamed answer; `str()` of it is what is new.

    Attributes:
        id: Id of the answer, the same in every event.
        created: When, in seconds since 1970.
        model: The name that was asked for; empty in v1.
        choice: What is new of one answer: `text`, `reasoning` and `function_calls` hold only the new part.
        usage: Tokens so far; final in the last event. None when the server does not say.
        is_end: The last event of the answer (v1), or of this choice (v2).
        is_truncated: The answer hit the limit of output tokens.
        is_safe: What the server says of safety; None when it does not (v1).
        search_results: Pages that search found.
        search_query: How search put the question (v1).
        raw: The event, decoded.
    """

    id: str = ""
    created: int = 0
    model: str = ""
    choice: Choice = field(default_factory=Choice)
    usage: Usage | None = None
    is_end: bool = False
    is_truncated: bool = False
    is_safe: bool | None = None
    search_results: tuple[SearchResult, ...] = ()
    search_query: str | None = None
    raw: JSON = field(default_factory=_no_json, repr=False)

    def __str__(self) -> str:
        """The new text."""
        return self.text

    @property
    def text(self) -> str:
        """The new text."""
        return self.choice.text

    @property
    def reasoning(self) -> str:
        """The new reasoning (v2)."""
        return self.choice.reasoning

    @property
    def index(self) -> int:
        """Which answer this belongs to; 0 unless `n` asked for more."""
        return self.choice.index

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ended; None until then."""
        return self.choice.finish_reason

    @property
    def function_calls(self) -> tuple[FunctionCall, ...]:
        """New function calls, or new parts of them."""
        return self.choice.function_calls


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingsResult:
    """The vectors of some texts; iterate, index or `len` it as the list of them.

    Attributes:
        vectors: One vector for each text, in the order of the texts; each has length 1.
        model: The name that was asked for.
        usage: Tokens; None when the server did not say.
        info: What the headers say.
        raw: The reply, decoded.
    """

    vectors: tuple[tuple[float, ...], ...]
    model: str = ""
    usage: Usage | None = None
    info: ReplyInfo = field(default_factory=ReplyInfo)
    raw: JSON = field(default_factory=_no_json, repr=False)

    def __len__(self) -> int:
        """How many vectors there are."""
        return len(self.vectors)

    def __getitem__(self, index: int) -> tuple[float, ...]:
        """The vector of the text at `index`."""
        return self.vectors[index]

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        """The vectors, in the order of the texts."""
        return iter(self.vectors)

    @property
    def dimensions(self) -> int:
        """Length of each vector."""
        return len(self.vectors[0])


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: its file, or where to get it.

    Attributes:
        data: The PNG file; b"" where the server only told a URL.
        url: Where it is; "" where the reply holds it.
    """

    data: bytes = field(default=b"", repr=False)
    url: str = ""

    def save(self, path: str | Path, *, overwrite: bool = True) -> Path:
        """Write the file and return its path.

        Raises:
            ConfigurationError: The server told only a URL, or the file cannot be written.
        """
        if not self.data:
            raise ConfigurationError(
                f"the reply holds no picture, only its address: get {self.url}"
            )
        target = Path(path)
        try:
            with target.open("wb" if overwrite else "xb") as file:
                file.write(self.data)
        except OSError as error:
            raise ConfigurationError(f"cannot write {target}: {error.strerror}") from None
        return target


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesResult:
    """The pictures of one call.

    Attributes:
        images: In order; picture k was drawn with the seed of the call plus k.
        model: The name that was asked for.
        usage: Tokens of the prompt; None when the server did not say.
        info: What the headers say.
        raw: The reply, decoded.
    """

    images: tuple[Image, ...]
    model: str = ""
    usage: Usage | None = None
    info: ReplyInfo = field(default_factory=ReplyInfo)
    raw: JSON = field(default_factory=_no_json, repr=False)

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self.images)

    def __getitem__(self, index: int) -> Image:
        """The picture at `index`."""
        return self.images[index]

    def __iter__(self) -> Iterator[Image]:
        """The pictures, in order."""
        return iter(self.images)


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """A document and how relevant it is.

    Attributes:
        document: The text.
        score: How relevant: higher is more. Its range is the model's own.
        index: Its place among the documents that were sent.
    """

    document: str
    score: float
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankResult:
    """Documents sorted by relevance; iterate, index or `len` it as the list of them.

    Attributes:
        results: The documents, the most relevant first.
        model: The name that was asked for.
        usage: Tokens; None when the server did not say.
        is_by_similarity: No reranker answered: the order is that of the embeddings' similarity (Yangfan servers).
        info: What the headers say.
        raw: The reply, decoded.
    """

    results: tuple[RankedDocument, ...]
    model: str = ""
    usage: Usage | None = None
    is_by_similarity: bool = False
    info: ReplyInfo = field(default_factory=ReplyInfo)
    raw: JSON = field(default_factory=_no_json, repr=False)

    def __len__(self) -> int:
        """How many documents there are."""
        return len(self.results)

    def __getitem__(self, index: int) -> RankedDocument:
        """The document at a rank, 0 for the most relevant."""
        return self.results[index]

    def __iter__(self) -> Iterator[RankedDocument]:
        """The documents, the most relevant first."""
        return iter(self.results)


def _no_labels() -> dict[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class WorkProgress:
    """How far some work is.

    Attributes:
        done: What is done, in `unit`.
        total: What there is to do; None where nobody knows.
        unit: Such as ``bytes``.
        note: What happens now.
    """

    done: float
    total: float | None
    unit: str
    note: str


@dataclass(frozen=True, slots=True)
class ModelSet:
    """A name with model versions.

    Attributes:
        id: ``am-…``.
        name: Its name.
        type: Text2Text, Text2Image, TextRepresentation, ImageUnderstanding or Industry.
        source: UserCreate or PlatformPreset.
        version_ids: Ids of its versions, newest first, at most 100.
        tags: Words to find it by.
        description: For people.
        version_labels: The version that each label points to; empty in lists.
    """

    id: str
    name: str
    type: str
    source: str
    version_ids: tuple[str, ...]
    tags: tuple[str, ...] = ()
    description: str = ""
    version_labels: Mapping[str, str] = field(default_factory=_no_labels)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model version."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A model version; lists leave out what comes after `error`.

    Attributes:
        id: ``amv-…``.
        name: ``SET:VERSION``.
        version: Counts from 1 within its set.
        status: Ready, Creating or Fail.
        source_type: Import, Train, Acceleration (compressed) or PlatformPreset.
        application: chat, completion, embedding, reranker, Text-to-Image or Image-to-Text.
        format: gguf or safetensors; "" while it is not known.
        size_bytes: All its files together.
        labels: Names that point to it, such as ``production``.
        error: Why it failed.
        set_id: The set that it belongs to.
        description: For people.
        source: Address that it came from.
        revision: Commit or version there.
        parent_id: The version that it was made from.
        derived_ids: Versions that were made from it.
        memory_bytes: Estimate of what one replica needs.
        architecture: Such as ``LlamaForCausalLM`` or ``llama``.
        context_tokens: Longest input, prompt and answer together; 0 where unknown.
        parameters: Number of weights; 0 where unknown.
        quantization: How its weights are kept, such as ``Q4_K_M``.
        licence: SPDX identifier; "" where unknown.
        chat_template: The Jinja text in its files.
        files: Every file with its checksum.
        job_id: The job that makes it, or made it.
        progress: How far that is.
        trained_by: The tuning task that made it.
        parity: Of a version that was trained here: how near what is served is to what was trained, and whether that passed.
    """

    id: str
    name: str
    version: int
    status: str
    source_type: str
    application: str
    format: str
    size_bytes: int
    labels: tuple[str, ...] = ()
    error: str = ""
    set_id: str = ""
    description: str = ""
    source: str = ""
    revision: str = ""
    parent_id: str = ""
    derived_ids: tuple[str, ...] = ()
    memory_bytes: int = 0
    architecture: str = ""
    context_tokens: int = 0
    parameters: int = 0
    quantization: str = ""
    licence: str = ""
    chat_template: str = ""
    files: tuple[ModelFile, ...] = ()
    job_id: str = ""
    progress: WorkProgress | None = None
    trained_by: str = ""
    parity: JSON | None = None


@dataclass(frozen=True, slots=True)
class Compression:
    """The making of a smaller model version.

    Attributes:
        id: ``amva-…``.
        name: Its name.
        status: creating, running, succeeded, failed, stopping or stopped.
        source_id: The version to compress.
        version_id: The version that is made.
        error: Why it failed.
        job_id: The job that does it.
        progress: How far it is; None once it has ended.
        size_before_bytes: Of the version before; None until it has succeeded. `size_after_bytes` likewise.
        perplexity_before: Of the version before, on `perplexity_text`; None where it was not measured. `perplexity_after` likewise.
        perplexity_text: What it was measured on.
    """

    id: str
    name: str
    status: str
    source_id: str
    version_id: str
    error: str = ""
    job_id: str = ""
    progress: WorkProgress | None = None
    size_before_bytes: int | None = None
    size_after_bytes: int | None = None
    perplexity_before: float | None = None
    perplexity_after: float | None = None
    perplexity_text: str = ""


@dataclass(frozen=True, slots=True)
class ModelExport:
    """The writing of a model version's files to somewhere else.

    Attributes:
        id: ``amve-…``.
        version_id: The version.
        status: creating, running, succeeded, failed, stopping or stopped.
        form: zip, folder or s3.
        error: Why it failed.
        job_id: The job that does it.
        progress: How far it is; None once it has ended.
        location: Where it is, as the server sees it; "" until it has succeeded.
        size_bytes: Of what is there.
        sha256: Of the zip file, or of the list of checksums beside the files.
        can_download: Whether `models.download` fetches it.
    """

    id: str
    version_id: str
    status: str
    form: str
    error: str = ""
    job_id: str = ""
    progress: WorkProgress | None = None
    location: str = ""
    size_bytes: int = 0
    sha256: str = ""
    can_download: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """A name that calls may use as `model`.

    Attributes:
        id: The name.
        owned_by: Whose model it is.
        created: When, in seconds since 1970; 0 if unknown.
        type: What it does, such as chat or embeddings; None if the server does not say.
        served_by: The model that answers under that name here (Yangfan servers); None if the server does not say.
    """

    id: str
    owned_by: str = ""
    created: int = 0
    type: str | None = None
    served_by: str | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the platform without its secret.

    Attributes:
        id: Its id: the `api_key` of kind oauth, the `access_key` of kind signature.
        kind: bearer, oauth or signature.
        name: For people; not unique.
        status: enable, revoked or expired.
        created_at: When it was made; aware.
        expires_at: When it ends; aware. None if never.
        models: Names that it may call, in lower case; None for all.
        rpm: Requests a minute; `tpm` tokens a minute. None for no limit.
        daily_tokens: Tokens a UTC day; `total_tokens` tokens ever. None for no limit.
        lenient: Its v1 messages are put right instead of refused.
        app_id: The application that it belongs to; what the `appid` header may name.
    """

    id: str
    kind: KeyKind
    name: str
    status: str
    created_at: datetime
    expires_at: datetime | None = None
    models: tuple[str, ...] | None = None
    rpm: int | None = None
    tpm: int | None = None
    daily_tokens: int | None = None
    total_tokens: int | None = None
    lenient: bool = False
    app_id: str = ""


@dataclass(frozen=True, slots=True)
class TPMResource:
    """Capacity that was added to a model.

    Attributes:
        id: Its id.
        rpm: Requests a minute; `tpm` tokens a minute.
        status: Running, and others in Baidu's cloud.
        started_at: Since when; aware.
        releases_at: Until when; aware. None for ever.
    """

    id: str
    rpm: int
    tpm: int
    status: str
    started_at: datetime
    releases_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ComputeUnits:
    """Compute units that were bought together.

    Attributes:
        id: Their id.
        service: The service that has them; "" if none has.
        count: How many.
        status: Creating, Running, Releasing or Released, and others in Baidu's cloud.
        started_at: Since when; aware.
        releases_at: Until when; aware. None for ever.
    """

    id: str
    service: str
    count: int
    status: str
    started_at: datetime
    releases_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """What one key used of one served model on one day (Yangfan servers).

    Attributes:
        day: The UTC day.
        key_id: The key's id; `anonymous` where no credentials are asked for.
        model: Name of the served model, whatever name the calls used.
        requests: How many calls.
        prompt_tokens: Tokens of prompts, and `completion_tokens` of answers, by the model's own tokenizer.
        price_share: What they cost of the price of calls that are answered at once: 0.4 for batches.
    """

    day: date
    key_id: str
    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    price_share: float = 1.0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is: what is done, of what there is to do (None where nobody knows), in which unit, and what happens now."""

    done: float
    total: float | None
    unit: str
    note: str


@dataclass(frozen=True, slots=True)
class JobFailure:
    """What went wrong last: a code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A long task of the platform.

    Attributes:
        id: ``jb-…``.
        kind: Kind of work, such as import_model.
        subject: Id of what it is about; "" for nothing.
        state: queued, starting, running, paused, succeeded, failed or cancelled.
        desired: run, pause or cancel: what was asked for and is about to happen.
        progress: How far it is.
        attempts: Attempts since it last saved something.
        max_attempts: At so many failed ones it fails for good.
        error: What went wrong last; kept while it is tried again.
        result: What it came to; None before success.
        created: When it was submitted, such as ``2026-11-27T08:00:00Z``; `started` and `finished` likewise, None before.
    """

    id: str
    kind: str
    subject: str
    state: str
    desired: str
    progress: JobProgress
    attempts: int
    max_attempts: int
    error: JobFailure | None
    result: Mapping[str, object] | None
    created: str
    started: str | None
    finished: str | None


@dataclass(frozen=True, slots=True)
class JobLogLine:
    """A line that a worker wrote: its place in the log, the attempt, when, what."""

    marker: str
    attempt: int
    time: str
    text: str


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A job as it is now, and the lines that came since the event before."""

    job: Job
    lines: tuple[JobLogLine, ...]


@dataclass(frozen=True, slots=True)
class Upstream:
    """Somebody else's server that the platform asks.

    Attributes:
        name: Its name; ``NAME/model`` in a call reaches any of its models.
        base_url: Its address.
        dialect: openai or qianfan.
        masked_key: The end of its key, such as ``…x7Qf``; "" for none.
        models: Names that it offers; None for all that it lists.
        kinds: What a model is for, where its owner said so.
        rename: Name in calls to name there.
        presets: Whether it answers Qianfan's names.
        model_count: How many models it offers now.
        error: What went wrong when it was last asked for its models; "" if nothing did.
        source: database or settings.
        first_byte_timeout_seconds: Longest wait for an answer to begin.
        idle_timeout_seconds: Longest silence within an answer.
    """

    name: str
    base_url: str
    dialect: str
    masked_key: str
    models: tuple[str, ...] | None
    kinds: Mapping[str, str]
    rename: Mapping[str, str]
    presets: bool
    model_count: int
    error: str
    source: str
    first_byte_timeout_seconds: float = 120.0
    idle_timeout_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class UpstreamTrial:
    """What came of asking an upstream for its models: whether it answered, what it said, how long that took."""

    ok: bool
    message: str
    model_count: int
    milliseconds: int


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made: its secret is shown this once, and never in the repr.

    Attributes:
        id: Its id: the `api_key` of kind oauth, the `access_key` of kind signature.
        kind: bearer, oauth or signature.
        name: For people; not unique.
        secret: The whole key of kind bearer, the `secret_key` of kind oauth, the `secret_access_key` of kind signature.
        app_id: The application that it belongs to.
    """

    id: str
    kind: KeyKind
    name: str
    secret: str = field(repr=False)
    app_id: str = ""


@dataclass(frozen=True, slots=True)
class App:
    """An application, which keys belong to (Yangfan servers).

    Attributes:
        id: ``app-…``.
        name: For people; not unique.
        created_at: When it was made; aware.
        key_count: How many of its keys may be used.
    """

    id: str
    name: str
    created_at: datetime
    key_count: int = 0


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An OAuth token for v1.

    Attributes:
        token: The token; never in the repr.
        expires_in_seconds: How long it holds from now.
    """

    token: str = field(repr=False)
    expires_in_seconds: int


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A short-lived bearer token for v2.

    Attributes:
        token: The token; never in the repr.
        created_at: When it was made; aware.
        expires_at: When it ends; aware.
    """

    token: str = field(repr=False)
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class MemoryPair:
    """What a user says, and what the system answers.

    Attributes:
        user: The user's words.
        system: The system's.
        id: Names the pair within a user memory; empty in a system memory.
    """

    user: str
    system: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class StoredMemory:
    """What a model is told before a conversation.

    Attributes:
        id: ``sm-…`` or ``um-…``.
        app_id: The application that it belongs to.
        description: For people; a user memory's is told to the model as well.
        pairs: What it holds; empty in lists.
    """

    id: str
    app_id: str
    description: str
    pairs: tuple[MemoryPair, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceDeployment:
    """A model version behind a service.

    Attributes:
        id: ``dep-…``.
        role: stable, candidate, or previous (not running; what a rollback goes to).
        model: Id of the model version, or name of the model.
        weight: Percent of the calls that it takes, or is to take.
        replicas: Engines that are to run side by side; `ready` how many can answer now.
        generation: Rises with each deployment of the service.
        engine_options: What the engine was told.
        loading_seconds: How long it has been loading; None while it is not.
        expected_seconds: How long the last load took; None if there was none.
        failed_reason: Why it cannot run; "" where nothing stands in the way.
    """

    id: str
    role: str
    model: str
    weight: int
    replicas: int
    ready: int
    generation: int
    engine_options: Mapping[str, Any]
    loading_seconds: float | None
    expected_seconds: float | None
    failed_reason: str


@dataclass(frozen=True, slots=True)
class Service:
    """A name in front of deployed model versions.

    Attributes:
        id: ``svco-…``.
        suffix: Name in calls.
        name: For people, as is `description`.
        type: What it is for: chat, embeddings, reranker, text2image, image2text, completions.
        status: New, Deploying, Serving, Failed or Stopped.
        failed_reason: Why it failed; "" if it did not.
        model: Version that takes the calls; `model_set` its model set, "" for none.
        url: Its v1 address.
        replicas: Engines that are to run side by side.
        warm: Whether they run all the time; otherwise the first call loads them.
        loaded: Whether one can answer now.
        idle_seconds: When engines that calls loaded are stopped; None for never.
        priority: Services with a higher one start first.
        fallback: What answers when this one cannot; "" for nothing.
        qps: Calls a second that it takes; 0 for any number.
        deployments: The stable one, the candidate of a rollout, and the one before.
    """

    id: str
    suffix: str
    name: str
    description: str
    type: str
    status: str
    failed_reason: str
    model: str
    model_set: str
    url: str
    replicas: int
    warm: bool
    loaded: bool
    idle_seconds: float | None
    priority: int
    fallback: str
    qps: float
    created_at: datetime
    deployments: tuple[ServiceDeployment, ...]

    @property
    def candidate(self) -> ServiceDeployment | None:
        """The version that is being tried."""
        return next((each for each in self.deployments if each.role == "candidate"), None)


@dataclass(frozen=True, slots=True)
class ServiceUsage:
    """What an application used of a service: calls that were answered and that failed, and tokens."""

    service_id: str
    name: str
    app_id: str
    calls: int
    failed_calls: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """Something that happened to a service."""

    number: int
    at: datetime
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class ServiceLog:
    """The end of what an engine printed; `engine` is its deployment and number."""

    engine: str
    text: str


@dataclass(frozen=True, slots=True)
class PresetService:
    """A name that is answered without a service of its own, what for, at which v1 address, and by which model."""

    name: str
    type: str
    url: str
    model: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file on the server, without its content.

    Attributes:
        id: ``file-…``.
        name: As it was called when it was sent.
        purpose: What it is for: batch, fine-tune, evals, user_data, vision or assistants.
        size_bytes: How long it is.
        created_at: When it was sent; aware.
    """

    id: str
    name: str
    purpose: str
    size_bytes: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TuningParameter:
    """A hyper-parameter.

    Attributes:
        key: Its name, such as ``learningRate``.
        name: For people.
        description: What it does.
        type: int, float, string or boolean.
        check: range (least and most in `values`), choice (one of them) or mult_choice (some of them).
        values: What `check` says.
        default: Its value where nobody says.
    """

    key: str
    name: str
    description: str
    type: str
    check: str
    values: tuple[Any, ...]
    default: Any


@dataclass(frozen=True, slots=True)
class TunableModel:
    """A model that can be tuned.

    Attributes:
        name: To tune it by.
        version_id: The model version behind the name.
        architecture: What it is.
        recipes: By way of training and scale, such as ``("SFT", "LoRA")``: the hyper-parameters.
    """

    name: str
    version_id: str
    architecture: str
    recipes: Mapping[tuple[str, str], tuple[TuningParameter, ...]]


@dataclass(frozen=True, slots=True)
class TuningMetric:
    """What a run measured at a step; None where it did not.

    Attributes:
        step: Steps that were done.
        epoch: How often the rows were seen.
        loss: Of what is trained on.
        eval_loss: Of the rows that are held out.
        learning_rate: Of the step.
        gradient_norm: Length of its gradient.
        tokens_per_second: Tokens that were read.
        more: Everything else that the way of training measures.
    """

    step: int
    epoch: float | None = None
    loss: float | None = None
    eval_loss: float | None = None
    learning_rate: float | None = None
    gradient_norm: float | None = None
    tokens_per_second: float | None = None
    more: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class TuningJob:
    """A model and a way of training it; its runs are tuning tasks.

    Attributes:
        id: ``job-…``.
        name: For people.
        description: For people.
        model: What is trained.
        mode: Way of training, such as SFT.
        created: When.
    """

    id: str
    name: str
    description: str
    model: str
    mode: str
    created: str


@dataclass(frozen=True, slots=True)
class TuningLine:
    """A run in a list.

    Attributes:
        id: ``task-…``.
        job_id: The tuning job; `job_name` is its name.
        model: What is trained.
        mode: Way of training.
        scale: How much of the model is trained.
        status: Waiting, Running, Done, Failed or Stopped.
        created: When it was made; `finished` is None until it has ended.
    """

    id: str
    job_id: str
    job_name: str
    model: str
    mode: str
    scale: str
    status: str
    created: str
    finished: str | None = None


@dataclass(frozen=True, slots=True)
class TuningTask:
    """A run of a tuning job.

    Attributes:
        id: ``task-…``.
        job_id: The tuning job; `job_name` is its name.
        model: What is trained; `base_id` is the model version behind that name.
        mode: Way of training.
        scale: How much of the model is trained.
        status: Waiting, Running, Done, Failed or Stopped.
        percent: How far it is, 0 to 100.
        step: Steps that are done, of `total_steps` (None: nobody knows yet).
        eta_seconds: How long the rest should take.
        note: What it does where it measures nothing.
        last: What was measured last.
        scores: Of the held-out answers once it is Done: BLEU-4, ROUGE-1, ROUGE-2, ROUGE-L in percent.
        checkpoints: Steps that it can be published from, with the loss there.
        hyper_parameters: All of them.
        dataset: What is trained on.
        created: When it was made; `finished` is None until it has ended.
        error: Why it failed.
        work_id: The durable job that does it; `client.jobs.logs` shows what it wrote.
        published_ids: Model versions that were made of it.
    """

    id: str
    job_id: str
    job_name: str
    model: str
    base_id: str
    mode: str
    scale: str
    status: str
    percent: int
    step: int
    total_steps: int | None
    eta_seconds: int | None
    note: str
    last: TuningMetric | None
    scores: Mapping[str, str]
    checkpoints: Mapping[int, float | None]
    hyper_parameters: Mapping[str, Any]
    dataset: Mapping[str, Any]
    created: str
    finished: str | None = None
    error: str = ""
    work_id: str = ""
    published_ids: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether it is Done, Failed or Stopped."""
        return self.status in {"Done", "Failed", "Stopped"}
