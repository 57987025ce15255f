"""The counters in Prometheus's own terms, made when somebody asks. Every name is listed in docs/how-to/watch-the-server.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from yangfan.server.metrics.histogram import cumulative
from yangfan.server.services import WAIT_BUCKETS_SECONDS
from yangfan.server.upstreams import BUCKETS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from yangfan.server.metrics.histogram import Histogram
    from yangfan.server.metrics.logic import Metrics, Series
    from yangfan.server.services import Service, Services
    from yangfan.server.upstreams import Upstreams
    from yangfan.server.usage import Usage


def registry_of(
    metrics: Metrics, services: Services, usage: Usage, upstreams: Upstreams
) -> CollectorRegistry:
    """Everything that `/metrics` shows: ours, and the process's."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PlatformCollector_(metrics, services, usage, upstreams))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class PlatformCollector_(Collector):  # noqa: N801 - the library has a PlatformCollector
    """Reads the counters where they are."""

    def __init__(
        self, metrics: Metrics, services: Services, usage: Usage, upstreams: Upstreams
    ) -> None:
        self._metrics = metrics
        self._services = services
        self._usage = usage
        self._upstreams = upstreams

    def collect(self) -> Iterable[Metric]:
        """Every family of ours."""
        yield from self._calls()
        yield from self._models()
        yield from self._tokens()
        yield from self._elsewhere()
        yield _family(
            "yangfan_event_loop_lag_seconds",
            "How late the event loop wakes a sleeper.",
            {(): self._metrics.loop_lag},
            (),
        )

    def _calls(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "yangfan_requests",
            "API calls by endpoint, model that was reserved, and outcome (ok, client_gone, or the error).",
            labels=("endpoint", "model", "outcome"),
        )
        for key, count in self._metrics.outcomes.items():
            requests.add_metric(key, count)
        yield requests
        labels = ("endpoint", "model")
        yield _family(
            "yangfan_request_duration_seconds",
            "From the head of a call to its end.",
            self._metrics.durations,
            labels,
        )
        yield _family(
            "yangfan_time_to_first_event_seconds",
            "From the head of a streamed call to its first event: the time to first token.",
            self._metrics.first_events,
            labels,
        )
        yield GaugeMetricFamily(
            "yangfan_requests_in_flight", "API calls being answered.", self._metrics.in_flight
        )
        decisions = CounterMetricFamily(
            "yangfan_limiter_decisions",
            "Calls that limits, quotas and the queue let in (admitted) or turned away, by reason.",
            labels=("decision",),
        )
        for decision, count in self._metrics.decisions.items():
            decisions.add_metric((decision,), count)
        yield decisions

    def _models(self) -> Iterator[Metric]:
        gauges = {
            "yangfan_model_ready": ("Whether the model can answer now.", _ready),
            "yangfan_model_in_flight": (
                "Answers that are being made, and calls that wait.",
                _in_flight,
            ),
            "yangfan_model_slots": ("Generations that run side by side.", _slots),
            "yangfan_model_waiting": ("Calls that wait for a slot.", _waiting),
            "yangfan_model_start_seconds": ("How long the last start took.", _start_seconds),
        }
        for name, (text, read) in gauges.items():
            family = GaugeMetricFamily(name, text, labels=("model",))
            for service in self._services.here:
                family.add_metric((service.name,), read(service))
            yield family
        yield from self._queues()
        restarts = CounterMetricFamily(
            "yangfan_engine_restarts",
            "Times that an engine died and was started anew.",
            labels=("model",),
        )
        for service in self._services.here:
            restarts.add_metric((service.name,), service.restarts)
        yield restarts

    def _queues(self) -> Iterator[Metric]:
        waits = HistogramMetricFamily(
            "yangfan_queue_wait_seconds",
            "How long calls waited for a slot that did not get one at once.",
            labels=("model",),
        )
        refused = CounterMetricFamily(
            "yangfan_queue_refused", "Calls that the queue turned away.", labels=("model", "reason")
        )
        for service in self._services.here:
            gate = service.gate
            rows = cumulative(WAIT_BUCKETS_SECONDS, gate.waits)
            waits.add_metric((service.name,), rows, gate.waited_seconds)
            for reason, count in gate.refused.items():
                refused.add_metric((service.name, reason), count)
        yield waits
        yield refused

    def _elsewhere(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "yangfan_upstream_requests",
            "Calls to other people's servers by upstream and outcome (ok, client_gone, or the error).",
            labels=("upstream", "outcome"),
        )
        durations = HistogramMetricFamily(
            "yangfan_upstream_duration_seconds",
            "How long they took, to the end of a stream.",
            labels=("upstream",),
        )
        for name, traffic in self._upstreams.traffic.items():
            for outcome, count in traffic.outcomes.items():
                requests.add_metric((name, outcome), count)
            durations.add_metric(
                (name,), cumulative(BUCKETS_SECONDS, traffic.counts), traffic.seconds
            )
        yield requests
        yield durations

    def _tokens(self) -> Iterator[Metric]:
        tokens = CounterMetricFamily(
            "yangfan_tokens",
            "Tokens booked since the start, by model and kind (prompt, completion).",
            labels=("model", "kind"),
        )
        ledger = self._usage.ledger
        for model, count in ledger.since_start.items():
            tokens.add_metric((model, "prompt"), count.prompt_tokens)
            tokens.add_metric((model, "completion"), count.completion_tokens)
        yield tokens
        yield _family(
            "yangfan_call_tokens",
            "Tokens of each call's prompt and answer, by model and kind (prompt, completion).",
            self._metrics.tokens,
            ("model", "kind"),
        )
        yield GaugeMetricFamily(
            "yangfan_ledger_pending",
            "Rows of usage that are in the spool and not yet in the database.",
            ledger.pending,
        )
        yield GaugeMetricFamily(
            "yangfan_ledger_safe",
            "Whether usage is written where a crash cannot lose it; 0 while the disk is full.",
            float(ledger.safe),
        )


def _ready(service: Service) -> float:
    return float(service.ready)


def _in_flight(service: Service) -> float:
    return service.in_flight


def _slots(service: Service) -> float:
    return service.size


def _waiting(service: Service) -> float:
    return service.gate.waiting


def _start_seconds(service: Service) -> float:
    return service.start_seconds


def _family(
    name: str,
    text: str,
    series: Mapping[Series | tuple[()], Histogram] | Mapping[Series, Histogram],
    labels: tuple[str, ...],
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, histogram in series.items():
        family.add_metric(values, cumulative(histogram.bounds, histogram.counts), histogram.sum)
    return family
