"""`GET /v2/models`: what can be named as `model` (specification C.4)."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from yangfan.protocol.endpoint import Endpoint


class Model(msgspec.Struct, kw_only=True):
    """A name that calls may use. `served_by` is ours: the model that answers here under that name."""

    id: str
    object: str = "model"
    owned_by: str = ""
    created: int = 0
    type: str | UnsetType = UNSET
    served_by: str | UnsetType = UNSET


class ModelList(msgspec.Struct, kw_only=True):
    """All names."""

    object: str = "list"
    data: list[Model]


MODELS: Endpoint[None, ModelList] = Endpoint(
    name="v2.models",
    dialect="v2",
    method="GET",
    path="/v2/models",
    aliases=("/v1/models", "/v2/v1/models"),
    request=None,
    reply=ModelList,
    summary="List every model name that this platform answers to.",
    summary_zh="列出本平台可用的全部模型名称。",
    spec="C.4",
)

MODEL: Endpoint[None, Model] = Endpoint(
    name="v2.model",
    dialect="v2",
    method="GET",
    path="/v2/models/{model}",
    aliases=("/v1/models/{model}", "/v2/v1/models/{model}"),
    request=None,
    reply=Model,
    summary="Describe one model name.",
    summary_zh="查询一个模型名称。",
    spec="C.4",
)
