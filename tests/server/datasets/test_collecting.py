"""Content that nobody uses is removed, but not what a job still needs."""

from __future__ import annotations

import os
import time

import pytest

from yangfan.datasets.formats import DataFormat, Sample
from yangfan.datasets.shards import ShardWriter
from yangfan.server.datasets import Collector, Datasets
from yangfan.server.jobs import Jobs

pytest.importorskip("pyarrow", reason="the extra `data` is not installed")


async def test_what_a_job_mentions_stays_until_it_ends(datasets: Datasets) -> None:
    with ShardWriter(datasets.blobs, DataFormat.TEXT) as writer:
        writer.add("a", Sample(text="a"))
        manifest = writer.finish()
    (shard,) = manifest.shards
    jobs = Jobs(datasets.database)
    collector = Collector(datasets, jobs)
    job = await jobs.submit("import_dataset", {"manifest": manifest.encode().decode()})
    assert shard.sha256 in await collector.mentioned()
    old = time.time() - 9 * 24 * 3600
    os.utime(datasets.blobs.path(shard.sha256), (old, old))
    assert await datasets.collect(collector.mentioned) == (0, 0)
    await jobs.cancel(job.id)
    assert await datasets.collect(collector.mentioned) == (1, shard.size_bytes)
