"""Compute units as a user of the published `qianfan` package buys, looks up, changes and releases them."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# A user's program: the package's own types are not what is tested here.

import json

from qianfan.resources.console.charge import Charge
from qianfan.resources.console.utils import call_action

MODEL = "ernie-4.0-8k"
RESERVATION = {"reservationTimeUnit": "Month", "reservationLength": 1}
PREPAID = {"paymentTiming": "Prepaid", "reservation": RESERVATION}
bought = Charge.purchase_service_resource(MODEL, PREPAID, 2).body["result"]
unit = bought["instanceId"]
found = {"listed": Charge.get_service_resource_list(MODEL).body["result"]}
found["prepaid"] = Charge.get_service_resource_list(MODEL, "Prepaid").body["result"]
found["resized"] = Charge.resize_service_resource_count(unit, 5).body["result"]
found["renewed"] = Charge.create_auto_renew_rules(unit, "ComputingUnit", "Month", 1).body["result"]
found["shown"] = Charge.get_service_resource_instance_info(MODEL, unit).body["result"]
found["newer"] = call_action("/v2/computeunit", "DescribeComputeUnit", {"instanceId": unit}).body[
    "result"
]
found["released"] = Charge.release_service_resource_instance_info(MODEL, unit).body["result"]
found["left"] = Charge.get_service_resource_list(MODEL).body["result"]

print("RESULT", json.dumps(found))
