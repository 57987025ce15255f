"""What a user of the published `qianfan` package writes to draw; only the environment points it elsewhere."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false
# A user's program: the package's own types are not what is tested here.

import asyncio
import json

import qianfan
from qianfan.errors import APIError

found = {}
drawer = qianfan.Text2Image()
reply = drawer.do(
    prompt="a red circle on a white background",
    with_decode="base64",
    size="768x768",
    n=2,
    steps=10,
    seed=7,
    sampler_index="DPM++ 2M Karras",
    style="Base",
)
found["magic"] = [item["image"][:8].hex() for item in reply.body["data"]]
found["indexes"] = [item["index"] for item in reply.body["data"]]
found["usage"] = reply.body["usage"]
found["by_model"] = len(
    drawer.do(prompt="a cat", model="Stable-Diffusion-XL", steps=10).body["data"]
)


async def asynchronous() -> None:
    answer = await drawer.ado(prompt="a cat", with_decode="base64", steps=10)
    found["async"] = answer["data"][0]["image"][:8].hex()


asyncio.run(asynchronous())
try:
    drawer.do(prompt="a" * 1025)
except APIError as error:
    found["too_long"] = error.error_code
print("RESULT" + json.dumps(found))
