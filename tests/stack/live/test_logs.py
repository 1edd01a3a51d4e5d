"""Log lines in VictoriaLogs."""

from __future__ import annotations

import json
import time

from stack.processes import Stack
from tests.stack.live.stores import Line, Stores, eventually
from tests.stack.live.world import World

SERVICE = '{"service.name"="dynamic-workers"}'


def of_worker(stores: Stores, world: World, worker_id: str, count: int) -> list[Line]:
    found = eventually(
        lambda: lines if len(lines := stores.logs(f'{SERVICE} workerId:="{worker_id}"', start_ns=world.started_ns)) >= count else []
    )
    assert len(found) == count, found
    return found


def test_a_workers_lines_are_found_by_its_id(stores: Stores, world: World) -> None:
    """A query by workerId gives the lines of that worker and no others, in order, each with a time of its own."""
    lines = of_worker(stores, world, "greeter", 20 * 6)
    first = world.answers["greeter"][0].invocation_id
    texts = [line.text for line in lines if line.fields["faas.invocation_id"] == first]
    assert texts[0] == "greeter debug 0"
    assert json.loads(texts[1]) == {"event": "greeted", "n": 0, "nested": {"list": [1, "two", None]}}
    assert json.loads(texts[2]) == ["greeter info 0", {"second": True}]
    assert texts[3:] == ["greeter warn 0", "greeter error 0", "greeter late 0"]
    times = [line.time_ns for line in lines if line.fields["faas.invocation_id"] == first]
    assert times == sorted(set(times))


def test_a_line_has_severity_trace_and_metadata(stores: Stores, world: World) -> None:
    """Severity, trace and span id, invocation, sequence, uid and source are on the line."""
    answer = world.answers["greeter"][3]
    lines = stores.logs(f'{SERVICE} "faas.invocation_id":="{answer.invocation_id}"', start_ns=world.started_ns)
    assert [line.fields["severity_text"] for line in lines] == ["debug", "log", "info", "warn", "error", "log"]
    assert [line.fields["severity_number"] for line in lines] == ["5", "9", "9", "13", "17", "9"]
    for line in lines:
        assert line.fields["trace_id"] == answer.trace_id
        assert len(line.fields["span_id"]) == 16
        assert line.fields["workerId"] == line.fields["faas.name"] == "greeter"
        assert line.fields["otelbridge.source"] == "dynamic-worker-tail"
        assert "telemetry.sdk.name" not in line.fields
    assert len({line.fields["log.record.uid"] for line in lines}) == 6
    assert [int(line.fields["otelbridge.sequence"]) for line in lines] == sorted(int(line.fields["otelbridge.sequence"]) for line in lines)


def test_a_guest_cannot_forge_whose_line_it_is(stores: Stores, world: World) -> None:
    """An object whose keys are named like the host's fields is text, in a line of the worker that logged it."""
    lines = of_worker(stores, world, "forger", len(world.answers["forger"]))
    for line, answer in zip(lines, world.answers["forger"], strict=True):
        assert json.loads(line.text)["workerId"] == "victim"
        assert line.fields["trace_id"] == answer.trace_id
        assert line.fields["service.name"] == world.service.name
        assert line.fields["log.record.uid"] == f"{answer.invocation_id}-0"
        assert line.fields["severity_text"] == "log"
    assert stores.logs("workerId:=victim", start_ns=world.started_ns) == []


def test_an_exception_is_told_from_an_error(stores: Stores, world: World) -> None:
    """What a worker throws has the event name, type, message and stack that OTLP gives it; the event's name is an attribute too, for Loki."""
    lines = eventually(
        lambda: stores.logs(f'{SERVICE} workerId:="thrower" event_name:="exception"', start_ns=world.started_ns),
    )
    assert len(lines) == 4
    for line in lines:
        assert line.fields["exception.type"] == "RangeError"
        assert line.fields["exception.message"] == "this one always throws"
        assert "thrower" in line.fields["exception.stacktrace"] or "index.js" in line.fields["exception.stacktrace"]
        assert line.fields["event.name"] == "exception"
        assert line.fields["severity_text"] == "error"


def test_workers_are_not_streams(stores: Stores, world: World) -> None:
    """The index holds the service only: a stream per worker would be a limit on the number of workers."""
    of_worker(stores, world, "thrower", 8)
    assert stores.streams(SERVICE, start_ns=world.started_ns) == ['{service.name="dynamic-workers"}']


def test_the_collector_refuses_nothing(stack: Stack, stores: Stores, world: World) -> None:
    """All that went in came out: no refused, failed or rejected item in the collector's own numbers, as they were after the traffic."""
    # It tells them every 10 s; other tests kill it later.
    then = world.settled + 11
    time.sleep(max(0, then - time.time()))
    assert stores.prometheus("sum(otelcol_receiver_accepted_log_records_total)", at=then)
    for metric in (
        "receiver_refused_log_records",
        "receiver_refused_spans",
        "exporter_send_failed_log_records",
        "exporter_enqueue_failed_log_records",
    ):
        found = stores.prometheus(f"sum(otelcol_{metric}_total) > 0", at=then)
        assert not found, (metric, found, stack.output("collector"))
