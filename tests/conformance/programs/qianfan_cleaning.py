"""Cleaning and augmentation as a user of the published package writes them."""

import json
import sys
import time
from typing import Any

from qianfan.config import get_config
from qianfan.dataset import Dataset, dataset_utils
from qianfan.dataset import qianfan_data_operators as operators
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

# All operators that the package has, in the package's own words; it makes the destination itself.
get_config().ETL_STATUS_POLLING_INTERVAL = 0.2
whole = Dataset.load(qianfan_dataset_id=source)
processed = whole.online_data_process(
    [
        operators.RemoveEmoji(),
        operators.RemoveInvisibleCharacter(),
        operators.ReplaceUniformWhitespace(),
        operators.RemoveNonMeaningCharacters(),
        operators.ReplaceTraditionalChineseToSimplified(),
        operators.RemoveWebIdentifiers(),
        operators.FilterCheckNumberWords(number_words_min_cutoff=1, number_words_max_cutoff=10000),
        operators.FilterCheckWordRepetitionRemoval(word_repetition_max_cutoff=0.6),
        operators.FilterCheckCharacterRepetitionRemoval(
            default_character_repetition_max_cutoff=0.2
        ),
        operators.FilterCheckSpecialCharacters(special_characters_max_cutoff=0.3),
        operators.FilterCheckFlaggedWords(flagged_words_max_cutoff=0.5),
        operators.FilterCheckLangId(lang_id_min_cutoff=0.0),
        operators.FilterCheckPerplexity(perplexity_max_cutoff=100000),
        operators.DeduplicationSimhash(distance=5),
        operators.ReplaceEmails(),
        operators.ReplaceIp(),
        operators.ReplaceIdentifier(),
    ]
)
found["processed"] = processed["is_succeeded"]
found["new"] = processed["new_dataset_id"]
counted = Data.get_dataset_etl_task_info(processed["etl_task_id"])["result"]["result"]
found["operators"] = sum(
    stage["operator_count"] for stage in counted["pipeline_stage_result"].values()
)
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
