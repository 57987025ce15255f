"""An engine whose child process speaks OpenAI-shaped HTTP on loopback: everything but what starts the child."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

from yangfan.engines.base import (
    ChatReply,
    ChatRequest,
    CompletionRequest,
    Delta,
    EmbeddingsReply,
    EngineSpec,
    ImageRequest,
    ImagesReply,
    Kind,
    Message,
    RerankReply,
    Slots,
)
from yangfan.engines.wire.chat import (
    decode_reply,
    encode_messages,
    encode_request,
    gather_reply,
    read_deltas,
)
from yangfan.engines.wire.completion import completed, encode_completion
from yangfan.engines.wire.embeddings import (
    EmbeddingsBody,
    RerankBody,
    TextOrTokens,
    embeddings_of,
    scores_of,
)
from yangfan.engines.wire.errors import refusal
from yangfan.engines.wire.images import encode_images, images_of
from yangfan.engines.wire.pool import Pool
from yangfan.engines.wire.reasoning import OPENING_TAG
from yangfan.engines.wire.types import (
    DetokenizeBody,
    Detokenized,
    LoraScale,
    Prompt,
    SlotState,
    TemplateBody,
    TokenizeBody,
    Tokens,
)
from yangfan.errors import EngineFailed, Invalid

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from yangfan.engines.base import TextOrIds
    from yangfan.engines.process import ChildProcess

CONTROL_TIMEOUT_SECONDS = 30.0
"""How long the child may take for anything but generating."""

_CHAT_PATH = "/v1/chat/completions"
_COMPLETION_PATH = "/v1/completions"
_EMBEDDINGS_PATH = "/v1/embeddings"
_RERANK_PATH = "/v1/rerank"
_IMAGES_PATH = "/v1/images/generations"
_T = TypeVar("_T")


class Ready(msgspec.Struct):
    """The child's ready line.

    Attributes:
        port: Where it listens on 127.0.0.1.
        context_tokens: Prompt and answer of one request together.
        vocabulary_tokens: Token ids are below this; 0 where the child does not say.
    """

    port: int
    context_tokens: int
    vocabulary_tokens: int = 0


class ChildEngine:
    """`yangfan.engines.base.Engine` over a child that answers /health, /slots, /tokenize, /apply-template, chats and completions."""

    SHOWS_THOUGHTS: ClassVar[bool] = False
    """Whether the child leaves a model's thoughts in its text without the tag that its template opens them with, so that it has to be known here."""

    SCORES_PROMPTS: ClassVar[bool] = False
    """Whether the child tells log-probabilities of a prompt's tokens."""

    def __init__(
        self,
        spec: EngineSpec,
        process: ChildProcess,
        config: Mapping[str, Any],
        ready_type: type[Ready] = Ready,
        kinds: frozenset[Kind] = frozenset({"chat"}),
    ) -> None:
        """Describe the engine; nothing runs yet.

        Args:
            spec: What was asked for.
            process: The child that `start` starts.
            config: What the child is told as JSON, besides the `api_key` that callers must present.
            ready_type: What its ready line holds.
            kinds: What the model can be asked for.
        """
        self.spec = spec
        self.kinds = kinds
        self.context_tokens = spec.context_tokens or 0
        self._vocabulary_tokens = 0
        self._process = process
        self._config = config
        self._ready_type = ready_type
        self._pool: Pool | None = None
        self._thoughts: dict[bool | None, bool] = {}
        """By `enable_thinking`: whether answers begin inside a thought."""

    @property
    def running(self) -> bool:
        """Whether the child is up and answered its health check since it was last started."""
        return self._pool is not None and self._process.alive

    @property
    def pid(self) -> int | None:
        """Process id of the child, None while there is none."""
        return self._process.pid

    async def start(self) -> None:
        """Start the child and return when it can answer; EngineFailed with the tail of its log otherwise."""
        await self.stop()
        api_key = secrets.token_urlsafe(32)
        config = msgspec.json.encode({**self._config, "api_key": api_key})
        ready = msgspec.json.decode(await self._process.start(config), type=self._ready_type)
        self._became_ready(ready)
        self._pool = Pool("127.0.0.1", ready.port, api_key)
        try:
            await self._ask("/health", None)  # the body of some is empty
            self._thoughts.clear()
            if self.SHOWS_THOUGHTS and "chat" in self.kinds:
                await self._learn_thoughts()
        except BaseException:
            await self.stop()
            raise

    async def wait_died(self) -> None:
        """Return when the child that is running now has ended, however it ended."""
        await self._process.wait_died()

    async def stop(self) -> None:
        """End the child: politely, then by force. Never raises; a second call does nothing."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        await self._process.stop()

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Generate and return whole answers."""
        body = encode_request(
            self.spec.model, request, stream=False, lora=self._lora(request.adapter)
        )
        status, reply = await self._connected().post(_CHAT_PATH, body)
        if status != 200:
            raise refusal(status, reply)
        answered = decode_reply(reply, inside=self._begins_in_thought(request))
        for answer in answered.answers:
            if answer.reasoning:
                return await self._with_thoughts(answered)
        return answered

    def chat_stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        """Generate and yield as tokens come. The generator must be closed (`aclosing`)."""
        body = encode_request(
            self.spec.model, request, stream=True, lora=self._lora(request.adapter)
        )
        events = self._connected().stream(_CHAT_PATH, body)
        return read_deltas(events, request.n, inside=self._begins_in_thought(request))

    async def complete(self, request: CompletionRequest) -> ChatReply:
        """Continue a text and return whole continuations, gathered from a stream: a caller that leaves is noticed."""
        async with aclosing(self.complete_stream(request)) as deltas:
            return await gather_reply(deltas, request.n)

    def complete_stream(self, request: CompletionRequest) -> AsyncGenerator[Delta]:
        """Continue a text and yield as tokens come. The generator must be closed (`aclosing`)."""
        if request.echo and request.logprobs is not None and not self.SCORES_PROMPTS:
            raise Invalid(
                f"the engine that runs {self.spec.model} tells no log-probabilities of a prompt; leave echo or logprobs out, or ask a model that the"
                " transformers or the vllm engine runs (a folder of safetensors)",
                param="echo",
            )
        body = encode_completion(self.spec.model, request, lora=self._lora(request.adapter))
        events = self._connected().stream(_COMPLETION_PATH, body)
        return completed(read_deltas(events, request.n), request)

    async def embed(
        self,
        texts: Sequence[TextOrIds],
        *,
        max_tokens: int | None = None,
        dimensions: int | None = None,
    ) -> EmbeddingsReply:
        """Turn each text into a vector; what a text has beyond `max_tokens` is left out."""
        del dimensions
        cut: list[TextOrTokens] = [await self._cut(text, max_tokens) for text in texts]
        body = msgspec.json.encode(EmbeddingsBody(self.spec.model, cut))
        status, reply = await self._connected().post(_EMBEDDINGS_PATH, body)
        if status != 200:
            raise refusal(status, reply)
        return embeddings_of(reply, len(texts))

    async def embed_picture(self, text: str, picture: str) -> EmbeddingsReply:
        """No child here turns pictures into vectors."""
        del text, picture
        raise Invalid(
            f"{self.spec.model} does not turn pictures into vectors; leave image out", param="input"
        )

    async def rerank(self, query: str, documents: Sequence[str]) -> RerankReply:
        """Tell how relevant each document is to `query`."""
        body = msgspec.json.encode(RerankBody(self.spec.model, query, list(documents)))
        status, reply = await self._connected().post(_RERANK_PATH, body)
        if status != 200:
            raise refusal(status, reply)
        return scores_of(reply, documents)

    async def generate_images(self, request: ImageRequest) -> ImagesReply:
        """Draw pictures."""
        status, reply = await self._connected().post(_IMAGES_PATH, encode_images(request))
        if status != 200:
            raise refusal(status, reply)
        return images_of(reply, request.n)

    async def _cut(self, text: TextOrIds, max_tokens: int | None) -> TextOrTokens:
        if not isinstance(text, str):
            return text if max_tokens is None else text[:max_tokens]
        # No token is shorter than a byte, and two special ones stand around them.
        if max_tokens is None or len(text.encode("utf-8", "replace")) + 2 <= max_tokens:
            return text
        tokens = await self._tokens(text)
        if len(tokens) <= max_tokens:
            return text
        return [*tokens[: max_tokens - 1], tokens[-1]]  # the last one marks the end of the text

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt that `messages` become under the model's own chat template."""
        template = TemplateBody(encode_messages(messages))
        prompt = await self._control("/apply-template", template, Prompt)
        return await self.count_text_tokens(prompt.prompt)

    async def count_text_tokens(self, text: str) -> int:
        """Tokens of `text` as it stands."""
        return len(await self._tokens(text))

    async def decode(self, ids: Sequence[int]) -> str | None:
        """The text that token ids are; Invalid for one that is not in the model's vocabulary, None where the child has no text for them."""
        await self._require_known(ids)
        return await self._detokenized(ids)

    async def _require_known(self, ids: Sequence[int]) -> None:
        size = await self._vocabulary()
        if not size:
            raise Invalid(f"{self.spec.model} takes no token ids")
        least, most = min(ids, default=0), max(ids, default=0)
        if least < 0 or most >= size:
            wrong = least if least < 0 else most
            raise Invalid(f"{self.spec.model} has no token {wrong}, its ids are 0 to {size - 1}")

    async def _vocabulary(self) -> int:
        """Token ids are below this; 0 where nobody says."""
        return self._vocabulary_tokens

    async def _detokenized(self, ids: Sequence[int]) -> str | None:
        return (await self._control("/detokenize", DetokenizeBody(ids), Detokenized)).content

    async def _with_thoughts(self, reply: ChatReply) -> ChatReply:
        """The reply with its thoughts counted: children tell one number for an answer and what came before it."""
        counts = [
            len((await self._control("/tokenize", body, Tokens)).tokens)
            for answer in reply.answers
            if answer.reasoning
            for body in [TokenizeBody(answer.reasoning, add_special=False)]
        ]
        told = reply.usage
        thoughts = min(sum(counts), told.completion_tokens)
        return msgspec.structs.replace(
            reply, usage=msgspec.structs.replace(told, reasoning_tokens=thoughts)
        )

    async def prompt_tokens(self, messages: Sequence[Message]) -> list[int]:
        """Tokens that `messages` become under the model's own chat template, for comparing engines."""
        template = TemplateBody(encode_messages(messages))
        prompt = await self._control("/apply-template", template, Prompt)
        return await self.text_tokens(prompt.prompt)

    async def text_tokens(self, text: str) -> list[int]:
        """Tokens of `text` as it stands, for comparing engines."""
        return [msgspec.json.decode(token, type=int) for token in await self._tokens(text)]

    async def _tokens(self, text: str) -> list[msgspec.Raw]:
        return (await self._control("/tokenize", TokenizeBody(text), Tokens)).tokens

    async def slots(self) -> Slots:
        """How busy the child is now."""
        states = await self._control("/slots", None, list[SlotState])
        return Slots(busy=sum(state.is_processing for state in states), total=len(states))

    async def _learn_thoughts(self) -> None:
        """Find out whether the model's chat template opens a thought, which is in no answer then but at its end."""
        for thinking in (None, True, False):
            kwargs = None if thinking is None else {"enable_thinking": thinking}
            asked = TemplateBody(encode_messages([Message("user", "Hi")]), kwargs)
            try:
                prompt = (await self._control("/apply-template", asked, Prompt)).prompt
            except EngineFailed:
                continue  # a template that does not render a plain question; each request will tell
            self._thoughts[thinking] = prompt.rstrip().endswith(OPENING_TAG)

    def _begins_in_thought(self, request: ChatRequest) -> bool:
        """Whether the answer begins inside a thought. A grammar leaves no room for one."""
        return request.response_format is None and self._thoughts.get(
            request.enable_thinking, False
        )

    def _lora(self, adapter: str | None) -> list[LoraScale] | None:
        """What the child is told of adapters; of those that take theirs by number."""
        del adapter
        return None

    def _became_ready(self, ready: Ready) -> None:
        """Take over what only the started child knows."""
        self.context_tokens = ready.context_tokens
        self._vocabulary_tokens = ready.vocabulary_tokens

    def _connected(self) -> Pool:
        if self._pool is None:
            raise EngineFailed("the engine is not running; start it first")
        return self._pool

    async def _control(self, path: str, body: msgspec.Struct | None, reply_type: type[_T]) -> _T:
        reply = await self._ask(path, body)
        try:
            return msgspec.json.decode(reply, type=reply_type)
        except msgspec.DecodeError as error:
            raise EngineFailed(f"the engine's answer to {path} makes no sense: {error}") from error

    async def _ask(self, path: str, body: msgspec.Struct | None) -> bytes:
        pool = self._connected()
        try:
            async with asyncio.timeout(CONTROL_TIMEOUT_SECONDS):
                status, reply = (
                    await pool.get(path)
                    if body is None
                    else await pool.post(path, msgspec.json.encode(body))
                )
        except TimeoutError:
            raise EngineFailed(
                f"the engine did not answer {path} within {CONTROL_TIMEOUT_SECONDS:g} s"
            ) from None
        if status != 200:
            raise refusal(status, reply)
        return reply
