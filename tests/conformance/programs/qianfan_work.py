"""Prompt optimisation and evaluation, evaluation tasks and batch inference through the published package."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOptionalSubscript=false, reportOptionalMemberAccess=false
# A user's program: the package's own types are not what is tested here.

import json
import os
import time

from qianfan import Completion
from qianfan.common import Prompt
from qianfan.consts import PromptScoreStandard
from qianfan.resources import Data, Model
from qianfan.resources.batch_inference import BatchInferenceHelper

file_id = os.environ["FILE_ID"]
queries = os.environ["QUERIES_ID"]
found = {}

better = Prompt(template="Say {topic}").optimize(
    optimize_quality=True, iteration_round=1, service_name="echo"
)
found["optimised"] = better.template
results = Prompt.evaluate(
    [Prompt(template="{word}"), Prompt(template="no")],
    [{"args": {"word": "sail"}, "expected": "sail"}],
    Completion(endpoint="echo"),
    PromptScoreStandard.Exact
    if hasattr(PromptScoreStandard, "Exact")
    else list(PromptScoreStandard)[2],
)
found["scores"] = [scene["score"] for result in results for scene in result.scene]
found["summary"] = results[0].summary

made = Model.create_evaluation_task(
    name="task",
    version_info=[{"modelId": "am-x", "modelVersionId": "echo"}],
    dataset_id=file_id,
    eval_config={"evalMode": "rule", "scoreModes": ["similarity", "accuracy"]},
)["result"]["evalIdStr"]
while Model.get_evaluation_info(made)["result"]["state"] in {"Pending", "Doing"}:
    time.sleep(0.1)
found["state"] = Model.get_evaluation_info(made)["result"]["state"]
found["metric"] = Model.get_evaluation_result(made)["result"][0]["effectMetric"]
export = Model.create_evaluation_result_export_task(made)["result"]["exportIDStr"]
info = Model.get_evaluation_result_export_task_status(export)["result"]
while info["state"] == "Uploading":
    time.sleep(0.1)
    info = Model.get_evaluation_result_export_task_status(export)["result"]
found["export"] = [info["state"], info["downloadUrl"]]
found["listed"] = Model.get_evaluation_result_list(
    made, rouge_1={"start": 0.5, "end": 1.0}, page_no=1, page_size=10
)["result"]["total"]
Model.batch_delete_evaluation_result([made])

task = Data.create_offline_batch_inference_task(
    name="bf",
    model_id="echo",
    input_bos_uri="bos:/unused/in",
    output_bos_uri="bos:/unused/out",
    inputFileId=queries,
)["result"]["taskId"]
while True:
    shown = Data.get_offline_batch_inference_task(task_id=task)
    if shown.body["runStatus"] not in {"Queuing", "Running"}:
        break
    time.sleep(0.1)
found["batch"] = [shown["result"]["runStatus"], shown["result"]["progress"]]
listed = Data.list_offline_batch_inference_task(max_keys=10, run_status="Done")
found["batches"] = [each["taskId"] == task for each in listed["result"]["taskList"]]

os.chdir(os.environ["FOLDER"])  # the helper keeps its tasks in files where it stands
pause = time.sleep
time.sleep = lambda seconds: pause(min(seconds, 0.3))  # it waits 5 to 10 s between its questions
helper = BatchInferenceHelper(bos_region="bj", bos_bucket="models")
(helped,) = helper.batch_inference(
    "bos:/models/in", "bos:/models/out", model_id="echo", use_raw_input=True
)["results"]
while helped.status not in {"Done", "Failed", "Stopped"}:  # it takes Queuing for an end
    pause(0.1)
    helped.update_status()
found["helped"] = [helped.status, helped.output["progress"], helped.output["outputDir"]]

print("RESULT" + json.dumps(found))
