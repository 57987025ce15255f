"""Yangfan (扬帆): the Qianfan large-model platform on your own machines. These are the SDK's public names.

    from yangfan import Client

    client = Client("http://127.0.0.1:8000", bearer="bce-v3/…")
    print(client.chat("1加1为什么等于2?", model="ernie_speed").text)

Names are loaded when they are first used, so that a program which needs one part does not wait for the others.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from yangfan import errors
from yangfan.errors import (
    ConfigurationError,
    Invalid,
    RateLimited,
    RefusedError,
    Unauthenticated,
    UnreachableError,
    YangfanError,
)

if TYPE_CHECKING:
    from yangfan.client._async.client import AsyncClient
    from yangfan.client._async.stream import AsyncChatStream
    from yangfan.client._sync.client import Client
    from yangfan.client._sync.stream import ChatStream
    from yangfan.client.pictures import image_part
    from yangfan.client.types import (
        ChatEvent,
        ChatResult,
        Choice,
        EmbeddingsResult,
        FunctionCall,
        Image,
        ImagesResult,
        Model,
        RankedDocument,
        RateLimit,
        RerankResult,
        SearchResult,
        Usage,
    )

    __version__: str

__all__ = [
    "AsyncChatStream",
    "AsyncClient",
    "ChatEvent",
    "ChatResult",
    "ChatStream",
    "Choice",
    "Client",
    "ConfigurationError",
    "EmbeddingsResult",
    "FunctionCall",
    "Image",
    "ImagesResult",
    "Invalid",
    "Model",
    "RankedDocument",
    "RateLimit",
    "RateLimited",
    "RefusedError",
    "RerankResult",
    "SearchResult",
    "Unauthenticated",
    "UnreachableError",
    "Usage",
    "YangfanError",
    "__version__",
    "errors",
    "image_part",
]

_HOMES = {
    "AsyncChatStream": "yangfan.client._async.stream",
    "AsyncClient": "yangfan.client._async.client",
    "ChatEvent": "yangfan.client.types",
    "ChatResult": "yangfan.client.types",
    "ChatStream": "yangfan.client._sync.stream",
    "Choice": "yangfan.client.types",
    "Client": "yangfan.client._sync.client",
    "EmbeddingsResult": "yangfan.client.types",
    "Image": "yangfan.client.types",
    "ImagesResult": "yangfan.client.types",
    "FunctionCall": "yangfan.client.types",
    "Model": "yangfan.client.types",
    "RankedDocument": "yangfan.client.types",
    "RateLimit": "yangfan.client.types",
    "RerankResult": "yangfan.client.types",
    "SearchResult": "yangfan.client.types",
    "Usage": "yangfan.client.types",
    "image_part": "yangfan.client.pictures",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from yangfan.client.version import package_version

        return package_version()
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'yangfan' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
