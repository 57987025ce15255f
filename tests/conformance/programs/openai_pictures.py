"""What a user of the published `openai` package writes about a picture; only base_url and api_key differ."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# A user's program: the package's own types are not what is tested here.

import json
import os
import sys

import openai

image = sys.argv[1]
client = openai.OpenAI(
    base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"], max_retries=0
)


def messages(url: str) -> list:
    return [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what is this? "},
                {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
            ],
        }
    ]


MODEL = "ernie-4.5-vl-28b-a3b"
uri = f"data:image/png;base64,{image}"
found = {}
reply = client.chat.completions.create(model=MODEL, messages=messages(uri))
found["sync"] = reply.choices[0].message.content
chunks = client.chat.completions.create(model=MODEL, messages=messages(uri), stream=True)
found["stream"] = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
for name, url in {"private": "https://127.0.0.1/a.png", "no_picture": uri[:-3]}.items():
    try:
        client.chat.completions.create(model=MODEL, messages=messages(url))
    except openai.BadRequestError as error:
        found[name] = error.code
print("RESULT" + json.dumps(found))
