"""Functions as a user of the published `qianfan` package asks for them, in v1 and in ERNIE-Functions' prompt form."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# A user's program: the package's own types are not what is tested here.

import copy
import json
import os

import qianfan
from qianfan.common.tool.baidu_search_tool import BaiduSearchTool
from qianfan.resources.llm.function import Function

QUESTION = [{"role": "user", "content": "北京今天天气怎么样?"}]
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
}
FUNCTIONS = [{"name": "get_weather", "description": "查询某城市的天气", "parameters": CITY}]
FORCED = {"type": "function", "function": {"name": "get_weather"}, "name": "get_weather"}
LIMITS = {"max_output_tokens": 80, "temperature": 0.1}
found = {}

chat = qianfan.ChatCompletion()
asked = {"model": "ERNIE-Speed-8K", "functions": FUNCTIONS, "tool_choice": FORCED, **LIMITS}
answer = chat.do(messages=QUESTION, **asked)
found["whole"] = answer.body
found["stream"] = [event.body for event in chat.do(messages=QUESTION, stream=True, **asked)]
call = answer.body["function_call"]
turns = [
    *QUESTION,
    {"role": "assistant", "content": "", "function_call": call},
    {"role": "function", "name": call["name"], "content": '{"weather": "晴"}'},
]
found["after"] = chat.do(messages=turns, model="ERNIE-Speed-8K", functions=FUNCTIONS, **LIMITS).body

function = Function()
found["react"] = function.do(messages=copy.deepcopy(QUESTION), functions=FUNCTIONS, **LIMITS).body
found["react_stream"] = [
    event.body
    for event in function.do(
        messages=copy.deepcopy(QUESTION), functions=FUNCTIONS, stream=True, **LIMITS
    )
]
found["react_after"] = function.do(
    messages=copy.deepcopy(turns), functions=FUNCTIONS, **LIMITS
).body

if "SEARCH" in os.environ:
    chat = qianfan.ChatCompletion(model="ERNIE-Speed-8K")
    found["search"] = BaiduSearchTool(client=chat, with_reference=True).run(search_query="北京天气")

print(json.dumps(found))
