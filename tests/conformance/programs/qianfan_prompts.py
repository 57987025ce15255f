"""Prompt templates with the published package: the hub, the console calls of both versions, the frameworks."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOptionalSubscript=false, reportOptionalMemberAccess=false
# A user's program: the package's own types are not what is tested here.

import json

import qianfan
from qianfan.common import Prompt
from qianfan.common.hub import hub
from qianfan.consts import PromptFrameworkType, PromptSceneType, PromptType
from qianfan.errors import InvalidArgumentError
from qianfan.resources import Prompt as Console

found = {}

# The hub: push a local prompt, pull it, change it, delete it.
prompt = Prompt(name="hub_prompt", template="Write about {topic} in {tone} words.")
hub.push(prompt)
found["pushed"] = prompt.id
pulled = hub.load("prompt/hub_prompt")
found["pulled"] = [
    pulled.id,
    pulled.template,
    pulled.variables,
    pulled.type.name,
    pulled.creator_name,
]
found["rendered"] = pulled.render(topic="tea", tone="plain")[0]
pulled.set_template("Say {word}")
hub.push(pulled)
again = hub.load("prompt/hub_prompt")
found["changed"] = [again.id, again.template, again.variables]
try:
    hub.push(Prompt(name="hub_prompt", template="another"))
except InvalidArgumentError as error:
    found["twice"] = str(error)
copy = hub.load(json_str=hub.save(again))
found["copy"] = copy.template
again.delete()
try:
    hub.load("prompt/hub_prompt")
except InvalidArgumentError as error:
    found["gone"] = str(error)

preset = hub.load("prompt/翻译")
found["preset"] = [
    preset.type.name,
    preset.render(target_language="法语", domain="法律", text="你好")[0],
]
preset.delete()
picture = hub.load("prompt/Picture: flat icon")
found["picture"] = picture.render(subject="a boat", colour="blue", avoid="waves")
portrait = hub.load("prompt/Picture: landscape")
found["negative"] = [portrait.negative_template, portrait.negative_variables]

# The console calls, v1.
made = Console.create(
    "console_prompt",
    "a ((cat))",
    identifier="(())",
    scene=PromptSceneType.Text2Image,
    framework=PromptFrameworkType.Basic,
    negative_template="no ((dog))",
)
found["v1 made"] = made["result"]
id_ = made["result"]["templatePK"]
found["v1 info"] = Console.info(id_, cat="lion", dog="wolf")["result"]
Console.update(id_, name="console_renamed", template="b ((cat))")
listed = Console.list(name="console", type=PromptType.User)["result"]
found["v1 list"] = [listed["total"], listed["items"][0]["templateName"]]
labels = Console.list_labels(page_size=50)["result"]
found["v1 labels"] = labels["total"]
found["v1 deleted"] = Console.delete(id_)["result"]

# The console calls, v2.
label = Console.V2.create_label(["console label"])["result"][0]["labelId"]
made = Console.V2.create(
    "console_v2",
    "Hi {{name}}",
    variable_identifier="{{}}",
    labels=[label],
    hyper_parameters={"temperature": 0.5},
)
id_ = made["result"]["templateId"]
found["v2 info"] = Console.V2.info(id_, name="Jin")["result"]
Console.V2.update(id_, template_content="Bye {{name}}")
found["v2 list"] = Console.V2.list(name="console_v2", label_ids=[label], max_keys=5)["result"][
    "items"
][0]["templateContent"]
found["v2 labels"] = [
    item["labelName"] for item in Console.V2.list_labels(max_keys=100)["result"]["items"]
][-1]
found["v2 deleted"] = [
    Console.V2.delete(id_)["result"],
    Console.V2.delete_label(label)["result"],
]

# Frameworks are text; a chat takes any of them.
text = Prompt.crispe_prompt(statement="say hi", capacity="a clerk")
answer = qianfan.ChatCompletion().do(
    model="ERNIE-3.5-8K", messages=[{"role": "user", "content": text}]
)
found["chat"] = [text, answer["result"]]

print("RESULT" + json.dumps(found))
