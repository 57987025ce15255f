"""Functions and schemas as a user of the published `openai` package asks for them."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportOptionalIterable=false, reportOptionalMemberAccess=false, reportIndexIssue=false, reportOptionalSubscript=false
# A user's program: the package's own types are not what is tested here.

import json
import os
from enum import Enum

import openai
from pydantic import BaseModel

MODEL = os.environ["MODEL"]
client = openai.OpenAI(
    base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"], max_retries=0
)
MESSAGES = [{"role": "user", "content": "What is the weather in Paris, in degrees Celsius?"}]
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": name, "parameters": CITY}}
    for name in ("get_weather", "get_time")
]
LIMITS = {"max_tokens": 60, "temperature": 0}
found = {}


def ask(**fields):
    return client.chat.completions.create(
        model=MODEL, messages=MESSAGES, tools=TOOLS, **{**LIMITS, **fields}
    )


required = ask(tool_choice="required").choices[0]
found["required"] = required.model_dump()
named = {"type": "function", "function": {"name": "get_time"}}
found["named"] = ask(tool_choice=named).choices[0].model_dump()
found["none"] = ask(tool_choice="none", max_tokens=8).choices[0].model_dump()
found["auto"] = ask(max_tokens=8).choices[0].model_dump()
found["stream"] = [chunk.model_dump() for chunk in ask(tool_choice="required", stream=True)]
with client.chat.completions.stream(
    model=MODEL, messages=MESSAGES, tools=TOOLS, tool_choice="required", **LIMITS
) as helper:
    helper.until_done()
    final = helper.get_final_completion().choices[0]
found["helper"] = [call.function.arguments for call in final.message.tool_calls]

call = required.message
turns = [
    *MESSAGES,
    call,
    {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": '{"degrees": 21}'},
]
found["after"] = (
    client.chat.completions.create(model=MODEL, messages=turns, tools=TOOLS, max_tokens=8)
    .choices[0]
    .model_dump()
)

# Programs from before tools; the package still sends them.
older = {
    "functions": [tool["function"] for tool in TOOLS],
    "function_call": {"name": "get_time"},
    **LIMITS,
}
whole = client.chat.completions.create(model=MODEL, messages=MESSAGES, **older).choices[0]
found["older"] = whole.model_dump()
found["older_stream"] = [
    chunk.model_dump()
    for chunk in client.chat.completions.create(
        model=MODEL, messages=MESSAGES, stream=True, **older
    )
]
turns = [*MESSAGES, whole.message, {"role": "function", "name": "get_time", "content": "12:00"}]
found["older_after"] = (
    client.chat.completions.create(model=MODEL, messages=turns, max_tokens=8)
    .choices[0]
    .model_dump()
)

plain = {"type": "json_object"}
found["json_object"] = (
    client.chat.completions.create(
        model=MODEL, messages=MESSAGES, response_format=plain, max_tokens=16
    )
    .choices[0]
    .model_dump()
)


class Sky(Enum):
    """One of three."""

    sunny = "sunny"
    cloudy = "cloudy"
    rainy = "rainy"


class Weather(BaseModel):
    """What `parse` makes a schema of."""

    sky: Sky
    degrees: int
    windy: bool


if os.environ.get("PARSE"):
    parsed = client.chat.completions.parse(
        model=MODEL, messages=MESSAGES, response_format=Weather, **LIMITS
    )
    found["parsed"] = parsed.choices[0].message.parsed.model_dump(mode="json")

try:
    client.chat.completions.create(
        model=MODEL,
        messages=MESSAGES,
        response_format={
            "type": "json_schema",
            "json_schema": {
                "name": "bad",
                "schema": {"type": "array", "minItems": 5, "maxItems": 2},
            },
        },
    )
except openai.BadRequestError as error:
    found["bad_schema"] = {"code": error.code, "text": error.body["message"]}

print(json.dumps(found))
