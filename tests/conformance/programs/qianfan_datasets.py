"""Datasets and samples with the published package: Data, Data.V2, and Dataset on the platform."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOptionalSubscript=false, reportOptionalMemberAccess=false
# A user's program: the package's own types are not what is tested here.

import json
import sys

from qianfan.dataset import Dataset
from qianfan.dataset.data_source import QianfanDataSource
from qianfan.errors import QianfanError
from qianfan.resources import Data
from qianfan.resources.console.consts import (
    V2,
    DataProjectType,
    DataSetType,
    DataTemplateType,
    EntityListingType,
)

filled = sys.argv[1]
found = {}

# The data source creates a dataset, and finds it again.
source = QianfanDataSource.create_bare_dataset(
    "conformance", DataTemplateType.NonSortedConversation
)
again = QianfanDataSource.get_existed_dataset(source.id)
found["source"] = [
    source.id == again.id,
    source.group_id == again.group_id,
    again.name,
    again.version,
    again.project_type.value,
    again.template_type.value,
    again.storage_type.value,
]
try:
    again.fetch()
except LookupError as error:
    found["empty"] = str(error)
try:
    QianfanDataSource.create_bare_dataset("conformance", DataTemplateType.GenericText)
except QianfanError as error:
    found["twice"] = str(error)
made = Data.create_bare_dataset(
    "conformance text",
    DataSetType.TextOnly,
    DataProjectType.GenericText,
    DataTemplateType.GenericText,
)["result"]
states = Data.get_dataset_status_in_batch([source.id, made["datasetId"]])["result"]
found["states"] = sorted(
    [state["importStatus"], state["releaseStatus"], state["entityCount"]]
    for state in states.values()
)
found["deleted"] = Data.delete_dataset(made["datasetId"])["result"]

# Samples of a dataset that has some.
dataset = Dataset.load(qianfan_dataset_id=filled)
one = dataset.list(0)
found["one"] = one[0]["entity_content"]
some = dataset.list(slice(1, 3))
found["some"] = [item["entity_content"] for item in some]
first = one[0]["entity_id"]
found["annotated"] = Data.annotate_an_entity(
    first, filled, content=[{"prompt": "Question 0", "response": [["Other"]]}]
)["result"]
listed = Data.list_all_entity_in_dataset(
    filled, page_size=30, listing_type=EntityListingType.AnnotatedOnly
)["result"]
found["listed"] = [listed["totalAll"], listed["total"]]
found["gone"] = Data.delete_an_entity([some[0]["entity_id"]], filled)["result"]
existing = QianfanDataSource.get_existed_dataset(filled)
found["released"] = [existing.release_dataset(), existing.release_dataset()]
info = Data.get_dataset_info(filled)["result"]["versionInfo"]
found["info"] = [info["releaseStatus"], info["entityCount"], info["annotatedEntityCount"]]
try:
    Data.delete_an_entity([first], filled)
except QianfanError as error:
    found["refused"] = str(error)

# v2.
made = Data.V2.create_dataset(
    "conformance v2", V2.DatasetFormat.PromptResponse, V2.StorageType.SysStorage
)["result"]
found["v2 made"] = [made["datasetId"][:3], made["versionId"][:3], made["versionNumber"]]
bos = Data.V2.create_dataset(
    "conformance bos", V2.DatasetFormat.Text, V2.StorageType.Bos, "bos:/bucket/folder"
)["result"]
found["v2 bos"] = [bos["storageType"], bos["storagePath"]]
second = Data.V2.create_dataset_version(made["datasetId"], description="second")["result"]
found["v2 second"] = [second["versionNumber"], second["description"]]
info = Data.V2.get_dataset_version_info(second["versionId"])["result"]
found["v2 info"] = [info["importStatus"], info["publishStatus"], info["dataFormat"]]
listed = Data.V2.get_dataset_list(max_keys=100)["result"]
found["v2 list"] = [item["datasetName"] for item in listed["datasetList"]]
versions = Data.V2.get_dataset_version_list(
    made["datasetId"], max_keys=1, filter={"publishStatusList": ["Unpublished"]}
)["result"]
found["v2 versions"] = [len(versions["versionList"]), versions["pageInfo"]["isTruncated"]]
found["v2 published"] = Data.V2.publish_dataset_version(filled)["result"]["publishStatus"]
found["v2 deleted"] = [
    Data.V2.delete_dataset_version(second["versionId"])["result"],
    Data.V2.delete_dataset(made["datasetId"])["result"],
]
print("RESULT" + json.dumps(found, ensure_ascii=False))
