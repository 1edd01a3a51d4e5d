"""Programs that are killed, stores that are away, queues that are full: counted end to end, nothing is lost."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from stack.processes import Ports, Stack
from tests.stack.live.service import Service
from tests.stack.live.stores import Line, Stores, eventually

TALKER = """
export default {
  async fetch(request, env, ctx) {
    const n = new URL(request.url).searchParams.get("n");
    for (let i = 0; i < 5; i++) console.log(`line ${n} ${i}`);
    ctx.waitUntil(Promise.resolve().then(() => console.warn(`late ${n}`)));
    if (n % 10 == 0) throw new Error(`thrown ${n}`);
    return new Response("ok");
  },
};"""
LINES = {f"line {{}} {i}" for i in range(5)} | {"late {}"}


class Load:
    """Calls a worker from some threads, one call after the other in each, until the block ends."""

    def __init__(self, service: Service, *, threads: int = 3, pause: float = 0.02) -> None:
        self.traces: dict[int, str] = {}
        self._service, self._pause = service, pause
        self._stop = threading.Event()
        self._numbers = iter(range(1, 10**9))
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            with self._lock:
                number = next(self._numbers)
            # Whatever happens behind the service, its callers never notice.
            answer = self._service.call("talker", f"/?n={number}")
            assert answer.status == (500 if number % 10 == 0 else 200)
            self.traces[number] = answer.trace_id

    def expected(self) -> Counter[str]:
        """The text of every line that was logged."""
        out = Counter(line.format(n) for n in self.traces for line in LINES)
        out.update(f"Error: thrown {n}" for n in self.traces if n % 10 == 0)
        # What is thrown is an exception record, and a console line of nobody.
        return out


def arrived(stores: Stores, service: Service, since: int) -> list[Line]:
    return stores.logs(f'{{"service.name"="{service.name}"}}', start_ns=since)


def distinct(lines: list[Line]) -> Counter[str]:
    """The texts, each record counted once by its uid."""
    return Counter({line.fields["log.record.uid"]: line.text for line in lines}.values())


def check(load: Load, stores: Stores, service: Service, since: int, *, seconds: float = 120) -> list[Line]:
    """Every line is in VictoriaLogs, and every invocation's trace in Jaeger."""
    expected = load.expected()
    assert eventually(service.delivered, seconds=seconds), service.exports()
    lines = eventually(lambda: found if distinct(found := arrived(stores, service, since)) >= expected else [], seconds=seconds)
    seen = distinct(lines or arrived(stores, service, since))
    assert seen == expected, {"missing": sum((expected - seen).values()), "unexpected": (seen - expected).most_common(3)}
    missing = set(load.traces.values())

    def all_traces() -> bool:
        missing.difference_update([trace for trace in missing if stores.trace(trace)])
        return not missing

    assert eventually(all_traces, seconds=seconds), f"{len(missing)} of {len(load.traces)} traces are missing"
    return lines


def test_killed_collector_and_absent_log_store_lose_nothing(stack: Stack, stores: Stores, tmp_path: Path) -> None:
    """The collector is killed three times and the log store is away for 30 s, under load: every record arrives, counted by log.record.uid."""
    since = time.time_ns()
    with Service(directory=tmp_path, endpoint=stack.endpoint, name="outages") as service:
        service.put("talker", TALKER)
        with Load(service) as load:
            time.sleep(3)
            for _ in range(2):
                stack.stop("collector", how=signal.SIGKILL)
                time.sleep(2)
                stack.start("collector")
                stack.wait("collector")
                time.sleep(2)
            # Not killed: it would take the last second it acknowledged along, which it says of itself.
            stack.stop("victorialogs")
            time.sleep(15)
            # With a queue that holds what nobody has taken yet.
            stack.stop("collector", how=signal.SIGKILL)
            time.sleep(1)
            stack.start("collector")
            time.sleep(14)
            stack.start("victorialogs")
            stack.wait()
            time.sleep(3)
        lines = check(load, stores, service, since)
        total = service.exports()["total"]
    assert total["logs"]["rejected"] == 0
    assert total["logs"]["dropped"] == {}
    twice = len(lines) - len({line.fields["log.record.uid"] for line in lines})
    print(
        f"\n{len(load.traces)} invocations, {len(lines)} log lines in VictoriaLogs, {twice} of them duplicates (by log.record.uid), 0 lost"
    )


def test_killed_jaeger_and_prometheus_lose_no_trace(stack: Stack, stores: Stores, tmp_path: Path) -> None:
    """Jaeger killed under load: its database keeps what it took, the collector what it did not; logs go on meanwhile."""
    since = time.time_ns()
    with Service(directory=tmp_path, endpoint=stack.endpoint, name="outages-jaeger") as service:
        service.put("talker", TALKER)
        with Load(service, threads=2) as load:
            time.sleep(2)
            stack.stop("jaeger", how=signal.SIGKILL)
            stack.stop("prometheus", how=signal.SIGKILL)
            time.sleep(5)
            stack.start("jaeger", "prometheus")
            stack.wait()
            time.sleep(2)
        check(load, stores, service, since)


def test_a_full_queue_refuses_and_the_spool_keeps(stack: Stack, stores: Stores, tmp_path: Path) -> None:
    """With no store to send to and its queue full, the collector refuses; what it refused waits in the spool and arrives later."""
    since = time.time_ns()
    ports = dataclasses.replace(
        Ports.free(), victorialogs=stack.ports.victorialogs, jaeger_otlp=stack.ports.jaeger_otlp, prometheus=stack.ports.prometheus
    )
    folder = tmp_path / "stack"
    small = {"OTELCOL_QUEUE_ITEMS": "5000", "LOGS_URL": "http://127.0.0.1:9", "JAEGER_OTLP_ADDRESS": "127.0.0.1:9"}
    with Service(directory=tmp_path / "service", endpoint=f"http://127.0.0.1:{ports.otlp_http}", name="full-queue") as service:
        service.put("talker", TALKER)
        with Stack(directory=folder, ports=ports, environ=small) as full:
            full.start("collector")
            full.wait("collector")
            with Load(service, threads=4, pause=0) as load:
                refused = eventually(lambda: any(d["lastError"] for d in service.exports()["destinations"]), seconds=180)
            assert refused, service.exports()
            assert service.exports()["total"]["logs"]["queued"] > 0
            assert service.exports()["total"]["logs"]["rejected"] == 0
        with Stack(directory=folder, ports=ports) as again:
            again.start("collector")
            again.wait("collector")
            check(load, stores, service, since, seconds=240)


def post(endpoint: str, lines: list[tuple[int, str]]) -> None:
    """Log records of the bridge's shape, sent as they are: for times and sizes that a worker can't bring about."""
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    for key, value in (("service.name", "hand-made"), ("workerId", "hand-made")):
        resource.resource.attributes.add(key=key).value.string_value = value
    scope = resource.scope_logs.add()
    for time_ns, text in lines:
        record = scope.log_records.add(time_unix_nano=time_ns, observed_time_unix_nano=time_ns, severity_number=9, severity_text="info")
        record.body.string_value = text
    send(endpoint, request)


def send(endpoint: str, request: ExportLogsServiceRequest) -> None:
    headers = {"content-type": "application/x-protobuf"}
    with urllib.request.urlopen(
        urllib.request.Request(f"{endpoint}/v1/logs", request.SerializeToString(), headers, method="POST"), timeout=30
    ) as reply:
        assert reply.status == 200


def test_records_that_are_hours_late_are_kept(stack: Stack, stores: Stores) -> None:
    """A bridge that comes back with a full spool sends records far older than those the store has: they are stored all the same."""
    now = time.time_ns()
    hour = 3600 * 10**9
    post(stack.endpoint, [(now, "now")])
    assert eventually(lambda: stores.logs('{"service.name"="hand-made"} _msg:=now', start_ns=now - hour))
    late = [(now - hours * hour, f"late by {hours} h") for hours in (2, 5, 30, 24 * 5)]
    post(stack.endpoint, late)
    found = eventually(
        lambda: lines if len(lines := stores.logs('{"service.name"="hand-made"} "late by"', start_ns=now - 6 * 24 * hour)) == 4 else []
    )
    assert [line.text for line in found] == [text for _, text in reversed(late)], stack.output("collector")


def test_long_lines_arrive_whole(stack: Stack, stores: Stores, tmp_path: Path) -> None:
    """A line of 1 MB, four times what Loki takes by default and half of what VictoriaLogs takes at all, is neither cut nor refused, nor what comes with it."""
    since = time.time_ns()
    big = "export default { fetch() { console.log('x'.repeat(1_000_000)); throw new Error('after it'); } };"
    with Service(directory=tmp_path, endpoint=stack.endpoint, name="big") as service:
        service.put("big", big, limits={"logBytes": 2 << 20})
        service.call("big")
        lines = eventually(lambda: found if len(found := stores.logs('{"service.name"="big"}', start_ns=since)) == 2 else [])
    assert [len(line.text) for line in lines] == [1_000_000, len("Error: after it")]


def test_two_workers_may_log_the_same_at_the_same_nanosecond(stack: Stack, stores: Stores) -> None:
    """Equal lines with equal times of two workers are two lines, each with its workerId."""
    now = time.time_ns()
    request = ExportLogsServiceRequest()
    for worker in ("twin-a", "twin-b"):
        resource = request.resource_logs.add()
        for key, value in (("service.name", "twins"), ("workerId", worker)):
            resource.resource.attributes.add(key=key).value.string_value = value
        resource.scope_logs.add().log_records.add(time_unix_nano=now, severity_number=9).body.string_value = "same"
    send(stack.endpoint, request)
    found = eventually(lambda: lines if len(lines := stores.logs('{"service.name"="twins"}', start_ns=now - 10**9)) >= 2 else [])
    assert sorted(line.fields["workerId"] for line in found) == ["twin-a", "twin-b"]
