"""The bridge's own metrics, otelbridge.spool.* and otelbridge.export.*, looked up when somebody asks for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from otelbridge.otel.environment import LOGS, SPANS, Signal
from otelbridge.otel.ledger import total
from otelbridge.spool import pending_drops

__all__ = ["Measure", "measures", "own_spans"]


class Measure(msgspec.Struct, frozen=True):
    """One metric now. `grows`: it is a counter, else a gauge. `values`: labels and value of each series."""

    name: str
    unit: str
    text: str
    grows: bool
    values: list[tuple[tuple[tuple[str, str], ...], float]]


def own_spans(sent: int, dropped: int) -> list[Measure]:
    """What became of the bridge's own spans."""
    values: list[tuple[tuple[tuple[str, str], ...], float]] = [((("fate", "sent"),), float(sent)), ((("fate", "dropped"),), float(dropped))]
    return [Measure("otelbridge.own_traces.spans", "{span}", "The bridge's own spans, by what became of them.", True, values)]


def measures(lanes: Mapping[tuple[str, Signal], Any], spools: Iterable[Path], damaged: Mapping[str, int]) -> list[Measure]:
    """All of them; `damaged`: bytes by the name of the spool. Blocking: it looks at the sizes of files."""
    spools = list(spools)
    out = [
        Measure("otelbridge.spool.size", "By", "Bytes that the spool holds.", False, [(_spool(d), float(_size(d))) for d in spools]),
        Measure(
            "otelbridge.spool.untold_drops",
            "{record}",
            "Records the spool had to leave out that no notice tells of yet.",
            False,
            [(_spool(d), float(sum(t.logs + t.spans for _, _, t in pending_drops(d)))) for d in spools],
        ),
        Measure(
            "otelbridge.spool.damaged",
            "By",
            "Bytes of the spool that held nothing that can be read: torn by a kill or a power cut, or changed on disk.",
            True,
            [(_spool(d), float(damaged.get(d.name, 0))) for d in spools],
        ),
    ]
    accounts = {key: total(lane.ledger.accounts.values()) for key, lane in lanes.items()}
    for field, text in (
        ("emitted", "Records that were read from the spool."),
        ("delivered", "Records that the destination took."),
        ("rejected", "Records that the destination refused for good."),
    ):
        values = [(_lane(key), float(getattr(account, field))) for key, account in accounts.items()]
        out.append(Measure(f"otelbridge.export.{field}", "{record}", text, True, values))
    dropped = [
        ((*_lane(key), ("reason", reason)), float(count)) for key, account in accounts.items() for reason, count in account.dropped.items()
    ]
    out.append(Measure("otelbridge.export.dropped", "{record}", "Records that were given up, by reason.", True, dropped))
    queued = [(_lane(key), float(account.queued)) for key, account in accounts.items()]
    out.append(Measure("otelbridge.export.queued", "{record}", "Records whose fate is not known yet.", False, queued))
    lag = [(_lane(key), lane.lag_s()) for key, lane in lanes.items()]
    out.append(Measure("otelbridge.export.lag", "s", "Age of the oldest record under way.", False, lag))
    for field, unit, text in (
        ("attempts", "{request}", "Requests sent."),
        ("failures", "{request}", "Requests that failed and were tried again."),
        ("seconds", "s", "Time that requests took."),
    ):
        values = [(_lane(key), float(getattr(lane.sender, field))) for key, lane in lanes.items()]
        name = "request_time" if field == "seconds" else field
        out.append(Measure(f"otelbridge.export.{name}", unit, text, True, values))
    cut = [(_lane(key), float(lanes[key].intake.truncated)) for key in lanes if key[1] in (LOGS, SPANS)]
    out.append(Measure("otelbridge.export.truncated", "{record}", "Records that were cut to a destination's limits.", True, cut))
    unreadable = [(_lane(key), float(lanes[key].undecodable)) for key in lanes if key[1] in (LOGS, SPANS)]
    out.append(
        Measure("otelbridge.export.unreadable", "{frame}", "Frames of the spool that hold nothing that can be read.", True, unreadable)
    )
    return [m for m in out if m.values]


def _spool(directory: Path) -> tuple[tuple[str, str], ...]:
    return (("spool", directory.name),)


def _lane(key: tuple[str, Signal]) -> tuple[tuple[str, str], ...]:
    return ("destination", key[0]), ("signal", key[1])


def _size(directory: Path) -> int:
    size = 0
    for path in directory.glob("*.seg"):
        with contextlib.suppress(OSError):
            size += path.stat().st_size
    return size
