"""What GET /v1/exports shows: the loss ledger of all destinations and workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from otelbridge.otel.destination import Destination
from otelbridge.otel.environment import LOGS, METRICS, SPANS, Signal
from otelbridge.otel.lane import Lane
from otelbridge.otel.ledger import Account, total
from otelbridge.otel.metrics_lane import MetricsTarget
from otelbridge.otel.request import BRIDGE
from otelbridge.spool import Tally, pending_drops

__all__ = ["exports", "untold"]


Untold = list[tuple[str, str, Tally]]  # worker id, reason, how much


def untold(spools: Iterable[Path]) -> Untold:
    """What the spools' writers left out and could not tell of yet. Reads a small file for each."""
    return [one for directory in spools for one in pending_drops(directory)]


def exports(
    destinations: Sequence[Destination],
    lanes: Mapping[tuple[str, Signal], Lane | MetricsTarget],
    missed: Untold,
    damaged: Mapping[str, int],
) -> dict[str, Any]:
    """See design.md, "Contract details". Counts of a worker are sums over the destinations, each of which gets its own copy;
    with several, they are also given one by one. The bridge's own records are counted apart, under "bridge". `damaged`: bytes
    of spools that can't be read; nobody knows how many records they were."""
    accounts = {key: _with_untold(lane, key[1], missed) for key, lane in lanes.items()}
    workers = sorted({w for (_, signal), of in accounts.items() if signal != METRICS for w in of if w != BRIDGE})
    names = [d.name for d in destinations]

    def line(signal: Signal, worker_id: str | None, name: str | None = None) -> dict[str, Any]:
        """One L: of a worker or of all, of a destination or of all."""
        return total(
            account
            for (destination, of_signal), of in accounts.items()
            for owner, account in of.items()
            if of_signal == signal
            and (name is None or destination == name)
            and (owner == worker_id if worker_id is not None else owner != BRIDGE)
        ).to_json()

    return {
        "destinations": [_destination(d, lanes, {s: line(s, None, d.name) for s in (LOGS, SPANS, METRICS)}) for d in destinations],
        "workers": [
            {
                "workerId": worker_id,
                LOGS: line(LOGS, worker_id),
                SPANS: line(SPANS, worker_id),
                **(
                    {"destinations": {n: {LOGS: line(LOGS, worker_id, n), SPANS: line(SPANS, worker_id, n)} for n in names}}
                    if len(names) > 1
                    else {}
                ),
            }
            for worker_id in workers
        ],
        "total": {LOGS: line(LOGS, None), SPANS: line(SPANS, None)},
        "bridge": {LOGS: line(LOGS, BRIDGE)},
        "damaged": [{"spool": spool, "bytes": size} for spool, size in sorted(damaged.items())],
    }


def _with_untold(lane: Lane | MetricsTarget, signal: Signal, missed: Untold) -> dict[str, Account]:
    accounts = dict(lane.ledger.accounts)
    for worker_id, reason, left in missed if signal != METRICS else ():
        lost = left.logs if signal == LOGS else left.spans
        if lost:
            account = Account(lost, 0, 0, {reason: lost})
            account.add(accounts.get(worker_id, Account()))
            accounts[worker_id] = account
    return accounts


def _destination(
    destination: Destination, lanes: Mapping[tuple[str, Signal], Lane | MetricsTarget], signals: dict[Signal, Any]
) -> dict[str, Any]:
    own = [lane for (name, _), lane in lanes.items() if name == destination.name]
    errors = [lane.sender.last_error for lane in own if lane.sender.last_error]
    states = [lane.sender.state for lane in own]
    state = next((s for s in ("retrying", "rejecting", "partial", "ok") if s in states), "idle")
    return {
        "name": destination.name,
        "protocol": destination.protocol,
        "endpoint": destination.endpoint,
        "state": state,
        "lastError": errors[0] if errors else None,
        "lagSeconds": round(max((lane.lag_s() for lane in own), default=0.0), 3),
        "signals": signals,
    }
