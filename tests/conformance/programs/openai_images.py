"""What a user of the published `openai` package writes to draw; only base_url and api_key differ."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# A user's program: the package's own types are not what is tested here.

import base64
import json
import os
import urllib.request

import openai

where = {"base_url": os.environ["BASE_URL"], "api_key": os.environ["API_KEY"], "max_retries": 0}
client = openai.OpenAI(**where)
found = {}
PICTURE = base64.b64decode(os.environ["PICTURE"])
whole = client.images.generate(
    model="irag-1.0",
    prompt="a red circle",
    size="512x512",
    n=2,
    response_format="b64_json",
    quality="hd",
    extra_body={"steps": 4, "seed": 1},
)
assert whole.data is not None
assert whole.usage is not None
found["magic"] = [base64.b64decode(item.b64_json)[:8].hex() for item in whole.data]
found["tokens"] = whole.usage.total_tokens
by_url = client.images.generate(
    model="irag-1.0", prompt="a red circle", size="512x512", extra_body={"steps": 4}
)
assert by_url.data is not None
with urllib.request.urlopen(by_url.data[0].url) as answer:
    found["fetched"] = answer.read()[:8].hex()
edited = client.images.edit(
    model="irag-1.0",
    image=("a.png", PICTURE, "image/png"),
    mask=("mask.png", PICTURE, "image/png"),
    prompt="a blue circle",
    n=2,
    size="512x512",
    response_format="b64_json",
)
assert edited.data is not None
found["edited"] = [base64.b64decode(item.b64_json)[:8].hex() for item in edited.data]
listed = client.images.edit(
    model="irag-1.0",
    image=[("a.png", PICTURE, "image/png")],
    prompt="a blue circle",
    response_format="b64_json",
)
assert listed.data is not None
found["listed"] = len(listed.data)
try:
    client.images.edit(
        model="irag-1.0", image=("a.png", b"no picture", "image/png"), prompt="a blue circle"
    )
except openai.APIStatusError as error:
    found["no_picture"] = {"status": error.status_code, "code": error.code}
try:
    client.images.generate(model="irag-1.0", prompt="")
except openai.APIStatusError as error:
    found["empty"] = {"status": error.status_code, "code": error.code}
print("RESULT" + json.dumps(found))
