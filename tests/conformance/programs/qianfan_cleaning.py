"""Cleaning and augmentation as a user of the published package writes them."""

import json
import sys
import time
from typing import Any

from qianfan.dataset import dataset_utils
from qianfan.resources import Data

source, goal, seeds, made = sys.argv[1:]
found: dict[str, Any] = {}
task = Data.create_dataset_etl_task(
    "tidy",
    source,
    goal,
    {
        "clean": [{"name": "remove_emoji", "args": {}}],
        "filter": [
            {
                "name": "filter_check_number_words",
                "args": {"number_words_min_cutoff": 2, "number_words_max_cutoff": 100},
            }
        ],
        "deduplication": [{"name": "deduplication_simhash", "args": {"distance": 5}}],
        "desensitization": [],
    },
)["result"]
found["task"] = task
wait = dataset_utils._check_online_data_process_result  # pyright: ignore[reportPrivateUsage] - what online_data_process polls with
while (ended := wait(task)) is None:
    time.sleep(0.2)
found["ended"] = ended
found["detail"] = Data.get_dataset_etl_task_info(task)["result"]
found["list"] = Data.get_dataset_etl_task_list(page_size=5, offset=0)["result"]
found["deleted"] = Data.delete_dataset_etl_task([task])["result"]

found["augment"] = Data.create_dataset_augmenting_task("more", seeds, made, "echo", 1, 2, 1, 1.0)[
    "result"
]
item = Data.get_dataset_aug_task_list(keyword="more", sorted_by_start_time_asc=False)["result"][
    "items"
][0]
while True:
    info = Data.get_dataset_augmenting_task_info(item["strId"])["result"]
    if info["status"] not in (1, 2):
        break
    time.sleep(0.2)
found["augmented"] = info
found["augment deleted"] = Data.delete_dataset_augmenting_task([item["strId"]])["result"]
try:
    Data.get_dataset_etl_task_info(task)
except Exception as error:  # noqa: BLE001 - whatever a user of the package sees
    found["gone"] = str(error)
print("RESULT" + json.dumps(found))
