"""What a user of the published `openai` package writes; only base_url and api_key differ."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# A user's program: the package's own types are not what is tested here.

import asyncio
import json
import os

import openai

MODEL = "ernie-speed-8k"
SERVED = os.environ.get("SERVED", "smollm2-135m-instruct")
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Say hello. 你好 😀"},
]
where = {"base_url": os.environ["BASE_URL"], "api_key": os.environ["API_KEY"], "max_retries": 0}
client = openai.OpenAI(**where)
found = {}

whole = client.chat.completions.create(
    model=MODEL, messages=MESSAGES, max_tokens=24, user="someone"
)
found["sync"] = whole.model_dump()
stream = client.chat.completions.create(
    model=MODEL,
    messages=MESSAGES,
    max_completion_tokens=24,
    stream=True,
    stream_options={"include_usage": True},
)
found["stream"] = [chunk.model_dump() for chunk in stream]
with client.chat.completions.stream(model=MODEL, messages=MESSAGES, max_tokens=8) as helper:
    found["helper"] = "".join(event.delta for event in helper if event.type == "content.delta")

raw = client.chat.completions.with_raw_response.create(
    model=SERVED, messages=MESSAGES, max_tokens=4, temperature=0, n=2
)
found["raw_headers"] = dict(raw.headers)
found["answers"] = len(raw.parse().choices)
found["models"] = [model.id for model in client.models.list()]
found["model"] = client.models.retrieve(MODEL).id

forms = {
    "no_such_model": {"model": "gpt-17", "messages": MESSAGES},
    "bad_range": {"model": MODEL, "messages": MESSAGES, "top_p": 7},
    "no_messages": {"model": MODEL, "messages": []},
}
for name, body in forms.items():
    try:
        client.chat.completions.create(**body)
    except openai.APIStatusError as error:
        found[name] = {
            "class": type(error).__name__,
            "status": error.status_code,
            "code": error.code,
        }
try:
    openai.OpenAI(**{**where, "api_key": "sk-wrong"}).models.list()
except openai.AuthenticationError as error:
    found["wrong_key"] = {"status": error.status_code, "code": error.code}


async def asynchronous() -> None:
    async with openai.AsyncOpenAI(**where) as other:
        chunks = await other.chat.completions.create(
            model=MODEL, messages=MESSAGES, max_tokens=24, stream=True
        )
        found["async_stream"] = "".join(
            [chunk.choices[0].delta.content or "" async for chunk in chunks]
        )


asyncio.run(asynchronous())
print("RESULT" + json.dumps(found))
