"""What a user of the published `openai` package writes to embed; only base_url and api_key differ."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# A user's program: the package's own types are not what is tested here.

import asyncio
import json
import os

import openai

TEXTS = ["a cat sits on the mat", "the cats sit on mats", "diesel motors burn oil"]
where = {"base_url": os.environ["BASE_URL"], "api_key": os.environ["API_KEY"], "max_retries": 0}
client = openai.OpenAI(**where)
found = {}

default = client.embeddings.create(model="embedding-v1", input=TEXTS)  # asks for base64
found["default"] = default.model_dump()
found["floats"] = client.embeddings.create(
    model="embedding-v1", input=TEXTS, encoding_format="float", user="someone"
).model_dump()
found["one"] = client.embeddings.create(model="embedding-v1", input=TEXTS[0]).model_dump()

# As LangChain's OpenAIEmbeddings asks: token ids, and base64.
found["ids"] = client.embeddings.create(
    model="embedding-v1", input=[[101, 1037, 4937, 102], [101, 4937, 102]]
).model_dump()
try:
    client.embeddings.create(model="embedding-v1", input=[[101, 9_000_000]])
except openai.BadRequestError as error:
    found["no_such_id"] = {"status": error.status_code, "text": error.message}

for name, body in {
    "dimensions": {"model": "embedding-v1", "input": TEXTS, "dimensions": 5},
    "chat_model": {"model": "ernie-speed-8k", "input": TEXTS},
}.items():
    try:
        client.embeddings.create(**body)
    except openai.APIStatusError as error:
        found[name] = {"status": error.status_code, "code": error.code}


async def asynchronous() -> None:
    async with openai.AsyncOpenAI(**where) as other:
        reply = await other.embeddings.create(model="embedding-v1", input=TEXTS)
        found["async"] = reply.model_dump()


asyncio.run(asynchronous())
print("RESULT" + json.dumps(found))
