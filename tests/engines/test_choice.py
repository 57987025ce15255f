"""Which engine runs a model: by format, by what is installed, by what the settings say, and why."""

import sys
from pathlib import Path

import pytest

from yangfan.engines import llama_cpp, transformers, vllm
from yangfan.engines.base import Kind, ModelFacts
from yangfan.engines.choice import choose
from yangfan.errors import ConfigurationError

PYTHON = {"python": sys.executable}


@pytest.mark.parametrize("kind", ["embeddings", "rerank"])
def test_encoders_go_to_transformers_which_is_faster_and_else_to_llama_cpp(
    monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    monkeypatch.setattr(transformers, "missing", lambda: None)
    monkeypatch.setattr(llama_cpp, "missing", lambda: None)
    bert = ModelFacts("safetensors", kind, "BertModel", becomes="gguf")
    choice = choose(bert)
    assert (choice.engine, choice.converted) == ("transformers", False)
    assert "fastest here for texts" in choice.reason
    (told,) = [line for line in choice.others if line.startswith("llama_cpp")]
    assert "once it is converted to gguf" in told
    named = choose(bert, "llama_cpp")
    assert (named.engine, named.converted) == ("llama_cpp", True)

    monkeypatch.setattr(transformers, "missing", lambda: "pip install it")
    choice = choose(bert)
    assert (choice.engine, choice.converted) == ("llama_cpp", True)
    assert "once it is converted to gguf" in choice.reason
    assert any(
        "transformers: the fastest" in line and "pip install it" in line for line in choice.others
    )


def test_what_cannot_be_converted_is_not_offered_to_engines_of_another_format() -> None:
    roberta = ModelFacts("safetensors", "embeddings", "RobertaModel")
    assert "llama_cpp" not in {found.engine for found in choose(roberta).candidates}
    with pytest.raises(ConfigurationError, match="does not read safetensors models"):
        choose(roberta, "llama_cpp")


@pytest.mark.parametrize("kind", ["chat", "embeddings", "vision"])
def test_vllm_is_taken_where_there_is_a_gpu_and_the_settings_say_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    told = ModelFacts("safetensors", kind, "LlamaForCausalLM", options=PYTHON)
    untold = ModelFacts("safetensors", kind, "LlamaForCausalLM")

    monkeypatch.setattr(vllm, "GPU_DRIVERS", (tmp_path / "absent", tmp_path))
    choice = choose(told)
    assert choice.engine == "vllm"
    assert (
        f"this machine's GPU and many callers, and the settings name {sys.executable}"
        in choice.reason
    )
    assert choose(untold).engine != "vllm"
    assert "suits this machine's GPU; to take it, name the Python" in vllm.fit(untold).reason

    monkeypatch.setattr(vllm, "GPU_DRIVERS", (tmp_path / "absent",))
    assert choose(told).engine != "vllm"
    assert any('engine = "vllm"' in line for line in choose(told).others)
    assert choose(told, "vllm").engine == "vllm"
    assert vllm.fit(untold).rank == 0


def test_vllm_is_not_taken_for_pictures_or_from_a_python_that_is_not_there() -> None:
    assert vllm.fit(ModelFacts("safetensors", "images", options=PYTHON)).rank is None
    wrong = ModelFacts("safetensors", options={"python": "/absent/python"})
    assert vllm.fit(wrong).rank is None
    assert "no absolute path of a program" in vllm.fit(wrong).reason
