"""`POST /v2/promptTemplates?Action=…PromptOptimization`: rewriting prompts, v2. Extensions of ours: v1's calls in v2's form."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Actions, Endpoint
from yangfan.protocol.v1.prompt_work import CreateOptimisation, Optimisation
from yangfan.protocol.v2.keys import ActionReply


class NamedOptimization(msgspec.Struct):
    """Which one."""

    taskId: Annotated[str, Meta(min_length=1, max_length=64)]  # noqa: N815 - the wire's spelling


_endpoint = Actions("v2.prompts", "/v2/promptTemplates", "D.13")

OPTIMISE: Endpoint[CreateOptimisation, ActionReply[NamedOptimization]] = _endpoint(
    "create_prompt_optimization",
    "CreatePromptOptimization",
    CreateOptimisation,
    ActionReply[NamedOptimization],
    "Have a prompt rewritten; with a dataset, until it scores better. An extension of ours.",
    "创建 Prompt 优化任务（扬帆扩展）。",
)
OPTIMISATION: Endpoint[NamedOptimization, ActionReply[Optimisation]] = _endpoint(
    "describe_prompt_optimization",
    "DescribePromptOptimization",
    NamedOptimization,
    ActionReply[Optimisation],
    "Show a prompt's rewriting. An extension of ours.",
    "查看 Prompt 优化任务（扬帆扩展）。",
)
STOP: Endpoint[NamedOptimization, ActionReply[bool]] = _endpoint(
    "stop_prompt_optimization",
    "StopPromptOptimization",
    NamedOptimization,
    ActionReply[bool],
    "Stop a prompt's rewriting. An extension of ours.",
    "停止 Prompt 优化任务（扬帆扩展）。",
)
