"""The evaluation manager of the published package: on the platform by rules, a referee and people; and here, on answers of the platform."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOptionalSubscript=false, reportOptionalMemberAccess=false, reportIncompatibleMethodOverride=false
# A user's program: the package's own types are not what is tested here.

import json
import os
import sys

from qianfan import ChatCompletion
from qianfan.config import get_config
from qianfan.dataset import Dataset
from qianfan.evaluation import EvaluationManager
from qianfan.evaluation.evaluator import (
    LocalEvaluator,
    ManualEvaluatorDimension,
    QianfanManualEvaluator,
    QianfanRefereeEvaluator,
    QianfanRuleEvaluator,
)
from qianfan.evaluation.local_evaluator import LocalJudgeEvaluator
from qianfan.model import Model, Service
from qianfan.model.consts import ServiceType
from qianfan.resources.console.utils import call_action

version, folder = sys.argv[1:3]
os.chdir(folder)  # the manager unpacks what it fetches where it stands
config = get_config()
config.EVALUATION_ONLINE_POLLING_INTERVAL = 0.2
config.EXPORT_STATUS_POLLING_INTERVAL = 0.2
config.BATCH_RUN_STATUS_POLLING_INTERVAL = 0.2
found = {}

echo = call_action("/v2/model", "DescribeModelSet", {"modelSetName": "echo"}).body["result"]
first = echo["modelIds"][0]
model = Model(id=first if isinstance(first, str) else first["modelId"])
dataset = Dataset.load(qianfan_dataset_id=version)

online = EvaluationManager(
    qianfan_evaluators=[
        QianfanRuleEvaluator(using_similarity=True, using_accuracy=True),
        QianfanRefereeEvaluator(app_id=1),
    ]
)
result = online.eval([model], dataset)
(metric,) = result.metrics.values()
found["online"] = [metric["accuracy"], metric["rouge_1"], metric["scoreDistribution"]]
found["rows"] = result.result_dataset.list()
found["undownloaded"] = len(online.eval([model], dataset, download_when_doing_online=False).metrics)

people = EvaluationManager(
    qianfan_evaluators=[
        QianfanManualEvaluator(evaluation_dimensions=[ManualEvaluatorDimension(dimension="文风")])
    ]
)
found["people"] = people.eval([model], dataset)
found["waiting"] = people.task_id


class Same(LocalEvaluator):
    """Whether the answer is the reference."""

    def evaluate(self, input, reference, output):
        """One of them."""
        return {"same": float(reference == output)}

    def summarize(self, metric_dataset):
        """The share."""
        values = metric_dataset.col_list("same")["same"]
        return {"same": sum(values) / len(values)}


services = [Service(endpoint="echo", service_type=ServiceType.Chat) for _ in range(2)]
services[1].id = "other"
judge = LocalJudgeEvaluator(
    model=ChatCompletion(endpoint="echo"), metric_name="judged", prompt_max_score=5
)
local = EvaluationManager(local_evaluators=[Same(), judge])
rows = Dataset.create_from_pyobj(
    [{"prompt": "上海", "response": "上海"}, {"prompt": "b", "response": "c"}],
    input_columns=["prompt"],
    reference_column="response",
)
compared = local.eval(services, rows)
found["compared"] = [
    len(compared.metrics),
    [each["same"] for each in compared.metrics.values()],
    len(compared.result_dataset.list()),
]

answered = model.batch_inference(dataset)
found["answered"] = answered.list()
only = EvaluationManager(local_evaluators=[Same()]).eval_only(answered)
found["only"] = only.metrics

print("RESULT" + json.dumps(found, default=str))
