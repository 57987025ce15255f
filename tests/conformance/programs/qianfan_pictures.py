"""What a user of the published `qianfan` package writes about a picture; only the environment points it elsewhere."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false
# A user's program: the package's own types are not what is tested here.

import asyncio
import json
import sys

import qianfan
from qianfan.errors import APIError

version, image = sys.argv[1], sys.argv[2]
found = {}
PARTS = [
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
    {"type": "text", "text": " what is this?"},
]
MESSAGES = [{"role": "user", "content": PARTS}]
MODEL = {"1": "ERNIE-Lite-V", "2": "internvl3-1b"}[version]
chat = qianfan.ChatCompletion(version=version)
found["chat"] = chat.do(messages=MESSAGES, model=MODEL).body
found["chat_stream"] = [
    event.body for event in chat.do(messages=MESSAGES, model=MODEL, stream=True)
]

if version == "1":
    look = qianfan.Image2Text()
    found["sync"] = look.do(prompt=" what?", image=image, model="Fuyu-8B").body
    events = look.do(prompt=" what?", image=image, endpoint="fuyu_8b", stream=True)
    found["stream"] = [event.body for event in events]

    async def asynchronous() -> None:
        reply = await look.ado(prompt=" what?", image=image, endpoint="fuyu_8b", temperature=0.5)
        found["async"] = reply.body

    asyncio.run(asynchronous())
    try:
        look.do(prompt="what?", image="aGVsbG8=", endpoint="fuyu_8b")
    except APIError as error:
        found["no_picture"] = error.error_code

print("RESULT" + json.dumps(found))
