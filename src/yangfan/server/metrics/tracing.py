"""OpenTelemetry: one span a call and one for each of its stages, sent to a collector over OTLP/http. The only file that names attributes: none of `gen_ai.*` is stable yet.

Spans are made when a call is over, from what is known of it then, so that tracing costs a call nothing while it runs. The SDK comes with the extra
`otel`; its own settings (batch size, headers) are read by it from OTEL_* variables.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from yangfan.errors import ConfigurationError
from yangfan.server.http import CLIENT_GONE, OK

if TYPE_CHECKING:
    from collections.abc import Callable

    from yangfan.server.http import Observed

NANOSECONDS = 1_000_000_000


def missing() -> str | None:
    """None if the SDK is installed, otherwise how to install it."""
    needed = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
    try:
        found = all(importlib.util.find_spec(name) for name in needed)
    except ModuleNotFoundError:
        found = False
    return None if found else 'pip install "yangfan[otel]"'


class Tracer:
    """Turns finished calls into spans.

    Args:
        endpoint: Address of the collector, such as http://127.0.0.1:4318/v1/traces.
        exporter: Makes the exporter of an address; the real one if not given.

    Raises:
        ConfigurationError: The SDK is not installed.
    """

    def __init__(self, endpoint: str, exporter: Callable[[str], Any] | None = None) -> None:
        lacking = missing()
        if lacking is not None:
            raise ConfigurationError(
                f"settings: otlp_endpoint needs the OpenTelemetry SDK: {lacking}"
            )
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._ids = _ids()
        resource = Resource.create({"service.name": "yangfan"})
        self._provider = TracerProvider(resource=resource, id_generator=self._ids)
        self._provider.add_span_processor(BatchSpanProcessor((exporter or _otlp)(endpoint)))
        self._tracer = self._provider.get_tracer("yangfan")

    def __call__(self, call: Observed) -> None:
        """Make the spans of a call."""
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {"traceparent": call.traceparent} if call.traceparent else {}
        self._ids.become(call.span)
        span = self._tracer.start_span(
            call.endpoint,
            context=TraceContextTextMapPropagator().extract(carrier),
            kind=SpanKind.SERVER,
            attributes=attributes_of(call),
            start_time=call.started_ns,
        )
        if call.first_event_seconds is not None:
            at = call.started_ns + int(call.first_event_seconds * NANOSECONDS)
            span.add_event("first event", timestamp=at)
        for part in call.stages:
            inner = self._tracer.start_span(
                part.name, context=set_span_in_context(span), start_time=part.started_ns
            )
            inner.end(part.started_ns + int(part.seconds * NANOSECONDS))
        if call.outcome not in {OK, CLIENT_GONE}:
            span.set_status(Status(StatusCode.ERROR, call.outcome))
        span.end(call.started_ns + int(call.seconds * NANOSECONDS))

    def stop(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def _ids() -> Any:
    """Makes ids; those of a call's span are the ones that others were told while it ran."""
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        def __init__(self) -> None:
            self._span = ""

        def become(self, span: str) -> None:
            self._span = span

        def generate_trace_id(self) -> int:
            return int(self._span[3:35], 16) if self._span else super().generate_trace_id()

        def generate_span_id(self) -> int:
            span, self._span = self._span, ""
            return int(span[36:52], 16) if span else super().generate_span_id()

    return Ids()


def attributes_of(call: Observed) -> dict[str, str | int | bool]:
    """What a span says of a call."""
    return {
        "yangfan.request_id": call.request_id,
        "yangfan.outcome": call.outcome,
        "yangfan.key_id": call.key_id,
        "gen_ai.response.model": call.model,
        "gen_ai.usage.input_tokens": call.prompt_tokens,
        "gen_ai.usage.output_tokens": call.completion_tokens,
    }


def _otlp(endpoint: str) -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=endpoint)
