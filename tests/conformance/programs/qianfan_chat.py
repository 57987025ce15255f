"""What a user of the published `qianfan` package writes; only the environment points it at another server."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# A user's program: the package's own types are not what is tested here.

import asyncio
import json
import sys

import qianfan
from qianfan.errors import APIError, RequestError

VERSION = int(sys.argv[1])
MODEL = "ERNIE-Speed-8K" if VERSION == 1 else "ernie-speed-8k"
LIMIT = {"max_output_tokens": 24} if VERSION == 1 else {"max_completion_tokens": 24}
MESSAGES = [{"role": "user", "content": "Say hello. 你好 😀"}]

chat = qianfan.ChatCompletion(version=VERSION) if VERSION == 2 else qianfan.ChatCompletion()
found = {}

whole = chat.do(model=MODEL, messages=MESSAGES, **LIMIT)
found["sync"] = {
    "code": whole.code,
    "body": whole.body,
    "headers": {name.lower(): value for name, value in whole.headers.items()},
}
found["stream"] = [
    event.body for event in chat.do(model=MODEL, messages=MESSAGES, stream=True, **LIMIT)
]


async def asynchronous() -> None:
    answer = await chat.ado(model=MODEL, messages=MESSAGES, request_id="my-own-id", **LIMIT)
    found["async"] = {
        "body": answer.body,
        "headers": {name.lower(): value for name, value in answer.headers.items()},
    }
    events = await chat.ado(model=MODEL, messages=MESSAGES, stream=True, **LIMIT)
    found["async_stream"] = [event.body async for event in events]


asyncio.run(asynchronous())

if VERSION == 1:  # the package's Messages reads version 1 answers only
    conversation = qianfan.Messages()
    conversation.append("Hi")
    conversation.append(chat.do(model=MODEL, messages=conversation, **LIMIT))
    conversation.append("And again")
    found["turns"] = chat.do(model=MODEL, messages=conversation, **LIMIT).body
else:
    answer = whole.body["choices"][0]["message"]
    turns = [*MESSAGES, answer, {"role": "user", "content": "And again"}]
    found["turns"] = chat.do(model=MODEL, messages=turns, **LIMIT).body

try:
    chat.do(model=MODEL, messages=MESSAGES, top_p=7)
except APIError as error:
    found["error"] = {"code": error.error_code, "text": str(error)}
except RequestError as error:
    found["error"] = {"status": error.status_code, "text": str(error.body)}

try:
    list(chat.do(model=MODEL, messages=MESSAGES, top_p=7, stream=True))
except APIError as error:
    found["stream_error"] = {"code": error.error_code}

if VERSION == 1:
    found["by_endpoint"] = chat.do(endpoint="ernie_speed", messages=MESSAGES, **LIMIT).body
    found["truncated"] = chat.do(
        model=MODEL, messages=MESSAGES, auto_concat_truncate=False, max_output_tokens=2
    ).body

print("RESULT" + json.dumps(found))
