"""Small models of every kind, made here, through the real child process."""

import asyncio
import base64
import importlib
import io
import json
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from yangfan.engines import transformers
from yangfan.engines.base import (
    ChatReply,
    ChatRequest,
    CompletionRequest,
    Engine,
    EngineSpec,
    Finish,
    Kind,
    Message,
    ModelFacts,
    Part,
    Sampling,
    Tool,
)
from yangfan.errors import ConfigurationError, ContextTooLong, EngineFailed, Invalid

pytestmark = pytest.mark.skipif(
    transformers.missing() is not None, reason=str(transformers.missing())
)

asyncio_module = pytest.mark.asyncio(loop_scope="module")
"""For tests that share one engine."""

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = [
    "the sea and the wind and the stars",
    "请重复：你好，世界！😀🚀 naïve café",
    '{"city": "Paris"}',
]
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 1024,
}


def library(name: str) -> Any:
    return importlib.import_module(name)


def write_tokenizer(folder: Path, *, bert: bool = False) -> Any:
    """A byte-level tokenizer, trained on a few lines."""
    tokenizers = library("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<pad>", "<image>"]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT * 4, trainer)
    fast = library("transformers").PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<pad>",
        model_max_length=1024,
    )
    if not bert:
        fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return fast


def write_model(folder: Path, class_name: str, config_name: str, **fields: Any) -> Path:
    """A model with random weights."""
    library("torch").manual_seed(7)
    known = library("transformers")
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = write_tokenizer(folder, bert=config_name == "BertConfig")
    config = getattr(known, config_name)(vocab_size=len(tokenizer), **{**SHAPE, **fields})
    model = getattr(known, class_name)(config)
    model.generation_config = None if not model.can_generate() else model.generation_config
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(
        tmp_path_factory.mktemp("hf") / "llama",
        "LlamaForCausalLM",
        "LlamaConfig",
        eos_token_id=2,
        num_key_value_heads=2,
    )


@pytest.fixture
async def start(tmp_path: Path) -> AsyncGenerator[Callable[..., Awaitable[Engine]]]:
    """Starts an engine on a folder; it is stopped after the test."""
    engines: list[Engine] = []

    async def start(
        folder: Path, kind: Kind = "chat", *, slots: int = 16, **options: Any
    ) -> Engine:
        options = {"dtype": "float32", **options}
        spec = EngineSpec("tested", str(folder), slots=slots, threads=1, options=options, kind=kind)
        engine = transformers.create(spec, tmp_path)
        engines.append(engine)
        await engine.start()
        return engine

    yield start
    for engine in engines:
        await engine.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def llama(
    llama_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Engine]:
    """One engine for all tests that only ask it."""
    options = {"dtype": "float32", "prefill_tokens": 7}
    spec = EngineSpec("tested", str(llama_folder), slots=16, threads=1, options=options)
    engine = transformers.create(spec, tmp_path_factory.mktemp("llama"))
    await engine.start()
    yield engine
    await engine.stop()


def go_on(text: str, **sampling: Any) -> CompletionRequest:
    sampling.setdefault("temperature", 0.0)
    return CompletionRequest(text, Sampling(**sampling))


def generate(folder: Path, prompt: str, tokens: int) -> str:
    """What the bare model says."""
    known, torch = library("transformers"), library("torch")
    torch.set_num_threads(1)
    tokenizer = known.AutoTokenizer.from_pretrained(folder)
    model = known.AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    inputs = tokenizer(prompt, return_tensors="pt")
    made = model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        do_sample=False,
        max_new_tokens=tokens,
        pad_token_id=3,
    )[0][inputs["input_ids"].shape[1] :]
    return tokenizer.decode(made, skip_special_tokens=True)


PROMPTS = [f"{'the sea ' * (number % 5)}{number} and the wind" for number in range(16)]


@asyncio_module
async def test_sixteen_answers_at_once_are_those_of_the_bare_model(
    llama: Engine, llama_folder: Path
) -> None:
    lengths = [4 + 3 * (number % 7) for number in range(16)]
    replies = await asyncio.gather(
        *(
            llama.complete(go_on(prompt, max_output_tokens=length))
            for prompt, length in zip(PROMPTS, lengths, strict=True)
        )
    )
    wanted = [
        generate(llama_folder, prompt, length)
        for prompt, length in zip(PROMPTS, lengths, strict=True)
    ]
    assert [reply.answers[0].text for reply in replies] == wanted


@asyncio_module
async def test_log_probabilities_of_a_prompt_are_those_of_the_library(
    llama: Engine, llama_folder: Path
) -> None:
    known, torch = library("transformers"), library("torch")
    text = "the sea and the wind 你好 and the stars 世界 and the sea 🚀 and naïve stars"
    ids = known.AutoTokenizer.from_pretrained(llama_folder)(text)["input_ids"]
    assert len(ids) > 14, "it must be read in several pieces"
    model = known.AutoModelForCausalLM.from_pretrained(llama_folder, dtype="float32")
    with torch.no_grad():
        wanted = model(torch.tensor([ids])).logits[0].log_softmax(-1)

    async def scored(n: int = 1, **sampling: Any) -> tuple[ChatReply, list[list[Any]]]:
        request = msgspec.structs.replace(go_on(text, **sampling), echo=True, logprobs=2, n=n)
        reply = await llama.complete(request)
        return reply, [(answer.logprobs or {})["content"] for answer in reply.answers]

    reply, tokens = await scored(n=2, max_output_tokens=1)
    for answer, (first, *told) in zip(reply.answers, tokens, strict=True):
        assert answer.text.startswith(text)
        assert (first["id"], first["logprob"], first["top_logprobs"]) == (ids[0], None, [])
        assert [token["id"] for token in told[:-1]] == ids[1:]
        for place, token in enumerate(told):
            likely, others = wanted[place].topk(2)
            assert token["logprob"] == pytest.approx(float(wanted[place][token["id"]]), abs=1e-4)
            assert [other["id"] for other in token["top_logprobs"]] == others.tolist()
            found = [other["logprob"] for other in token["top_logprobs"]]
            assert found == pytest.approx(likely.tolist(), abs=1e-4)
    none, (alone,) = await scored(max_output_tokens=0)
    assert (none.answers[0].text, none.answers[0].finish) == (text, Finish.LENGTH)
    assert (none.usage.prompt_tokens, none.usage.completion_tokens) == (len(ids), 0)
    assert alone == tokens[0][:-1]
    # One token behind the prompt is always told, be it the one that ends the text.
    ended, (whole,) = await scored(max_output_tokens=1, logit_bias={"2": 100.0})
    assert (ended.answers[0].text, ended.answers[0].finish) == (text, Finish.NATURAL)
    assert [token["id"] for token in whole] == [*ids, 2]


@pytest.mark.model
@pytest.mark.large
async def test_a_real_models_answers_are_those_of_the_bare_model(
    start: Callable[..., Awaitable[Engine]], smollm2_folder: Path
) -> None:
    engine = await start(smollm2_folder, slots=4)
    replies = await asyncio.gather(
        *(engine.complete(go_on(prompt, max_output_tokens=12)) for prompt in PROMPTS[:4])
    )
    wanted = [generate(smollm2_folder, prompt, 12) for prompt in PROMPTS[:4]]
    assert [reply.answers[0].text for reply in replies] == wanted


async def test_a_model_with_learned_positions_generates_the_same(
    start: Callable[..., Awaitable[Engine]], tmp_path: Path
) -> None:
    folder = write_model(
        tmp_path / "gpt2", "GPT2LMHeadModel", "GPT2Config", eos_token_id=2, bos_token_id=2
    )
    engine = await start(folder)
    replies = await asyncio.gather(
        *(engine.complete(go_on(prompt, max_output_tokens=12)) for prompt in PROMPTS[:4])
    )
    wanted = [generate(folder, prompt, 12) for prompt in PROMPTS[:4]]
    assert [reply.answers[0].text for reply in replies] == wanted


@asyncio_module
async def test_wishes_of_a_request_are_held(llama: Engine, llama_folder: Path) -> None:
    biased = go_on("the sea", logit_bias={"300": 100.0}, max_output_tokens=3)
    (answer,) = (await llama.complete(biased)).answers
    tokenizer = library("transformers").AutoTokenizer.from_pretrained(llama_folder)
    assert answer.text == tokenizer.decode([300] * 3)
    ended = go_on("the sea", logit_bias={"2": 100.0}, max_output_tokens=9)
    assert (await llama.complete(ended)).answers[0].finish is Finish.NATURAL
    delayed = go_on("the sea", logit_bias={"2": 100.0}, min_output_tokens=4, max_output_tokens=9)
    assert (await llama.complete(delayed)).usage.completion_tokens == 5
    for wrong in ("400000", "sea", "-1"):
        with pytest.raises(Invalid, match="logit_bias"):
            await llama.complete(go_on("the sea", logit_bias={wrong: 1.0}))
    with pytest.raises(ContextTooLong, match="1024"):
        await llama.complete(go_on("the sea " * 1200))
    seeded = go_on("the sea", temperature=2.0, seed=5, max_output_tokens=8)
    texts = [(await llama.complete(seeded)).answers[0].text for _ in range(2)]
    assert texts[0] == texts[1]


@asyncio_module
async def test_penalties_are_those_of_transformers_and_of_openai(
    llama: Engine, llama_folder: Path
) -> None:
    """Repetition against the library's own, frequency and presence against the formula of OpenAI's reference."""
    known, torch = library("transformers"), library("torch")
    tokenizer = known.AutoTokenizer.from_pretrained(llama_folder)
    model = known.AutoModelForCausalLM.from_pretrained(llama_folder, dtype="float32")
    ids = tokenizer("the sea and the wind", return_tensors="pt")["input_ids"]
    made = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=12,
        repetition_penalty=1.7,
        pad_token_id=3,
    )[0][ids.shape[1] :]
    request = go_on("the sea and the wind", repetition_penalty=1.7, max_output_tokens=12)
    (answer,) = (await llama.complete(request)).answers
    assert answer.text == tokenizer.decode(made, skip_special_tokens=True)
    plain = (await llama.complete(go_on("the sea and the wind", max_output_tokens=12))).answers[0]
    assert answer.text != plain.text

    told: list[int] = []
    with torch.inference_mode():
        for _ in range(12):
            whole = torch.cat([ids, torch.tensor([told], dtype=ids.dtype)], dim=1)
            logits = model(input_ids=whole).logits[0, -1]
            for token in set(told):
                logits[token] -= 0.4 * told.count(token) + 0.3
            told.append(int(logits.argmax()))
    sampling = {"frequency_penalty": 0.4, "presence_penalty": 0.3, "max_output_tokens": 12}
    (answer,) = (await llama.complete(go_on("the sea and the wind", **sampling))).answers
    assert answer.text == tokenizer.decode(told, skip_special_tokens=True)


async def test_a_template_that_takes_too_long_is_stopped(
    start: Callable[..., Awaitable[Engine]], llama_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "endless"
    shutil.copytree(llama_folder, folder)
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    template = f"{{% if messages[0].content == 'endless' %}}{loops}{{% endif %}}" + TEMPLATE
    for file in folder.glob("chat_template*"):
        file.unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": template}))
    engine = await start(folder, template_seconds=0.3)
    async with asyncio.timeout(20):
        with pytest.raises(Invalid, match="template"):
            await engine.chat(ChatRequest((Message("user", "endless"),)))
    short = ChatRequest((Message("user", "the sea"),), Sampling(max_output_tokens=2))
    assert (await engine.chat(short)).usage.completion_tokens <= 2


SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rom"]}, "sunny": {"type": "boolean"}},
    "required": ["city", "sunny"],
    "additionalProperties": False,
}


@asyncio_module
async def test_a_schema_holds_and_a_bad_one_harms_nobody(llama: Engine) -> None:
    messages = (Message("user", "the sea"),)
    bad = {"type": "json_schema", "json_schema": {"schema": {"type": "nonsense"}}}
    running = asyncio.ensure_future(llama.complete(go_on("the", max_output_tokens=60)))
    with pytest.raises(Invalid, match="schema"):
        await llama.chat(ChatRequest(messages, response_format=bad))
    await running
    good = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
    reply = await llama.chat(
        ChatRequest(messages, Sampling(max_output_tokens=120), n=2, response_format=good)
    )
    for answer in reply.answers:
        assert json.loads(answer.text).keys() == {"city", "sunny"}
    tool = Tool("weather", "Weather", SCHEMA)
    called = await llama.chat(
        ChatRequest(
            messages, Sampling(max_output_tokens=300), tools=(tool,), tool_choice="required"
        )
    )
    (call,) = called.answers[0].function_calls
    assert (call.name, json.loads(call.arguments).keys()) == ("weather", {"city", "sunny"})


@asyncio_module
async def test_a_caller_that_leaves_frees_its_slot(
    llama: Engine,
    wait_until: Callable[[Callable[[], Awaitable[bool]], str], Awaitable[None]],
) -> None:

    async def idle() -> bool:
        return (await llama.slots()).busy == 0

    bias = {"2": -100.0}
    request = go_on("the sea", max_output_tokens=900, logit_bias=bias)
    async with aclosing(llama.complete_stream(request)) as stream:
        await anext(stream)
        assert (await llama.slots()).busy == 1
    await wait_until(idle, "a free slot")


THINKS = "{% for m in messages %}{{ m.content }}{% endfor %}<|im_start|>assistant\n<think>"


async def test_a_thought_ends_when_it_has_had_all_its_tokens(
    start: Callable[..., Awaitable[Engine]], tiny_chat_folder: Path
) -> None:
    """The model would think for ever; whatever runs beside it goes on as if nothing had been written for another."""
    engine = await start(tiny_chat_folder, chat_template=THINKS)
    asked = ChatRequest(
        (Message("user", "Tell me a long story about the sea. "),),
        Sampling(max_output_tokens=40, temperature=0.0),
    )
    wanted = [
        msgspec.structs.replace(asked, thinking_budget=budget) for budget in (None, 0, 1, 12, 500)
    ]
    replies = await asyncio.gather(*map(engine.chat, wanted))
    endless, none, one, twelve, more = [reply.answers[0] for reply in replies]
    assert endless.text == more.text == ""
    assert endless.reasoning == more.reasoning
    assert none.reasoning == ""
    assert 0 < len(one.reasoning) < len(twelve.reasoning) < len(endless.reasoning)
    assert endless.reasoning.startswith(twelve.reasoning)
    assert all(answer.text for answer in (none, one, twelve))
    assert 12 <= replies[3].usage.reasoning_tokens <= 12 + len("\n</think>\n\n")
    assert all(reply.usage.completion_tokens <= 40 for reply in replies)


# Encoders -----------------------------------------------------------------------------------------


async def test_vectors_are_those_of_the_library(
    start: Callable[..., Awaitable[Engine]], minilm_folder: Path
) -> None:
    engine = await start(minilm_folder, "embeddings")
    assert engine.spec.slots == (await engine.slots()).total == transformers.CALLS_AT_ONCE
    texts = ["a lighthouse by the sea", "你好，世界", "x", "one two three " * 40]
    reply = await engine.embed(texts)
    known, torch = library("transformers"), library("torch")
    tokenizer = known.AutoTokenizer.from_pretrained(minilm_folder)
    model = known.AutoModel.from_pretrained(minilm_folder)
    tokens = 0
    for text, vector in zip(texts, reply.vectors, strict=True):
        inputs = tokenizer(text, return_tensors="pt")
        tokens += inputs["input_ids"].shape[1]
        with torch.no_grad():
            wanted = model(**inputs).last_hidden_state.mean(1)[0]
        found = torch.tensor(vector)
        assert float(torch.nn.functional.cosine_similarity(wanted, found, dim=0)) >= 0.9999
        assert float(found.norm()) == pytest.approx(1, abs=1e-5)
    assert reply.usage.prompt_tokens == tokens
    with pytest.raises(ContextTooLong):
        await engine.embed(["word " * 3000])
    assert len((await engine.embed(["word " * 3000], max_tokens=100)).vectors) == 1


async def test_scores_are_those_of_the_library(
    start: Callable[..., Awaitable[Engine]], tmp_path: Path
) -> None:
    folder = write_model(
        tmp_path / "cross",
        "BertForSequenceClassification",
        "BertConfig",
        num_labels=1,
        initializer_range=0.5,
    )
    engine = await start(folder, "rerank")
    documents = ["the wind", "the stars and the sea", "你好"]
    reply = await engine.rerank("the sea", documents)
    known, torch = library("transformers"), library("torch")
    tokenizer = known.AutoTokenizer.from_pretrained(folder)
    model = known.AutoModelForSequenceClassification.from_pretrained(folder)
    for document, score in zip(documents, reply.scores, strict=True):
        with torch.no_grad():
            wanted = model(**tokenizer("the sea", document, return_tensors="pt")).logits.sigmoid()
        assert score == pytest.approx(float(wanted[0, 0]), abs=1e-4)


# Pictures ---------------------------------------------------------------------------------------


async def test_a_model_that_sees_tells_pictures_apart(
    start: Callable[..., Awaitable[Engine]], tmp_path: Path
) -> None:
    folder = write_eyes(tmp_path / "llava")
    engine = await start(folder, "vision")
    assert engine.kinds == {"chat", "vision"}
    replies: list[str] = []
    for colour in ("red", "blue"):
        parts = (Part(text="the sea"), Part(image_url=picture(colour)))
        request = ChatRequest(
            (Message("user", parts),), Sampling(max_output_tokens=8, temperature=0)
        )
        reply = await engine.chat(request)
        assert reply.usage.prompt_tokens == await engine.count_tokens(request.messages)
        replies.append(reply.answers[0].text)
        both = await engine.chat(msgspec.structs.replace(request, n=2))
        assert [answer.text for answer in both.answers] == [replies[-1]] * 2
        assert both.usage.prompt_tokens == reply.usage.prompt_tokens
        assert both.usage.completion_tokens == 2 * reply.usage.completion_tokens
    assert replies[0] != replies[1]
    plain = ChatRequest((Message("user", "the sea"),), Sampling(max_output_tokens=4))
    assert (await engine.chat(plain)).usage.completion_tokens <= 4
    for url, reason in (
        ("data:image/png;base64,iVBORw0KGgo=", "cannot be read"),
        ("https://example.com/a.png", "data URI"),
        (picture("red", size=(5000, 5000)), "pixels"),
    ):
        request = ChatRequest((Message("user", (Part(image_url=url),)),))
        with pytest.raises(Invalid, match=reason):
            await engine.chat(request)


def picture(colour: str, size: tuple[int, int] = (40, 30)) -> str:
    file = io.BytesIO()
    library("PIL.Image").new("RGB", size, colour).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def write_eyes(folder: Path) -> Path:
    """A vision-language model with random weights: 4 patches of a picture, then the text."""
    known = library("transformers")
    folder.mkdir()
    tokenizer = write_tokenizer(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    text = known.LlamaConfig(vocab_size=len(tokenizer), eos_token_id=2, **SHAPE)
    vision = known.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=16,
        projection_dim=32,
    )
    library("torch").manual_seed(7)
    model = known.LlavaForConditionalGeneration(
        known.LlavaConfig(
            text_config=text, vision_config=vision, image_token_id=image_token, image_seq_length=4
        )
    )
    for weight in model.parameters():
        weight.data *= 4
    model.save_pretrained(folder)
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for p in m.content %}"
        "{% if p.type == 'image' %}<image>{% else %}{{ p.text }}{% endif %}{% endfor %}<|im_end|>\n"
        "{% endfor %}<|im_start|>assistant\n"
    )
    shape = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    pictures = library("transformers.models.clip.image_processing_pil_clip").CLIPImageProcessorPil(
        **shape
    )
    tokenizer.image_token = "<image>"
    known.LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    ).save_pretrained(folder)
    return folder


# What is refused ----------------------------------------------------------------------------------


@asyncio_module
async def test_images_are_refused_by_a_model_that_has_no_eyes(llama: Engine) -> None:
    picture = Part(image_url="data:image/png;base64,iVBORw0KGgo=")
    with pytest.raises(Invalid, match="images"):
        await llama.chat(ChatRequest((Message("user", (picture,)),)))


def test_a_folder_without_weights_is_refused_and_so_are_weights_that_are_not_whole(
    llama_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ConfigurationError, match=r"has no \.safetensors file"):
        transformers.create(EngineSpec("tested", str(folder)), tmp_path)
    whole = (llama_folder / "model.safetensors").read_bytes()
    for content, says in (
        (whole[:-1], "cut short: it has"),
        (whole[:100], "no safetensors file, or cut short"),
        (b"\x02\0\0\0\0\0\0\0{]", "header cannot be read"),
        (b"\x80\x04\x95pickle.", "no safetensors file"),
    ):
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(ConfigurationError, match=says):
            transformers.create(EngineSpec("tested", str(folder)), tmp_path)


async def test_a_folder_that_the_library_cannot_load_fails_and_says_so(
    llama_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    shutil.copytree(llama_folder, folder)
    (folder / "config.json").write_text('{"model_type": "nobody knows"}')
    engine = transformers.create(EngineSpec("tested", str(folder)), tmp_path)
    with pytest.raises(EngineFailed, match="could not load"):
        await engine.start()


def test_an_engine_without_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="folder"):
        transformers.create(EngineSpec("tested", str(tmp_path / "absent")), tmp_path)


def test_models_with_an_encoder_of_their_own_are_not_taken() -> None:
    facts = ModelFacts("safetensors", "chat", "T5ForConditionalGeneration")
    assert transformers.fit(facts).rank is None
    assert transformers.fit(ModelFacts("safetensors", "chat", "LlamaForCausalLM")).rank


async def test_a_chat_template_of_the_options_takes_the_place_of_the_models_own(
    tmp_path: Path, llama_folder: Path
) -> None:
    template = "{%- for m in messages -%}<{{ m.role }}>{{ m.content }}{%- endfor -%}"
    spec = EngineSpec("tested", str(llama_folder), options={"chat_template": template})
    engine = transformers.create(spec, tmp_path)
    await engine.start()
    try:
        counted = await engine.count_tokens([Message("user", "hello there")])
        bare = await engine.count_text_tokens("<user>hello there")
        assert 0 <= bare - counted <= 1  # a bare text may get a beginning of its own
    finally:
        await engine.stop()
