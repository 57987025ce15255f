"""What a Hugging Face folder tells without loading it: whether a file is whole (https://github.com/huggingface/safetensors#format), and the vocabulary's size."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

MAX_HEADER_BYTES = 100 * 1024 * 1024


class _Entry(msgspec.Struct):
    data_offsets: tuple[int, int]


def check_weights(file: Path) -> None:
    """Refuse whatever else bears the name (a pickle, a zip), and what ends early.

    Raises:
        ConfigurationError: The message names the file.
    """
    try:
        with file.open("rb") as stream:
            head = stream.read(9)
            size = struct.unpack("<Q", head[:8])[0] if len(head) == 9 else 0
            rest = file.stat().st_size - 8 - size
            if head[8:] != b"{" or not 2 <= size <= MAX_HEADER_BYTES or rest < 0:
                raise ConfigurationError(
                    f"{file} is no safetensors file, or cut short; get the model again"
                )
            header = msgspec.json.decode(b"{" + stream.read(size - 1), type=dict[str, Any])
        header.pop("__metadata__", None)
        entries = msgspec.convert(header, dict[str, _Entry])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{file} is no safetensors file: its header cannot be read: {error}"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from None
    end = max((entry.data_offsets[1] for entry in entries.values()), default=0)
    if end > rest:
        raise ConfigurationError(
            f"{file} is cut short: it has {rest} bytes of weights and names {end}; get the model again"
        )


def vocabulary_of(folder: Path) -> int:
    """How many tokens the model of a Hugging Face folder knows; 0 where config.json does not say."""
    try:
        config = msgspec.json.decode((folder / "config.json").read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return 0
    of_text: Any = config.get("text_config") or {}
    found: object = config.get("vocab_size") or of_text.get("vocab_size")
    return found if isinstance(found, int) and found > 0 else 0
