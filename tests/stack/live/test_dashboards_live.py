"""Every query of every panel, asked of the real stores: one that returns nothing on real data is a defect.

LogQL is asked of VictoriaLogs, see logql.py.
"""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from stack.dashboards import DASHBOARDS
from tests.stack.live.logql import logsql
from tests.stack.live.stores import Stores, eventually
from tests.stack.live.world import World

# Outcomes that the traffic of these tests does not bring about; their queries must still be valid.
NEVER_HERE = ("exceededMemory", "exceededWallTime", "canceled", "loadShed")
VALUES = {"service": "dynamic-workers", "worker": "greeter", "search": ""}
CASES = [
    pytest.param(panel, target, id=f"{name}-{panel['title']}-{target['refId']}".replace(" ", "-"))
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
    for target in panel["targets"]
]


def filled(text: str, worker: str) -> str:
    """The query as Grafana sends it: its own variables for a range of 15 minutes, ours with values."""
    text = text.replace("$__rate_interval", "1m").replace("$__range", "15m").replace("$__auto", "15s")
    for name, value in {**VALUES, "worker": worker}.items():
        text = text.replace(f"${name}", value)
    assert "$" not in text, text
    return text


def answer(stores: Stores, target: dict[str, Any], worker: str, since: int) -> list[Any]:
    now = time.time()
    kind = target["datasource"]["type"]
    if kind == "jaeger":
        pairs = dict(pair.split("=", 1) for pair in filled(target["tags"], worker).split())
        return stores.traces(VALUES["service"], tags=pairs, limit=target["limit"])
    query = filled(target["expr"], worker)
    if kind == "loki":
        translated = logsql(query, stores.log_fields(start_ns=since), instant=target["queryType"] == "instant")
        return stores.logsql(translated, start_ns=since)
    if target.get("instant"):
        return stores.prometheus(query)
    return stores.prometheus_range(query, start=now - 900, end=now, step="15")


@pytest.mark.parametrize(("panel", "target"), CASES)
def test_a_query_finds_something(stores: Stores, world: World, panel: dict[str, Any], target: dict[str, Any]) -> None:
    """With the traffic of this session, a panel's query has a result."""
    text = target.get("expr", "") + target.get("tags", "")
    if any(outcome in text for outcome in NEVER_HERE):
        assert answer(stores, target, "greeter", world.started_ns) == []
        return
    # The worker that has what the panel shows.
    worker = "thrower" if re.search("error=true|exception", text) else "looper" if "exceededCpu" in text else "greeter"
    assert eventually(lambda: answer(stores, target, worker, world.started_ns), seconds=60), (panel["title"], text)


def test_examples_lead_to_traces(stores: Stores, world: World) -> None:
    """A histogram's example points carry the id of a trace that Jaeger has."""
    found = eventually(lambda: stores.exemplars("faas_invoke_duration_seconds_bucket", start=time.time() - 900, end=time.time()))
    ids = {point["labels"]["trace_id"] for series in found for point in series["exemplars"]}
    assert ids
    assert any(stores.trace(trace_id) for trace_id in ids)


def test_the_service_variable_has_values(stores: Stores, world: World) -> None:
    """The list of services is what its label_values() query finds, and its names are those of the logs and traces too."""
    assert "dynamic-workers" in stores.label_values("job", "faas_invoke_duration_seconds_count")
