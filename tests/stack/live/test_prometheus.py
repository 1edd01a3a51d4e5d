"""Metrics in Prometheus."""

from __future__ import annotations

from functools import partial

from tests.stack.live.stores import Stores, eventually
from tests.stack.live.world import World

JOB = 'job="dynamic-workers"'


def value(stores: Stores, query: str) -> float:
    """A query's one number; 0 while there is none."""
    found = stores.prometheus(query)
    return float(found[0]["value"][1]) if found else 0.0


def test_invocations_are_counted_exactly(stores: Stores, world: World) -> None:
    """Successes, failures and timeouts are as many as there were, cold starts as many as the traces show."""
    bad = ("thrower", "looper", "teapot")
    failed = sum(len(world.answers[name]) for name in bad)
    total = sum(len(answers) for answers in world.answers.values())
    expected = {"invocations": total - failed, "errors": failed, "timeouts": len(world.answers["looper"])}
    # A worker that was stopped begins anew, so there are more cold starts than workers; each trace says whether it is one.
    expected["coldstarts"] = sum(
        any(
            tag == {"key": "faas.coldstart", "type": "bool", "value": True}
            for span in stores.trace(answer.trace_id)
            for tag in span["tags"]
        )
        for answers in world.answers.values()
        for answer in answers
    )
    assert expected["coldstarts"] >= len(world.answers)
    for name, count in expected.items():
        query = f"sum(faas_{name}_total{{{JOB}}})"

        def reached(query: str = query, count: int = count) -> bool:
            return value(stores, query) >= count

        eventually(reached)
        assert value(stores, query) == count, name


def test_durations_have_units_and_count_every_invocation(stores: Stores, world: World) -> None:
    """The histograms have their units in their names, and one entry for each invocation."""
    total = sum(len(answers) for answers in world.answers.values())
    for name in ("faas_invoke_duration_seconds", "faas_cpu_usage_seconds", "http_server_request_duration_seconds"):
        query = f"sum({name}_count{{{JOB}}})"
        eventually(partial(value, stores, query))
        assert value(stores, query) == total, name
    assert value(stores, f"sum(faas_mem_usage_bytes_sum{{{JOB}}})") > 0


def test_no_label_has_a_workers_id(stores: Stores, world: World) -> None:
    """Thousands of workers are not thousands of series."""
    series = stores.prometheus('{__name__=~"faas_.*|http_server_.*|otelbridge_.*"}')
    assert series
    for one in series:
        assert not set(one["metric"].values()) & set(world.answers), one["metric"]


def test_the_loss_ledger_adds_up(stores: Stores, world: World) -> None:
    """emitted = delivered + queued + rejected + dropped, in what Prometheus has too."""
    parts = 'otelbridge_export_delivered_total{signal="logs"} + otelbridge_export_queued{signal="logs"} + otelbridge_export_rejected_total{signal="logs"}'
    found = eventually(
        lambda: stores.prometheus(f'sum by (job) (otelbridge_export_emitted_total{{signal="logs"}}) == sum by (job) ({parts})')
    )
    assert found
    assert float(found[0]["value"][1]) > 0
