"""What a user of the published `qianfan` package writes to complete texts and to count tokens."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# A user's program: the package's own types are not what is tested here.

import asyncio
import json

import qianfan
from qianfan.errors import APIError
from qianfan.resources.tools.tokenizer import Tokenizer

PROMPT = "Once upon a time, 很久很久以前,"
LIMIT = {"max_output_tokens": 12}

completion = qianfan.Completion()
found = {}

for name, where in {
    "preset": {"model": "SQLCoder-7B"},
    "chat_preset": {"model": "ERNIE-Speed-8K"},
    "endpoint": {"endpoint": "tiny-chat"},
}.items():
    whole = completion.do(prompt=PROMPT, **where, **LIMIT)
    stream = completion.do(prompt=PROMPT, stream=True, **where, **LIMIT)
    found[name] = {
        "whole": whole.body,
        "stream": [event.body for event in stream],
        "served": {name.lower(): value for name, value in whole.headers.items()}["x-yangfan-model"],
    }


async def asynchronous() -> None:
    whole = await completion.ado(prompt=PROMPT, endpoint="codellama_7b_instruct", **LIMIT)
    events = await completion.ado(
        prompt=PROMPT, endpoint="codellama_7b_instruct", stream=True, **LIMIT
    )
    found["async"] = {"whole": whole.body, "stream": [event.body async for event in events]}


asyncio.run(asynchronous())

try:
    completion.do(prompt="a" * 4801, model="SQLCoder-7B")
except APIError as error:
    found["error"] = {"code": error.error_code, "text": str(error)}

found["tokens"] = Tokenizer.count_tokens(PROMPT, mode="remote", model="ernie-4.0-8k")
found["default_tokens"] = Tokenizer.count_tokens(PROMPT, mode="remote")

print("RESULT" + json.dumps(found))
