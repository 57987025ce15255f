"""Jobs and callers' services for `/metrics`: read from where they are when somebody asks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from yangfan.server.metrics.histogram import Histogram, cumulative

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.core import Metric

    from yangfan.server.deployments import Deployments
    from yangfan.server.jobs import Census, Jobs

JOB_SECONDS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
"""From a small import to a day of training."""


class WorkCollector(Collector):
    """Jobs as the database has them, whichever process works on them, and services as this process runs them.

    Args:
        jobs: The jobs.
        deployments: The services.
    """

    def __init__(self, jobs: Jobs, deployments: Deployments) -> None:
        self._jobs = jobs
        self._deployments = deployments
        self._census: Census | None = None
        self._durations: dict[tuple[str, str], Histogram] = {}

    async def look(self) -> None:
        """Read the jobs; `collect` shows them until the next look."""
        before = self._census
        self._census = census = await self._jobs.census(None if before is None else before.upto_ms)
        for kind, state, seconds in census.ended:
            key = (kind, state)
            if key not in self._durations:
                self._durations[key] = Histogram(JOB_SECONDS)
            self._durations[key].add(seconds)

    def collect(self) -> Iterable[Metric]:
        """Every family of these."""
        if self._census is not None:
            yield from self._job_families(self._census)
        yield from self._service_families()

    def _job_families(self, census: Census) -> Iterator[Metric]:
        jobs = GaugeMetricFamily(
            "yangfan_jobs", "Jobs that there are, by kind and state.", labels=("kind", "state")
        )
        for key, count in census.jobs.items():
            jobs.add_metric(key, count)
        yield jobs
        yield GaugeMetricFamily(
            "yangfan_jobs_queue_age_seconds",
            "How long the first job in the queue could have begun.",
            census.queue_age_seconds,
        )
        durations = HistogramMetricFamily(
            "yangfan_job_duration_seconds",
            "From the first start of a job to its end, of those that ended since this process began.",
            labels=("kind", "state"),
        )
        for key, histogram in self._durations.items():
            rows = cumulative(histogram.bounds, histogram.counts)
            durations.add_metric(key, rows, histogram.sum)
        yield durations

    def _service_families(self) -> Iterator[Metric]:
        running = self._deployments.states
        services = GaugeMetricFamily(
            "yangfan_services",
            "Callers' services that are meant to run, by status.",
            labels=("status",),
        )
        for status, count in Counter(state.status for state in running).items():
            services.add_metric((status,), count)
        yield services
        replicas = GaugeMetricFamily(
            "yangfan_service_replicas",
            "Engines of callers' services that can answer (ready) and that are to run (wanted).",
            labels=("model", "state"),
        )
        for view in running:
            ready = sum(state.ready for state in view.deployments)
            replicas.add_metric((view.service.suffix, "ready"), ready)
            replicas.add_metric((view.service.suffix, "wanted"), view.stable.replicas)
        yield replicas
