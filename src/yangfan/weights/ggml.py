"""llama.cpp's own arithmetic, called in the library that the package xllamacpp brings: the only way there that needs no compiler.

The package offers neither quantisation nor the scores of a prompt, but its library exports llama.cpp's C functions
(https://github.com/ggml-org/llama.cpp/blob/master/include/llama.h, ggml/include/ggml.h). Structures are never laid out here beyond
their first fields, which are checked before they are used; the version of the package is pinned.

A damaged model can end the process that loads it, so this runs in a child process (`yangfan.weights.child`).
"""

from __future__ import annotations

import array
import ctypes
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yangfan.errors import ConfigurationError
from yangfan.weights import gguf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SCRATCH_BYTES: Final = 4096
"""More than any structure of llama.cpp that is passed by value; the callee reads its own beginning of it."""

_CONTEXT_DEFAULTS: Final = (512, 2048, 512, 1)
"""First fields of `llama_context_default_params()`: n_ctx, n_batch, n_ubatch, n_seq_max."""

_TO_FLOATS: Final = {
    "F16": "ggml_fp16_to_fp32_row",
    "BF16": "ggml_bf16_to_fp32_row",
    "Q4_0": "dequantize_row_q4_0",
    "Q4_1": "dequantize_row_q4_1",
    "Q5_0": "dequantize_row_q5_0",
    "Q5_1": "dequantize_row_q5_1",
    "Q8_0": "dequantize_row_q8_0",
    "Q2_K": "dequantize_row_q2_K",
    "Q3_K": "dequantize_row_q3_K",
    "Q4_K": "dequantize_row_q4_K",
    "Q5_K": "dequantize_row_q5_K",
    "Q6_K": "dequantize_row_q6_K",
    "IQ4_NL": "dequantize_row_iq4_nl",
    "IQ4_XS": "dequantize_row_iq4_xs",
}


class _Opaque(ctypes.Structure):
    _fields_ = (("bytes", ctypes.c_char * _SCRATCH_BYTES),)


class _ContextParams(ctypes.Structure):
    _fields_ = (
        ("n_ctx", ctypes.c_uint32),
        ("n_batch", ctypes.c_uint32),
        ("n_ubatch", ctypes.c_uint32),
        ("n_seq_max", ctypes.c_uint32),
        ("rest", ctypes.c_char * _SCRATCH_BYTES),
    )


class _Batch(ctypes.Structure):
    _fields_ = (
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    )


def missing() -> str | None:
    """What to install before `Library` works; None if nothing."""
    return None if _file() is not None else 'pip install "yangfan[llama]"'


def _file() -> Path | None:
    spec = importlib.util.find_spec("xllamacpp")
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob("xllamacpp*.so"))), None)


class Library:
    """The functions that are used here, with the types of their arguments."""

    def __init__(self) -> None:
        """Load the library.

        Raises:
            ConfigurationError: It is not installed, or lacks a function.
        """
        file = _file()
        if file is None:
            raise ConfigurationError(f"quantising needs llama.cpp's library: {missing()}")
        self._c = ctypes.CDLL(str(file))
        i32, i64, pointer = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
        signatures: dict[str, tuple[Any, list[Any]]] = {
            "ggml_quantize_chunk": (
                ctypes.c_size_t,
                [ctypes.c_int, pointer, pointer, i64, i64, i64, pointer],
            ),
            "ggml_validate_row_data": (
                ctypes.c_bool,
                [ctypes.c_int, pointer, ctypes.c_size_t],
            ),
            **{name: (None, [pointer, pointer, i64]) for name in _TO_FLOATS.values()},
            "ggml_vec_log_soft_max_f32": (ctypes.c_double, [i32, pointer, pointer, ctypes.c_float]),
            "llama_backend_init": (None, []),
            "llama_log_set": (None, [pointer, pointer]),
            "llama_model_default_params": (_Opaque, []),
            "llama_context_default_params": (_ContextParams, []),
            "llama_model_load_from_file": (pointer, [ctypes.c_char_p, _Opaque]),
            "llama_model_free": (None, [pointer]),
            "llama_model_get_vocab": (pointer, [pointer]),
            "llama_vocab_n_tokens": (i32, [pointer]),
            "llama_vocab_bos": (i32, [pointer]),
            "llama_vocab_get_add_bos": (ctypes.c_bool, [pointer]),
            "llama_init_from_model": (pointer, [pointer, _ContextParams]),
            "llama_free": (None, [pointer]),
            "llama_n_ctx": (ctypes.c_uint32, [pointer]),
            "llama_set_n_threads": (None, [pointer, i32, i32]),
            "llama_get_memory": (pointer, [pointer]),
            "llama_memory_clear": (None, [pointer, ctypes.c_bool]),
            "llama_tokenize": (
                i32,
                [pointer, ctypes.c_char_p, i32, pointer, i32, ctypes.c_bool, ctypes.c_bool],
            ),
            "llama_batch_init": (_Batch, [i32, i32, i32]),
            "llama_batch_free": (None, [_Batch]),
            "llama_decode": (i32, [pointer, _Batch]),
            "llama_get_logits_ith": (ctypes.POINTER(ctypes.c_float), [pointer, i32]),
        }
        for name, (result, arguments) in signatures.items():
            try:
                function = getattr(self._c, name)
            except AttributeError:
                raise ConfigurationError(
                    f"the installed xllamacpp lacks {name}; install the version that Yangfan asks for"
                ) from None
            function.restype, function.argtypes = result, arguments

    # Weights.

    def floats(self, data: bytes, dtype: str, count: int) -> ctypes.Array[ctypes.c_char]:
        """The numbers of a tensor as 32-bit floats.

        Raises:
            ConfigurationError: Its type cannot be read here.
        """
        out = ctypes.create_string_buffer(4 * count)
        if dtype == "F32":
            ctypes.memmove(out, data, 4 * count)
        elif dtype in _TO_FLOATS:
            getattr(self._c, _TO_FLOATS[dtype])(data, out, count)
        else:
            raise ConfigurationError(
                f"weights of type {dtype} cannot be compressed further; start from F16, BF16 or Q8_0"
            )
        return out

    def quantize(
        self, floats: ctypes.Array[ctypes.c_char], dtype: str, rows: int, row_items: int
    ) -> bytes:
        """Rows of 32-bit floats in another type, as llama.cpp itself rounds them, without a table of importance."""
        number = gguf.NUMBERS[dtype]
        _, items, size = gguf.TYPES[number]
        out = ctypes.create_string_buffer(rows * row_items // items * size)
        written = self._c.ggml_quantize_chunk(number, floats, out, 0, rows, row_items, None)
        assert written == len(out), dtype
        return out.raw

    def are_numbers(self, floats: ctypes.Array[ctypes.c_char]) -> bool:
        """Whether all 32-bit floats are finite numbers; says on standard error which is not."""
        return self._c.ggml_validate_row_data(gguf.NUMBERS["F32"], floats, len(floats))

    # Models.

    def log_likelihoods(
        self,
        path: Path,
        text: str,
        *,
        context_tokens: int,
        most_windows: int,
        progress: Callable[[int, int], None],
    ) -> list[float]:
        """Natural logarithms of the probability of each scored token of a text.

        The text is cut into windows of `context_tokens`; the first token of each is replaced by the model's begin-of-sequence token
        if it has one, and of each window the second half is scored, as the program llama-perplexity does
        (https://github.com/ggml-org/llama.cpp/blob/master/tools/perplexity/perplexity.cpp).

        Args:
            path: A GGUF file.
            text: What to score; at least two windows.
            context_tokens: Of a window.
            most_windows: Windows to score, from the start of the text.
            progress: Told the windows done and all.

        Raises:
            ConfigurationError: The model cannot be loaded, or the text is too short for it.
        """
        model = _Loaded(self._c, path, context_tokens)
        try:
            tokens = model.tokens(text)
            windows = min(len(tokens) // context_tokens, most_windows)
            if windows < 1:
                raise ConfigurationError(
                    f"the text has {len(tokens)} tokens for this model, and {context_tokens} are needed"
                )
            found: list[float] = []
            for number in range(windows):
                progress(number, windows)
                found += model.scores(tokens[number * context_tokens :][:context_tokens])
            progress(windows, windows)
            return found
        finally:
            model.close()

    def scores(self, path: Path, tokens: Sequence[int]) -> list[float]:
        """Logarithms of the probabilities of the second half of given tokens."""
        model = _Loaded(self._c, path, len(tokens))
        try:
            return model.scores(tokens)
        finally:
            model.close()


def _ignore(level: int, text: bytes, data: int) -> None:
    """What llama.cpp logs."""


class _Loaded:
    """A model and a context of one conversation."""

    def __init__(self, c: ctypes.CDLL, path: Path, context_tokens: int) -> None:
        self._c = c
        self._silent = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(
            _ignore
        )
        c.llama_log_set(self._silent, None)
        c.llama_backend_init()
        self._model: int | None = c.llama_model_load_from_file(
            os.fsencode(path), c.llama_model_default_params()
        )
        self._context: int | None = None
        if not self._model:
            raise ConfigurationError(f"llama.cpp cannot load {path.name}")
        params = c.llama_context_default_params()
        if (params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max) != _CONTEXT_DEFAULTS:
            raise ConfigurationError(
                "the installed xllamacpp is not the version that Yangfan asks for: its structures differ"
            )
        params.n_ctx = params.n_batch = params.n_ubatch = context_tokens
        self._context = c.llama_init_from_model(self._model, params)
        if not self._context:
            self.close()
            raise ConfigurationError(
                f"llama.cpp cannot make a context for {path.name}; is there memory left?"
            )
        threads = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
        c.llama_set_n_threads(self._context, threads, threads)
        self._vocabulary = c.llama_model_get_vocab(self._model)
        self._words = c.llama_vocab_n_tokens(self._vocabulary)
        self._batch = c.llama_batch_init(context_tokens, 0, 1)

    def close(self) -> None:
        if self._context:
            self._c.llama_batch_free(self._batch)
            self._c.llama_free(self._context)
        if self._model:
            self._c.llama_model_free(self._model)
        self._context = self._model = None

    def tokens(self, text: str) -> list[int]:
        data = text.encode()
        out = (ctypes.c_int32 * (len(data) + 8))()
        count = self._c.llama_tokenize(self._vocabulary, data, len(data), out, len(out), 1, 0)
        if count < 0:
            raise ConfigurationError("llama.cpp cannot cut the text into this model's tokens")
        return list(out[:count])

    def scores(self, tokens: Sequence[int]) -> list[float]:
        """Logarithms of the probabilities of the second half of a window."""
        fed = list(tokens)
        if self._c.llama_vocab_get_add_bos(self._vocabulary):
            fed[0] = self._c.llama_vocab_bos(self._vocabulary)
        first = len(fed) // 2
        self._decode(fed, range(first, len(fed) - 1))
        return [self._score(place, fed[place + 1]) for place in range(first, len(fed) - 1)]

    def _decode(self, tokens: Sequence[int], wanted: Sequence[int]) -> None:
        batch = self._batch
        for place, token in enumerate(tokens):
            batch.token[place], batch.pos[place] = token, place
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
            batch.logits[place] = place in wanted
        batch.n_tokens = len(tokens)
        self._c.llama_memory_clear(self._c.llama_get_memory(self._context), 1)
        if self._c.llama_decode(self._context, batch) != 0:
            raise ConfigurationError("llama.cpp could not compute the text")

    def _logits(self, place: int) -> array.array[float]:
        found = self._c.llama_get_logits_ith(self._context, place)
        values = array.array("f")
        values.frombytes(ctypes.string_at(found, 4 * self._words))
        return values

    def _score(self, place: int, token: int) -> float:
        logits = self._logits(place)
        highest = max(logits)
        begin, _ = logits.buffer_info()
        scratch = (ctypes.c_float * self._words)()
        rest = self._c.ggml_vec_log_soft_max_f32(self._words, scratch, begin, highest)
        return logits[token] - highest - rest
