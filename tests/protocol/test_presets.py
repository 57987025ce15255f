"""Specification B.12, C.8: every documented name is known, with its path and limits."""

from __future__ import annotations

import pytest

from yangfan.protocol.presets import Presets, load

# Name, suffix, optional-key set, characters and tokens of the official SDK's table (the documentation allows more for
# some models, and then the larger value stands).
ROWS = (
    ("ERNIE-4.0-8K-Latest", "ernie-4.0-8k-latest", "K1", 20000, 5120),
    ("ERNIE-4.0-8K-0613", "ernie-4.0-8k-0613", "K1", 20000, 5120),
    ("ERNIE-4.0-Turbo-8K", "ernie-4.0-turbo-8k", "K1", 20000, 5120),
    ("ERNIE-4.0-Turbo-8K-Latest", "ernie-4.0-turbo-8k-latest", "K1", 20000, 5120),
    ("ERNIE-4.0-Turbo-8K-Preview", "ernie-4.0-turbo-8k-preview", "K1", 20000, 5120),
    ("ERNIE-Lite-AppBuilder-8K-0614", "ai_apaas_lite", "K2", 11200, 7168),
    ("ERNIE-3.5-8K-0701", "ernie-3.5-8k-0701", "K3", 20000, 5120),
    ("ERNIE-3.5-8K-0613", "ernie-3.5-8k-0613", "K3", 20000, 5120),
    ("ERNIE-Lite-Pro-8K", "ernie-lite-pro-8k", "K4", 24000, 6144),
    ("ERNIE-Lite-8K-0922", "eb-instant", "K4", 11200, 7168),
    ("ERNIE-Lite-8K-0308", "ernie-lite-8k", "K5", 11200, 7168),
    ("ERNIE-Lite-V", "ernie-lite-v", "K5", 11200, 7168),
    ("ERNIE-3.5-8K", "completions", "K6", 20000, 5120),
    ("ERNIE-4.0-8K", "completions_pro", "K7", 20000, 5120),
    ("ERNIE-4.0-8K-0329", "ernie-4.0-8k-0329", "K7", 20000, 5120),
    ("ERNIE-4.0-8K-0104", "ernie-4.0-8k-0104", "K7", 20000, 5120),
    ("ERNIE-4.0-8K-Preview-0518", "completions_adv_pro", "K7", 20000, 5120),
    ("ERNIE-4.0-8K-preview", "ernie-4.0-8k-preview", "K7", 20000, 5120),
    ("ERNIE-3.5-128K", "ernie-3.5-128k", "K6", 516096, 126976),
    ("ERNIE-3.5-8K-preview", "ernie-3.5-8k-preview", "K6", 20000, 5120),
    ("ERNIE-3.5-8K-0205", "ernie-3.5-8k-0205", "K6", 20000, 5120),
    ("ERNIE-3.5-8K-0329", "ernie-3.5-8k-0329", "K6", 8000, 2048),
    ("ERNIE-Speed-Pro-8K", "ernie-speed-pro-8k", "K8", 24000, 6144),
    ("ERNIE-Speed-8K", "ernie_speed", "K8", 11200, 7168),
    ("ERNIE-Speed-Pro-128K", "ernie-speed-pro-128k", "K9", 516096, 126976),
    ("ERNIE-Speed-128K", "ernie-speed-128k", "K9", 507904, 126976),
    ("ERNIE Speed-AppBuilder", "ai_apaas", "K10", 11200, 7168),
    ("ERNIE-Tiny-8K", "ernie-tiny-8k", "K8", 24000, 6144),
    ("ERNIE-Novel-8K", "ernie-novel-8k", "K11", 24000, 6144),
    ("ERNIE-Function-8K", "ernie-func-8k", "K12", 24000, 6144),
    ("Qianfan-Dynamic-8K", "qianfan-dynamic-8k", "K13", 20000, 5120),
    ("ERNIE-Character-8K", "ernie-char-8k", "K12", 24000, 6144),
    ("ERNIE-Character-Fiction-8K", "ernie-char-fiction-8k", "K12", 24000, 6144),
    ("BLOOMZ-7B", "bloomz_7b1", "K14", 4800, None),
    ("Llama-2-7B-Chat", "llama_2_7b", "K14", 4800, None),
    ("Llama-2-13B-Chat", "llama_2_13b", "K14", 4800, None),
    ("Llama-2-70B-Chat", "llama_2_70b", "K14", 4800, None),
    ("Meta-Llama-3-8B", "llama_3_8b", "K14", 4800, None),
    ("Meta-Llama-3-70B", "llama_3_70b", "K14", 4800, None),
    ("Qianfan-BLOOMZ-7B-compressed", "qianfan_bloomz_7b_compressed", "K14", 4800, None),
    ("Qianfan-Chinese-Llama-2-7B", "qianfan_chinese_llama_2_7b", "K14", 4800, None),
    ("ChatGLM2-6B-32K", "chatglm2_6b_32k", "K14", 4800, None),
    ("AquilaChat-7B", "aquilachat_7b", "K14", 4800, None),
    ("XuanYuan-70B-Chat-4bit", "xuanyuan_70b_chat", "K14", 4800, None),
    ("Qianfan-Chinese-Llama-2-13B", "qianfan_chinese_llama_2_13b", "K14", 4800, None),
    ("Qianfan-Chinese-Llama-2-70B", "qianfan_chinese_llama_2_70b", "K14", 4800, None),
    ("ChatLaw", "chatlaw", "K15", 4800, None),
    ("Yi-34B-Chat", "yi_34b_chat", "K14", 4800, None),
    ("Mixtral-8x7B-Instruct", "mixtral_8x7b_instruct", "K14", 4800, None),
    ("Gemma-7B-it", "gemma_7b_it", "K14", 4800, None),
)

KEY_COUNTS = {
    "K1": 14, "K2": 12, "K3": 16, "K4": 9, "K5": 11, "K6": 17, "K7": 15, "K8": 13,
    "K9": 12, "K10": 8, "K11": 15, "K12": 8, "K13": 14, "K14": 9, "K15": 6,
}  # fmt: skip


@pytest.fixture(scope="module")
def presets() -> Presets:
    return load()


@pytest.mark.parametrize(("name", "suffix", "keys", "chars", "tokens"), ROWS)
def test_every_row_of_the_documented_table_is_known(
    presets: Presets, name: str, suffix: str, keys: str, chars: int, tokens: int | None
) -> None:
    preset = presets.find(name)
    assert preset is not None
    assert (preset.name, preset.suffix, preset.type) == (name, suffix, "chat")
    assert preset is presets.find(suffix)
    assert len(preset.optional_keys) == KEY_COUNTS[keys]
    assert preset.max_input_chars is not None
    assert preset.max_input_chars >= chars
    assert (preset.max_input_tokens or 0) >= (tokens or 0)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("ernie_speed", "ERNIE-Speed-8K"),
        ("ERNIE-Speed-8K", "ERNIE-Speed-8K"),
        ("ERNIE-Speed", "ERNIE-Speed-8K"),
        ("ERNIE Speed", "ERNIE-Speed-8K"),
        ("ernie-speed-8k", "ERNIE-Speed-8K"),
        ("ERNIE 3.5", "ERNIE-3.5-8K"),
        ("ERNIE-Lite-8K", "ERNIE-Lite-8K-0308"),
        ("ERNIE-4.0-preview", "ERNIE-4.0-8K-preview"),
        ("ERNIE-3.5-preview", "ERNIE-3.5-8K-preview"),
        ("ERNIE-Functions-8K", "ERNIE-Function-8K"),
        ("completions_pro", "ERNIE-4.0-8K"),
        ("ERNIE-Bot-4", "ERNIE-4.0-8K"),
        ("ERNIE-Bot", "ERNIE-3.5-8K"),
        ("completions", "ERNIE-3.5-8K"),
        ("ERNIE-Bot-turbo", "ERNIE-Lite-8K-0922"),
        ("eb-instant", "ERNIE-Lite-8K-0922"),
        ("EB-turbo-AppBuilder", "ERNIE Speed-AppBuilder"),
        ("ERNIE-Bot-turbo-AI", "ERNIE Speed-AppBuilder"),
        ("ernie_bot_8k", "ERNIE-Bot-8k"),
        ("ernie-3.5-4k-0205", "ERNIE-3.5-4K-0205"),
        ("ernie-3.5-8k-1222", "ERNIE-3.5-8K-1222"),
        ("completions_preemptible", "ERNIE-3.5-8K-preemptible"),
        ("completions_pro_preemptible", "ERNIE-4.0-8K-preemptible"),
        ("ernie-3.5-128k-preview", "ERNIE-3.5-128K-Preview"),
        ("ernie-lite-128k", "ERNIE-Lite-128K"),
        ("bce-reranker-base", "bce-reranker-base_v1"),
        ("bge_large_zh", "bge-large-zh"),
        ("sd_xl", "Stable-Diffusion-XL"),
        ("Internvl3", "internvl3-38b"),
    ],
)
def test_aliases_and_suffixes_find_their_model(presets: Presets, spelling: str, name: str) -> None:
    preset = presets.find(spelling)
    assert preset is not None
    assert preset.name == name


@pytest.mark.parametrize(
    "name",
    [
        "ernie-4.0-8k-latest",
        "ernie-4.0-8k-preview",
        "ernie-4.0-8k",
        "ernie-4.0-turbo-8k-latest",
        "ernie-4.0-turbo-8k-preview",
        "ernie-4.0-turbo-8k",
        "ernie-4.0-turbo-128k",
        "ernie-3.5-8k-preview",
        "ernie-3.5-8k",
        "ernie-3.5-128k",
        "ernie-speed-8k",
        "ernie-speed-128k",
        "ernie-speed-pro-128k",
        "ernie-lite-8k",
        "ernie-lite-pro-128k",
        "ernie-tiny-8k",
        "ernie-char-8k",
        "ernie-char-fiction-8k",
        "ernie-novel-8k",
        "deepseek-v3",
        "deepseek-r1",
        "deepseek-v3.2",
        "embedding-v1",
        "bge-large-en",
        "tao-8k",
        "qwen3-embedding-0.6b",
        "qwen3-embedding-4b",
        "qwen3-embedding-8b",
        "bge-large-zh",
        "bce-reranker-base",
    ],
)
def test_every_name_of_v2_is_known_and_listed(presets: Presets, name: str) -> None:
    preset = presets.find(name)
    assert preset is not None
    assert preset.v2_name == name


def test_an_unknown_name_finds_nothing(presets: Presets) -> None:
    assert presets.find("gpt-4") is None
    assert presets.find("") is None


def test_no_spelling_belongs_to_two_models(presets: Presets) -> None:
    owners: dict[str, str] = {}
    for preset in presets.all:
        for spelling in preset.spellings:
            assert owners.setdefault(spelling.casefold(), preset.name) == preset.name


def test_limits_and_defaults_follow_the_family(presets: Presets) -> None:
    main, long, lite, llama = (
        presets.find(name)
        for name in ("ERNIE-4.0-8K", "ERNIE-3.5-128K", "ERNIE-Lite-8K", "Llama-2-7B-Chat")
    )
    assert main
    assert (main.default_output_tokens, main.max_output_tokens) == (1024, 2048)
    assert (main.default_temperature, main.default_top_p, main.family) == (0.8, 0.8, "ernie")
    assert long
    assert (long.default_output_tokens, long.max_output_tokens) == (4096, 4096)
    assert lite
    assert (lite.default_temperature, lite.default_top_p) == (0.95, 0.7)
    assert llama
    assert (llama.family, llama.max_input_tokens) == ("open", None)
    assert "top_k" in llama.optional_keys


def test_only_speed_and_lite_have_a_frequency_penalty_by_default(presets: Presets) -> None:
    having = {preset.name for preset in presets.all if preset.default_frequency_penalty is not None}
    assert {"ERNIE-Speed-8K", "ERNIE-Lite-8K-0308", "ERNIE-Tiny-8K", "ERNIE-Speed-128K"} <= having
    assert not having & {"ERNIE-4.0-8K", "ERNIE-3.5-128K", "ERNIE-Lite-8K-0922", "Yi-34B-Chat"}
    assert all(
        "frequency_penalty" in preset.optional_keys
        for preset in presets.all
        if preset.name in having
    )
    assert {preset.default_frequency_penalty for preset in presets.all} == {None, 0.1}


def test_the_larger_of_two_documented_limits_stands(presets: Presets) -> None:
    speed, speed_long = presets.find("ERNIE-Speed-8K"), presets.find("ERNIE-Speed-128K")
    assert speed
    assert (speed.max_input_chars, speed.max_input_tokens) == (24000, 7168)
    assert speed_long
    assert speed_long.max_input_chars == 516096


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SQLCoder-7B", "completions"),
        ("Embedding-V1", "embeddings"),
        ("bce-reranker-base_v1", "reranker"),
        ("Stable-Diffusion-XL", "text2image"),
        ("Fuyu-8B", "image2text"),
    ],
)
def test_other_kinds_say_what_they_do(presets: Presets, name: str, kind: str) -> None:
    preset = presets.find(name)
    assert preset is not None
    assert preset.type == kind
