"""Capacity of a model as a user of the published `qianfan` package buys, looks up, changes and releases it."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# A user's program: the package's own types are not what is tested here.

import json

from qianfan.resources.console.charge import Charge

MODEL = "ernie-4.0-8k"
bought = Charge.charge_tpm_credit(MODEL, 2, {"paymentTiming": "Postpaid"}).body["result"]
instance = bought["instanceId"]
found = {"bought": Charge.tpm_credit_info(MODEL, "Postpaid", instance).body["result"]}
found["resized"] = Charge.resize_tpm_resource(instance, 5).body["result"]
later = "2099-01-01T00:00:00Z"
found["auto"] = Charge.auto_release_tpm_resource(instance, later).body["result"]
found["after"] = Charge.tpm_credit_info(MODEL).body["result"]
found["released"] = Charge.stop_tpm_credit_charging(MODEL, instance).body["result"]
found["left"] = Charge.tpm_credit_info(MODEL).body["result"]

print("RESULT", json.dumps(found))
