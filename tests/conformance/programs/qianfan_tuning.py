"""Tuning as users of the published `qianfan` package do it: the FineTune class in v1 and v2, and LLMFinetune from dataset to service."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOptionalMemberAccess=false, reportOptionalSubscript=false
# A user's program: the package's own types are not what is tested here.

import json
import sys
import time

from qianfan.errors import QianfanError
from qianfan.model.configs import DeployConfig
from qianfan.model.consts import ServiceType
from qianfan.resources import FineTune
from qianfan.resources import Model as Resource
from qianfan.resources.console import consts
from qianfan.trainer import LLMFinetune
from qianfan.trainer.configs import DatasetConfig, TrainConfig

SECONDS = 150
source, dataset = sys.argv[1:]
found = {}


def until(ask, condition):
    end = time.monotonic() + SECONDS
    while not condition(result := ask()):
        assert time.monotonic() < end, result
        time.sleep(0.2)
    return result


set_id = Resource.V2.create_custom_model_set("base", consts.CustomModelSetModelType.Text2Text)[
    "result"
]["modelSetId"]
base_id = Resource.V2.create_custom_model(
    set_id,
    consts.CreateCustomModelSourceType.Import,
    import_meta={"source": source},
)["result"]["modelId"]
until(
    lambda: Resource.V2.describe_model(base_id)["result"], lambda each: each["status"] != "Creating"
)

# What can be tuned, and what is refused
models = FineTune.V2.supported_models()["result"]
found["models"] = [each["model"] for each in models]
data = {"sourceType": "Platform", "versions": [{"versionId": dataset}], "splitRatio": 20}
small = {"batchSize": 4, "maxSeqLen": 64}
job_id = FineTune.V2.create_job(name="plain", model="base", train_mode=consts.TrainMode.SFT)[
    "result"
]["jobId"]
try:
    FineTune.V2.create_task(
        job_id=job_id, params_scale="LoRA", hyper_params={"epoch": 99}, dataset_config=data
    )
except QianfanError as error:
    found["refused"] = str(error)

# v1, where names are turned round; stopped before it is done
task = FineTune.create_task(name="v1", base_train_type="base", train_type="base")["result"]
job = FineTune.create_job(
    {
        "taskId": task["id"],
        "baseTrainType": "base",
        "trainType": "base",
        "trainMode": "SFT",
        "peftType": "LoRA",
        "trainConfig": {"epoch": 50, **small},
        "trainset": [{"type": 1, "id": dataset}],
        "trainsetRate": 20,
    }
)["result"]
detail = FineTune.get_job(task["id"], job["id"])["result"]
found["v1_running"] = detail["trainStatus"]
found["v1_stopped"] = FineTune.stop_job(task["id"], job["id"])["result"]
detail = until(
    lambda: FineTune.get_job(task["id"], job["id"])["result"],
    lambda each: each["trainStatus"] != "RUNNING",
)
found["v1_end"] = detail["trainStatus"]

# The trainer, from a dataset to a service
trainer = LLMFinetune(
    train_type="ERNIE-Speed-8K",
    dataset=dataset,
    eval_split_ratio=20,
    train_config=TrainConfig(
        peft_type="LoRA", epoch=2, batch_size=4, max_seq_len=64, learning_rate=0.005
    ),
    deploy_config=DeployConfig(
        name="tuned", endpoint_suffix="tuned", replicas=1, service_type=ServiceType.Chat
    ),
)
trainer.run()
result, task_id = trainer.result[0], trainer.train_action.task_id
model_id = result["model"].id
found["task"] = FineTune.V2.task_detail(task_id=task_id)["result"]
found["endpoint"] = result["service_endpoint"]
found["version"] = Resource.V2.describe_model(model_id=model_id)["result"]
found["detail"] = Resource.detail(model_version_id=model_id)["result"]
found["answer"] = result["service"].exec(
    {"messages": [{"role": "user", "content": "Say only: yes"}]}
)["result"]

# Incremental, as the trainer does it, without publishing
further = LLMFinetune(
    dataset=DatasetConfig(
        datasets=[{"versionId": dataset}], eval_split_ratio=20, source_type="Platform"
    ),
    train_config=TrainConfig(peft_type="LoRA", epoch=1, batch_size=4, max_seq_len=64),
    previous_task_id=task_id,
    task_step=found["task"]["checkpointList"][-1]["step"],
    model_not_publish=True,
)
further.run()
found["further"] = FineTune.V2.task_detail(task_id=further.train_action.task_id)["result"]

# Lists and deletion
found["jobs"] = FineTune.V2.job_list(train_model=consts.TrainMode.SFT, max_keys=100)["result"]
found["tasks"] = FineTune.V2.task_list(job_id=trainer.train_action.job_id)["result"]
found["not_stopped"] = FineTune.V2.stop_task(task_id)["result"]
found["deleted"] = [
    FineTune.V2.delete_task(job["uuid"])["result"],
    FineTune.V2.delete_job(task["uuid"])["result"],
]
print("RESULT" + json.dumps(found))
