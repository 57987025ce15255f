"""The model to train as a Hugging Face folder, whatever form it is kept in.

A GGUF file is turned back by Transformers' own reader: its weights become numbers of 16 bits again (of 32, where it has them), its
tokenizer and template those of a folder. What rounding took away before stays away, so a run begins from the very model that is served, and
what LoRA learns fits that file, too. This is done in a process of its own (`python -m yangfan.trainers.pipeline.base_folder GGUF
FOLDER`), whose memory is free again before the training begins.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yangfan.computing import environment
from yangfan.errors import ConfigurationError
from yangfan.hub.store import ModelStore, StoredFile
from yangfan.trainers.pipeline.libraries import QUIET
from yangfan.weights import gguf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.trainers.base import BaseFile

_DTYPES = {"F32": "float32", "F16": "float16"}
"""How the numbers of a file are written; those of every other kind become bfloat16."""

_LEFT_BEHIND = ("_is_hf_initialized", "is_quantized", "quantization_method")
"""What the reader leaves on a model that was quantised, and no writer knows."""

_LINES = 5


def lay_out(files: Sequence[BaseFile], root: str, folder: Path, name: str = "") -> Path:
    """Make the folder of a base model out of files of the store.

    Args:
        files: A Hugging Face folder in safetensors, or one GGUF file.
        root: Folder of the store.
        folder: Where to; what is there is removed.
        name: Of the model, for messages.

    Raises:
        ConfigurationError: It is neither, or cannot be turned back; the message says what to do.
    """
    store = ModelStore(Path(root))
    stored = [StoredFile(file.path, file.sha256, file.size_bytes) for file in files]
    for file in stored:
        store.require_whole(file)
    shutil.rmtree(folder, ignore_errors=True)
    if any(file.path in {"config.json", "model_index.json"} for file in stored):
        store.lay_out(folder, stored)
        return folder
    weights = [file for file in stored if file.path.endswith(".gguf")]
    if len(weights) != 1:
        raise ConfigurationError(
            f"the model {name} cannot be trained: it is neither a Hugging Face folder with config.json and safetensors nor one GGUF file;"
            " import the original: yangfan models import hf:OWNER/NAME"
        )
    packed = folder.with_name(f"{folder.name}-gguf")
    shutil.rmtree(packed, ignore_errors=True)
    store.lay_out(packed, weights)
    _turned_back(packed / weights[0].path, folder, name)
    shutil.rmtree(packed, ignore_errors=True)
    return folder


def _turned_back(file: Path, folder: Path, name: str) -> None:
    new = folder.with_name(f"{folder.name}-new")
    shutil.rmtree(new, ignore_errors=True)
    done = subprocess.run(  # noqa: S603 - our own interpreter, and two paths
        [sys.executable, "-m", __name__, str(file), str(new)],
        env={**environment(), **QUIET},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-_LINES:]
        raise ConfigurationError(
            f"the GGUF file of {name} cannot be turned back into a model that is trained: {' '.join(said)[-500:]}. Import the original"
            " instead: yangfan models import hf:OWNER/NAME"
        )
    new.replace(folder)


def write(file: Path, folder: Path) -> None:
    """Write the model of a GGUF file as a Hugging Face folder."""
    header = gguf.read(file)
    number = header.number("general.file_type")
    kind = gguf.FILE_TYPES.get(-1 if number is None else number, "")
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    model = transformers.AutoModelForCausalLM.from_pretrained(
        **where, dtype=getattr(torch, _DTYPES.get(kind, "bfloat16")), **safe
    )
    model.hf_quantizer = None
    model.config.__dict__.pop("quantization_config", None)
    for left in _LEFT_BEHIND:
        model.__dict__.pop(left, None)
    tokenizer = transformers.AutoTokenizer.from_pretrained(**where, **safe)
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id
    )
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    template = header.text("tokenizer.chat_template")
    if template:
        (folder / "chat_template.jinja").write_text(template, "utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    write(Path(sys.argv[1]), Path(sys.argv[2]))
