"""A model version deployed as a user of the published `qianfan` package deploys it: Model.deploy, its loop, and exec."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false
# A user's program: the package's own types are not what is tested here.

import json

from qianfan.model import Model
from qianfan.model.configs import DeployConfig
from qianfan.model.consts import ServiceType
from qianfan.resources.console.utils import call_action

model_set = call_action("/v2/model", "DescribeModelSet", {"modelSetName": "echo"}).body["result"]
version = model_set["modelIds"][0]
model = Model(id=version if isinstance(version, str) else version["modelId"])
named = model.deploy(
    DeployConfig(
        name="deployed", endpoint_suffix="deployed", replicas=1, service_type=ServiceType.Chat
    )
)
found = {
    "model": [model.set_id, model.id],
    "endpoint": named.endpoint,
    "status": named.status,
    "answer": model.exec({"messages": [{"role": "user", "content": "hi"}]}).body["result"],
}
other = Model(set_id=model.set_id, id=model.id)
unnamed = other.deploy(DeployConfig(service_type=ServiceType.Chat))
found["unnamed"] = unnamed.endpoint
found["streamed"] = "".join(
    event.body["result"]
    for event in other.exec({"messages": [{"role": "user", "content": "a b"}]}, stream=True)
)
for service in (named, unnamed):
    call_action("/v2/service", "DeleteService", {"serviceId": service.id})

print("RESULT", json.dumps(found))
