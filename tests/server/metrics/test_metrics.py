"""Counters, the page that shows them, the request log and traces: fed by a real server, and alone."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.conftest import Server, serving, wait_until
from tests.server.conftest import Caller
from tests.server.usage.conftest import granted

from yangfan.engines.wire.trace import Stage
from yangfan.server.http import CLIENT_GONE, OK, Observed
from yangfan.server.http.observing import trace_of
from yangfan.server.metrics import Metrics
from yangfan.server.metrics.histogram import Histogram, cumulative
from yangfan.server.metrics.request_log import MAX_LOG_BYTES, RequestLog
from yangfan.server.metrics.tracing import Tracer, attributes_of, missing

ROOT = Path(__file__).parents[3]
SECRET = "canary-7d1f3a"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def call_of(**changed: Any) -> Observed:
    facts: dict[str, Any] = {
        "endpoint": "v1.chat",
        "request_id": "req-1",
        "outcome": OK,
        "started_ns": 1_700_000_000_000_000_000,
        "seconds": 0.2,
        "first_event_seconds": None,
        "key_id": "key-1",
        "model": "echo",
        "admitted": True,
        "prompt_tokens": 3,
        "completion_tokens": 4,
    }
    return Observed(**{**facts, **changed})


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Generator[Caller]:
    """A server of its own, whose counters start at zero."""
    with serving(tmp_path_factory.mktemp("watched")) as server:
        yield Caller(server)


def samples(caller: Caller) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    reply = caller.ask("GET", "/metrics")
    assert reply.status == 200
    families = text_string_to_metric_families(reply.body.decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(caller: Caller, name: str, **labels: str) -> float:
    return samples(caller).get((name, tuple(sorted(labels.items()))), 0.0)


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def test_every_call_is_counted_by_endpoint_model_and_outcome(watched: Caller):
    def counted(outcome: str, model: str = "echo") -> float:
        labels = {"endpoint": "v1.chat", "model": model, "outcome": outcome}
        return value(watched, "yangfan_requests_total", **labels)

    fine, wrong = counted(OK), counted("InvalidMessages", "")
    assert watched.v1(ask("hi")).json["result"]
    assert watched.v1({"messages": []}).json["error_code"]
    assert counted(OK) == fine + 1
    after = samples(watched)
    refused = [
        labels
        for (name, labels) in after
        if name == "yangfan_requests_total" and ("outcome", OK) not in labels
    ]
    assert refused, wrong


def test_streams_tell_their_time_to_first_event(watched: Caller):
    name = "yangfan_time_to_first_event_seconds_count"
    before = value(watched, name, endpoint="v2.chat", model="echo")
    body = {"model": "echo", **ask("hi there", stream=True)}
    assert len(list(watched.stream("/v2/chat/completions", body))) > 1
    assert value(watched, name, endpoint="v2.chat", model="echo") == before + 1
    duration = "yangfan_request_duration_seconds_count"
    assert value(watched, duration, endpoint="v2.chat", model="echo") >= 1


def test_tokens_agree_with_usage(watched: Caller):
    name = "yangfan_tokens_total"
    kinds = ("prompt", "completion")

    def counted(name: str) -> dict[str, float]:
        return {kind: value(watched, name, model="echo", kind=kind) for kind in kinds}

    before, calls = counted(name), counted("yangfan_call_tokens_count")
    together = counted("yangfan_call_tokens_sum")
    usage = watched.v1(ask("one two three")).json["usage"]
    for kind in kinds:
        tokens = usage[f"{kind}_tokens"]
        assert counted(name)[kind] - before[kind] == tokens
        assert counted("yangfan_call_tokens_sum")[kind] - together[kind] == tokens
        assert counted("yangfan_call_tokens_count")[kind] - calls[kind] == 1


def test_limiter_decisions_are_counted(watched: Caller):
    def decided(decision: str) -> float:
        return value(watched, "yangfan_limiter_decisions_total", decision=decision)

    admitted, refused = decided("admitted"), decided("requests_per_minute")
    holder = granted(watched, rpm=1)
    assert holder.v2().status == 200
    assert holder.v2().status == 429
    assert decided("admitted") == admitted + 1
    assert decided("requests_per_minute") == refused + 1


def test_a_call_that_the_queue_turns_away_is_not_counted_as_admitted():
    metrics = Metrics()
    for outcome in ("Overloaded", "PreemptibleLimited", OK):
        metrics.began()
        metrics.ended(call_of(outcome=outcome))
    assert metrics.decisions == {"overload": 1, "preemptible": 1, "admitted": 1}


def test_models_loop_ledger_and_process_are_shown(watched: Caller):
    shown = samples(watched)
    model = (("model", "echo"),)
    assert shown["yangfan_model_ready", model] == 1
    assert shown["yangfan_model_slots", model] == 16
    assert shown["yangfan_model_in_flight", model] == 0
    assert shown["yangfan_model_start_seconds", model] > 0
    assert shown["yangfan_engine_restarts_total", model] == 0
    assert shown["yangfan_ledger_safe", ()] == 1
    assert shown["yangfan_requests_in_flight", ()] == 0
    assert shown["process_resident_memory_bytes", ()] > 0
    wait_until(
        lambda: value(watched, "yangfan_event_loop_lag_seconds_count") > 0, "a look at the loop"
    )


def test_openmetrics_is_spoken_to_who_asks(watched: Caller):
    reply = watched.ask("GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
    assert reply.headers["Content-Type"].startswith("application/openmetrics-text")
    assert reply.body.endswith(b"# EOF\n")


@pytest.mark.parametrize("header", [{"X-Forwarded-For": "203.0.113.9"}, {"Host": "evil.example"}])
def test_who_comes_through_a_proxy_or_by_another_name_is_refused_with_the_setting(
    watched: Caller, header: dict[str, str]
):
    reply = watched.ask("GET", "/metrics", headers=header)
    assert reply.status == 403
    assert b'metrics = "public"' in reply.body


def test_metrics_can_be_public_or_off(tmp_path: Path):
    forwarded = {"X-Forwarded-For": "203.0.113.9"}
    with serving(tmp_path / "public", environ={"YANGFAN_METRICS": "public"}) as server:
        assert Caller(server).ask("GET", "/metrics", headers=forwarded).status == 200
    off = {"YANGFAN_METRICS": "off", "YANGFAN_REQUEST_LOG": "false"}
    with serving(tmp_path / "off", environ=off) as server:
        caller = Caller(server)
        assert caller.ask("GET", "/metrics").status == 404
        assert caller.v1(ask("hi")).json["result"]
    assert not (tmp_path / "off" / "logs" / "requests.log").exists()


def test_no_prompt_and_no_secret_reaches_log_or_metrics(tmp_path: Path):
    with serving(tmp_path) as server:
        caller = Caller(server)
        caller.v1(ask(SECRET, system=SECRET, user_id=SECRET))
        caller.v2({"model": SECRET, **ask(SECRET)})
        caller.ask("POST", "/v2/chat/completions", SECRET, {"Authorization": f"Bearer {SECRET}"})
        caller.ask("POST", f"/v2/{SECRET}", "{}", caller.bearer())
        shown = caller.ask("GET", "/metrics").body.decode()
        secrets = (SECRET, *credentials_of(server))
    logged = "".join(path.read_text("utf-8") for path in (tmp_path / "logs").iterdir())
    lines = request_lines(tmp_path)
    assert [line["endpoint"] for line in lines] == ["v1.chat", "v2.chat", "v2.chat"]
    assert {line["outcome"] for line in lines} > {OK}
    assert lines[0]["prompt_tokens"] > 0
    for secret in secrets:
        assert secret not in shown
        assert secret not in logged


def request_lines(home: Path) -> list[dict[str, Any]]:
    """The request log of a server that has ended."""
    text = (home / "logs" / "requests.log").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def credentials_of(server: Server) -> list[str]:
    return [server.secret_key, server.secret_access_key, server.bearer]


def test_request_id_of_the_reply_is_the_one_in_the_log(tmp_path: Path):
    with serving(tmp_path) as server:
        reply = Caller(server).v1(ask("hi"))
    (line,) = request_lines(tmp_path)
    assert line["request_id"] == reply.headers["X-Baidu-Request-Id"]


async def test_request_log_starts_a_new_file_when_one_is_long(tmp_path: Path):
    path = tmp_path / "requests.log"
    path.write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    log = RequestLog(path)
    log(call_of())
    await log.stop()
    assert json.loads(path.read_text())["endpoint"] == "v1.chat"
    assert (tmp_path / "requests.log.1").stat().st_size == MAX_LOG_BYTES + 1


async def test_request_log_that_cannot_be_written_harms_nobody(tmp_path: Path):
    log = RequestLog(tmp_path / "missing" / "requests.log")
    await log.start()
    log(call_of())
    await log.stop()


def test_histogram_is_cumulative_and_counts_what_is_beyond():
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        histogram.add(seconds)
    assert cumulative(histogram.bounds, histogram.counts) == [
        ("0.1", 2.0),
        ("1.0", 3.0),
        ("+Inf", 4.0),
    ]
    assert histogram.sum == pytest.approx(7.65)


def test_in_flight_returns_to_zero_whatever_happens():
    metrics = Metrics()
    for outcome in (OK, CLIENT_GONE, "EngineFailed"):
        metrics.began()
        metrics.ended(call_of(outcome=outcome))
    assert metrics.in_flight == 0
    assert metrics.decisions == {"admitted": 3}


@pytest.mark.skipif(missing() is not None, reason=f"OpenTelemetry: {missing()}")
def test_a_call_becomes_a_span_of_the_callers_trace():
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    tracer = Tracer("http://unused", lambda _endpoint: exporter)
    tracer(call_of(traceparent=f"00-{TRACE}-b7ad6b7169203331-01", first_event_seconds=0.05))
    tracer(call_of(outcome="EngineFailed"))
    tracer.stop()
    fine, failed = exporter.get_finished_spans()
    assert fine.context is not None
    assert f"{fine.context.trace_id:032x}" == TRACE
    assert fine.end_time is not None
    assert fine.start_time is not None
    assert fine.end_time - fine.start_time == 200_000_000
    assert dict(fine.attributes or {}) == attributes_of(call_of())
    assert [event.name for event in fine.events] == ["first event"]
    assert failed.status.description == "EngineFailed"


@pytest.mark.skipif(missing() is not None, reason=f"OpenTelemetry: {missing()}")
@pytest.mark.parametrize("parent", ["", f"00-{TRACE}-b7ad6b7169203331-01"])
def test_stages_lie_within_the_span_that_others_were_told(parent: str):
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    tracer = Tracer("http://unused", lambda _endpoint: exporter)
    trace = trace_of(parent, traced=True)
    assert trace is not None
    stage = Stage("engine", 1_700_000_000_050_000_000, 0.1)
    tracer(call_of(traceparent=parent, span=trace.traceparent, stages=(stage,)))
    tracer(call_of())
    tracer.stop()
    inner, whole, other = exporter.get_finished_spans()
    assert whole.context is not None
    assert inner.parent is not None
    told = f"00-{whole.context.trace_id:032x}-{whole.context.span_id:016x}-01"
    assert trace.traceparent == told
    assert (inner.name, inner.parent.span_id) == ("engine", whole.context.span_id)
    assert whole.parent is None or f"{whole.parent.span_id:016x}" == "b7ad6b7169203331"
    assert other.context is not None
    assert other.context.span_id != whole.context.span_id


def test_a_trace_that_nobody_keeps_is_passed_on_as_it_came():
    parent = f"00-{TRACE}-b7ad6b7169203331-00"
    passed = trace_of(parent, traced=False)
    assert passed is not None
    assert passed.traceparent == parent
    assert trace_of("", traced=False) is None
    own = trace_of(parent, traced=True)
    assert own is not None
    assert re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-00", own.traceparent)
    assert own.traceparent != parent


@pytest.mark.skipif(missing() is not None, reason=f"OpenTelemetry: {missing()}")
def test_spans_reach_a_collector_over_http(tmp_path: Path, collector: tuple[str, list[bytes]]):
    address, received = collector
    traced = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    with serving(tmp_path, environ={"YANGFAN_OTLP_ENDPOINT": address}) as server:
        caller = Caller(server)
        path = "/v2/chat/completions"
        body = {"model": "echo", **ask(SECRET)}
        assert caller.ask("POST", path, body, {**caller.bearer(), **traced}).status == 200
        body |= {"stream": True}
        assert caller.ask("POST", path, body, {**caller.bearer(), **traced}).status == 200
    sent = b"".join(received)
    assert bytes.fromhex(TRACE) in sent
    assert b"v2.chat" in sent
    assert sent.count(b"queue") == sent.count(b"engine") == 2
    assert SECRET.encode() not in sent


@pytest.fixture
def collector() -> Generator[tuple[str, list[bytes]]]:
    """An imitation of an OTLP collector: its address, and the bodies that it was sent."""
    import http.server
    import threading

    received: list[bytes] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            import gzip

            body = self.rfile.read(int(self.headers["Content-Length"]))
            zipped = self.headers.get("Content-Encoding") == "gzip"
            received.append(gzip.decompress(body) if zipped else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", received
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("page", ["watch-the-server.md", "watch-the-server.zh-CN.md"])
def test_every_metric_is_documented_and_nothing_else(watched: Caller, page: str):
    watched.v1(ask("hi"))
    text = watched.ask("GET", "/metrics").body.decode()
    ours = set(re.findall(r"^# TYPE (yangfan_\w+)", text, re.M))
    listed = set(
        re.findall(r"^\| `(yangfan_\w+)`", (ROOT / "docs/how-to" / page).read_text("utf-8"), re.M)
    )
    assert listed == ours


def test_dashboard_asks_for_metrics_that_exist(watched: Caller):
    watched.v1(ask("hi"))
    text = watched.ask("GET", "/metrics").body.decode()
    ours = set(re.findall(r"^# TYPE (\w+)", text, re.M))
    dashboard = json.loads((ROOT / "docs/how-to/grafana-dashboard.json").read_text("utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    names = {name for text in asked for name in re.findall(r"\b(?:yangfan|process)_\w+", text)}
    stripped = {re.sub(r"_(?:bucket|sum|count)$", "", name) for name in names}
    assert stripped <= ours
    assert len(asked) >= 8
