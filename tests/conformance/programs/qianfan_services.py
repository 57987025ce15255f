"""Services as a user of the published `qianfan` package publishes, finds, calls and measures them."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false
# A user's program: the package's own types are not what is tested here.

import json
import time
from datetime import datetime, timedelta

import qianfan
from qianfan.consts import Consts
from qianfan.model import Service
from qianfan.resources.console.consts import ServiceType as FilterType
from qianfan.resources.console.service import Service as Console
from qianfan.resources.console.utils import call_action

found = {}
made = Console.V2.create_service(
    model_set_id="am-none",
    model_id="echo",
    name="official",
    url_suffix="official",
    resource_config={"type": "GPU-I-2", "replicasCount": 1, "qps": 5},
    billing={"paymentTiming": "Prepaid", "reservation": {"reservationTimeUnit": "Hour"}},
    description="made by the official package",
)["result"]
found["made"] = made
while True:
    shown = Console.V2.service_detail(made["serviceId"])["result"]
    if shown["runStatus"] not in ("New", "Deploying"):
        break
    time.sleep(0.2)
found["shown"] = shown

service = Service(
    id=made["serviceId"],
    endpoint=shown["url"].split("/")[-1],
    service_type=qianfan.model.configs.ServiceType.Chat,
)
found["status"] = service.status
found["answer"] = service.exec({"messages": [{"role": "user", "content": "hi"}]}).body["result"]
now = datetime.utcnow()
found["metrics"] = service.metrics(now - timedelta(days=1), now)

found["list"] = Console.list([FilterType.Chat])["result"]
found["modified"] = Console.V2.modify_service(made["serviceId"], "am-none", "echo")["result"]
found["pages"] = Console.V2.service_list(name="offic", run_status=["Serving"])["result"]
found["presets"] = Console.V2.describe_preset_services(service_type=["chat"])["result"]
v1 = Console.create("am-none", "echo", "v1", "official-v1", 1)["result"]
found["v1"] = Console.get(v1["serviceId"])["result"]
found["apps"] = qianfan.resources.console.utils.__name__ and Consts.AppListAPI
call_action("/v2/service", "DeleteService", {"serviceId": str(v1["serviceId"])})

# A name that only this server knows is found through service/list.
chat = qianfan.ChatCompletion(model="echo")
found["discovered"] = chat.do(messages=[{"role": "user", "content": "found"}]).body["result"]
found["models"] = sorted(qianfan.ChatCompletion.models())[:5]
call_action("/v2/service", "DeleteService", {"serviceId": made["serviceId"]})

print("RESULT", json.dumps(found, default=str))
