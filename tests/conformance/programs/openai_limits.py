"""Limits as a user of the published `openai` package meets them."""

# pyright: basic
# A user's program: the package's own types are not what is tested here.

import json
import os

import openai

client = openai.OpenAI(
    base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"], max_retries=0
)
found = {}
for name, limit in (("first", 5), ("second", 5)):
    try:
        answer = client.chat.completions.with_raw_response.create(
            model="echo", messages=[{"role": "user", "content": "hi"}], max_tokens=limit
        )
        found[name] = {"headers": dict(answer.headers)}
    except openai.RateLimitError as error:
        found[name] = {"code": error.code, "headers": dict(error.response.headers)}

print("RESULT", json.dumps(found))
