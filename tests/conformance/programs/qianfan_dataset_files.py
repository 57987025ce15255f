"""Datasets with the published package: made, imported by a shared address, loaded, exported, downloaded, released."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOptionalSubscript=false, reportOptionalMemberAccess=false
# A user's program: the package's own types are not what is tested here.

import json
import sys
import time

from qianfan.config import get_config
from qianfan.dataset import Dataset
from qianfan.dataset.data_source import QianfanDataSource
from qianfan.dataset.data_source.utils import _create_import_data_task_and_wait_for_success
from qianfan.resources.console.consts import V2, DataSourceType, DataTemplateType
from qianfan.resources.console.data import Data

get_config().IMPORT_STATUS_POLLING_INTERVAL = 0.2
get_config().EXPORT_STATUS_POLLING_INTERVAL = 0.2
get_config().RELEASE_STATUS_POLLING_INTERVAL = 0.2
shared, texts, pictures = sys.argv[1:4]
found = {}


def imported(name, template, url):
    """A new dataset with what is at an address."""
    source = QianfanDataSource.create_bare_dataset(name, template)
    done = _create_import_data_task_and_wait_for_success(
        source.id, True, url, DataSourceType.SharedZipUrl
    )
    return source, done


source, found["imported"] = imported(
    "official files", DataTemplateType.NonSortedConversation, shared
)
info = Data.get_dataset_info(source.id)["result"]["versionInfo"]
found["info"] = [info["importStatus"], info["entityCount"], info["exportRecordCount"]]
detail = Data.get_dataset_import_error_detail(source.id, info["errCode"])["result"]
found["errors"] = [[row["textLocation"], row["textContent"]] for row in detail["content"]]

table = source.fetch()
found["rows"] = Dataset(inner_table=table).list()
found["records"] = len(Data.get_dataset_export_records(source.id)["result"])
# What is in the cache is still good, so nothing is exported again.
source.fetch()
found["records again"] = len(Data.get_dataset_export_records(source.id)["result"])
again = QianfanDataSource.get_existed_dataset(source.id)
found["again"] = [again.name, again.fetch().num_rows]
found["loaded"] = len(Dataset.load(qianfan_dataset_id=source.id).list())
found["released"] = source.release_dataset()

plain, done = imported("official texts", DataTemplateType.GenericText, texts)
found["texts"] = [done, plain.fetch().to_pydict()]
paired, done = imported("official pictures", DataTemplateType.Text2Image, pictures)
table = paired.fetch().to_pylist()
found["pictures"] = [
    done,
    sorted(
        row["relative_path"]
        if "relative_path" in row
        else next(iter(row.values())).rsplit("/", 1)[1]
        for row in table
    ),
]

version = Data.V2.create_dataset(
    "official v2", V2.DatasetFormat.PromptResponse, V2.StorageType.SysStorage
)["result"]["versionId"]
task = Data.V2.create_dataset_version_import_task(version, [shared])["result"]["taskId"]
while (one := Data.V2.get_dataset_version_import_task_info(task)["result"])["importStatus"] in {
    "Created",
    "Importing",
}:
    time.sleep(0.2)
found["v2 import"] = [one["importStatus"], one["sampleCount"]]
task = Data.V2.create_dataset_version_export_task(version, V2.StorageType.SysStorage)["result"][
    "taskId"
]
while (one := Data.V2.get_dataset_version_export_task_info(task)["result"])["exportStatus"] in {
    "Created",
    "Exporting",
}:
    time.sleep(0.2)
found["v2 export"] = [one["exportStatus"], one["sampleCount"], bool(one["downloadUrl"])]
print("RESULT" + json.dumps(found, default=str))
