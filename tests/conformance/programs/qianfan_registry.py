"""The model registry with the published package: sets, an import, the Model class, an export, a compression."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOptionalSubscript=false
# A user's program: the package's own types are not what is tested here.

import json
import sys
import time

from qianfan.errors import QianfanError
from qianfan.model import Model
from qianfan.resources import Model as Resource
from qianfan.resources.console import consts
from qianfan.resources.console.utils import call_action

SECONDS = 90
source, compresses = sys.argv[1], sys.argv[2] == "compress"


def until_ready(model_id):
    """What the package's own loops do, more often."""
    end = time.monotonic() + SECONDS
    while True:
        found = Resource.V2.describe_model(model_id=model_id)["result"]
        if found["status"] != consts.ModelState.Creating.value:
            return found
        assert time.monotonic() < end, found
        time.sleep(0.2)


made = Resource.V2.create_custom_model_set("official", consts.CustomModelSetModelType.Text2Text)
set_id = made["result"]["modelSetId"]
created = Resource.V2.create_custom_model(
    set_id,
    consts.CreateCustomModelSourceType.Import,
    description="from the package",
    import_meta={"source": source, "modelApplicationType": "chat"},
)
model_id = created["result"]["modelId"]
found = {
    "created": created["result"],
    "ready": until_ready(model_id),
    "preset_sets": Resource.V2.describe_system_model_sets(max_keys=100)["result"],
    "custom_sets": Resource.V2.describe_custom_model_sets(page_reverse=True)["result"],
    "set": Resource.V2.describe_model_set(model_set_id=set_id)["result"],
    "by_name": Resource.V2.describe_model_set(model_set_name="official")["result"]["modelSetId"],
    "list": Resource.list(model_id=set_id)["result"],
    "detail": Resource.detail(model_version_id=model_id)["result"],
    "users": Resource.user_list(name_filter="offic")["result"],
    "presets": Resource.preset_list(page_size=100)["result"],
    "evaluable": Resource.evaluable_model_list()["result"],
    "conf": Resource.V2.describe_model_system_advanced_conf("chat")["result"],
    "custom_conf": Resource.V2.describe_model_custom_advanced_conf(model_id)["result"],
    "comps": Resource.V2.describe_model_comp_tasks(source_model_id=model_id)["result"],
}

by_version = Model(id=model_id)
by_set = Model(set_id=set_id)
found["completed"] = [by_version.set_id, by_set.id]

exported = Resource.V2.create_model_export_model(model_id)["result"]
end = time.monotonic() + SECONDS
while True:
    shown = Resource.V2.describe_model_export_model(model_id)["result"]
    if shown["status"] not in {"creating", "running"}:
        break
    assert time.monotonic() < end, shown
    time.sleep(0.2)
found["exported"] = shown

try:
    Resource.publish(
        is_new=True, model_name="trained", version_meta={"taskId": "job-1", "iterationId": "task-1"}
    )
except QianfanError as error:
    found["publish_error"] = str(error)

# Model.compress of 0.4.12.3 gives `config` by name, which its own requestor takes for its settings: it fails before it sends anything.
try:
    by_version.compress(
        consts.ModelCompStrategy.Quantization, consts.ModelQuantizationWeight.W4A16C16
    )
except AttributeError as error:
    found["compress_error"] = repr(error)
found["comps_after"] = Resource.V2.describe_model_comp_tasks(source_model_id=model_id)["result"]

if compresses:
    # By position the same call works.
    task_id = Resource.V2.create_model_comp_task(
        "smaller",
        model_id,
        {
            "strategy": consts.ModelCompStrategy.Quantization.value,
            "weight": consts.ModelQuantizationWeight.W4A16C16.value,
        },
        set_id,
    )["result"]
    running = {
        consts.ModelCompTaskStatus.Creating.value,
        consts.ModelCompTaskStatus.Running.value,
    }
    # A real model is measured twice.
    end = time.monotonic() + 10 * SECONDS
    while True:
        task = Resource.V2.describe_model_comp_task(task_id)["result"]
        if task["status"] not in running:
            break
        assert time.monotonic() < end, task
        time.sleep(0.2)
    found["comp"] = task
    smaller = Model(id=task["modelId"])
    found["compressed"] = Resource.V2.describe_model(model_id=smaller.id)["result"]
    found["listed_comps"] = Resource.V2.describe_model_comp_tasks(source_model_id=model_id)[
        "result"
    ]
    found["comp_deleted"] = Resource.V2.delete_model_comp_task(task_id)["result"]
    found["version_deleted"] = Resource.batch_delete_model_version([smaller.id])["result"]

found["model_deleted"] = Resource.V2.delete_model(model_id)["result"]
found["set_deleted"] = Resource.batch_delete_model([set_id])["result"]
found["gone"] = call_action("/v2/model", "DescribeCustomModelSets", {})["result"]
print("RESULT" + json.dumps(found))
