"""What a user of the published `openai` package writes to complete texts; only base_url and api_key differ."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# A user's program: the package's own types are not what is tested here.

import asyncio
import json
import os

import openai

MODEL = "ernie-speed-8k"
PROMPT = "Once upon a time"
where = {"base_url": os.environ["BASE_URL"], "api_key": os.environ["API_KEY"], "max_retries": 0}
client = openai.OpenAI(**where)
found = {}

found["sync"] = client.completions.create(model=MODEL, prompt=PROMPT).model_dump()
stream = client.completions.create(
    model=MODEL,
    prompt=PROMPT,
    max_tokens=12,
    stream=True,
    stream_options={"include_usage": True},
)
found["stream"] = [chunk.model_dump() for chunk in stream]
found["many"] = client.completions.create(
    model=MODEL, prompt=[PROMPT, "def f(x):"], n=2, max_tokens=4, echo=True, seed=1
).model_dump()
found["logprobs"] = client.completions.create(
    model=MODEL, prompt=PROMPT, max_tokens=3, logprobs=2, temperature=0
).model_dump()
ids = [5, 6, 7, 8]
found["ids"] = client.completions.create(model=MODEL, prompt=ids, max_tokens=4).model_dump()
found["lists_of_ids"] = client.completions.create(
    model=MODEL, prompt=[ids, ids[:2]], max_tokens=4, n=2, echo=True
).model_dump()
try:
    client.completions.create(model=MODEL, prompt=[5, 10_000_000])
except openai.BadRequestError as error:
    found["no_such_id"] = {"code": error.code, "text": error.message}
try:
    client.completions.create(model=MODEL, prompt=PROMPT, suffix="The end.")
except openai.BadRequestError as error:
    found["error"] = {"code": error.code, "text": error.message}


async def asynchronous() -> None:
    async with openai.AsyncOpenAI(**where) as other:
        chunks = await other.completions.create(
            model=MODEL, prompt=PROMPT, max_tokens=12, stream=True
        )
        found["async_stream"] = "".join([chunk.choices[0].text async for chunk in chunks])


asyncio.run(asynchronous())
print("RESULT" + json.dumps(found))
