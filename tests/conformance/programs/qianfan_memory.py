"""System memory with the published package."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOptionalSubscript=false
# A user's program: the package's own types are not what is tested here.

import json

import qianfan
from qianfan.resources.console.memory import Memory
from qianfan.resources.console.utils import call_action

PAIR = [
    {"role": "user", "content": "What is your name?"},
    {"role": "system", "content": "I am Jin."},
]

memory_id = Memory.create_system_memory("app", "about")["result"]
Memory.modify_system_memory(memory_id, [PAIR])
chat = qianfan.ChatCompletion()
messages = [{"role": "user", "content": "hi"}]
plain = chat.do(model="ERNIE-3.5-8K", messages=messages)
told = chat.do(
    model="ERNIE-3.5-8K",
    messages=messages,
    enable_system_memory=True,
    system_memory_id=memory_id,
)
user_id = call_action("/v2/memory", "CreateUserMemory", {"appId": "app", "description": "u"})
found = {
    "id": memory_id,
    "listed": Memory.describe_system_memories(app_id="app", marker="0", max_keys=100)["result"],
    "shown": Memory.describe_system_memory(memory_id)["result"],
    "plain": plain["usage"]["prompt_tokens"],
    "told": told["usage"]["prompt_tokens"],
    "user": user_id["result"],
    "deleted": Memory.delete_system_memory(memory_id)["result"],
    "left": Memory.describe_system_memories(app_id="app")["result"]["items"],
}
print("RESULT" + json.dumps(found))
