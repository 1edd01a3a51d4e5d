"""Lookups: names and values for completion, and counters per worker."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from otelbridge.logs.batch import milliseconds_of
from otelbridge.logs.calculate import group_values
from otelbridge.logs.compile import JOINS
from otelbridge.logs.conditions import escape_like, member_json
from otelbridge.logs.fields import FIELDS
from otelbridge.logs.reader import Budget, Reader
from otelbridge.logs.request import member_or_field
from otelbridge.logs.segment import Segment
from otelbridge.logs.tokens import ascii_lower

__all__ = ["Key", "KeyValue", "WorkerCounters", "keys", "values", "worker_counters"]

_SAMPLE = 20_000


class Key(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A name that queries can use. `structured`: a member of logged objects, not a field of every record."""

    key: str
    type: str
    structured: bool = False
    last_seen_at: int | None = None  # ms
    text: str = ""


class KeyValue(msgspec.Struct, frozen=True):
    """A value, and how often it was seen among the newest records."""

    value: str | int | float | bool
    count: int


class WorkerCounters(msgspec.Struct, frozen=True, rename="camel"):
    """What the store knows of a worker. An error is a failed outcome or a 5xx; p95 is right to about 4 %."""

    worker_id: str
    invocations: int
    errors: int
    p95_ms: float | None
    last_seen_ns: int


def keys(segments: Sequence[Segment], prefix: str, limit: int, budget: Budget) -> list[Key]:
    """Known fields, then members of logged objects from the last seen on, that begin with `prefix` in any case."""
    wanted = ascii_lower(prefix)
    found = [Key(f.name, f.type, text=f.text) for f in FIELDS.values() if ascii_lower(f.name).startswith(wanted)]
    seen: dict[str, tuple[int, str]] = {}
    for segment in segments:
        with segment.reader(budget) as reader:
            if reader is not None:
                rest = "FROM names WHERE name LIKE ? ESCAPE '\\' ORDER BY last_ns DESC LIMIT ?"
                for name, kind, last_ns in reader.rows(("name", "type", "last_ns"), rest, (f"{escape_like(prefix)}%", limit)):
                    seen[name] = max(seen.get(name, (0, "")), (last_ns, kind))
    members = sorted(seen.items(), key=lambda item: -item[1][0])
    return [*found, *(Key(name, kind, True, last_ns // 1_000_000) for name, (last_ns, kind) in members)][:limit]


def values(segments: Sequence[Segment], key: str, prefix: str, limit: int, budget: Budget) -> list[KeyValue]:
    """Values of a key among the newest records that begin with `prefix` in any case, the most frequent first."""
    name, structured = member_or_field(key)
    if not structured and FIELDS[name].choices:
        return [KeyValue(choice, 0) for choice in FIELDS[name].choices if choice.startswith(ascii_lower(prefix))]
    counts: Counter[Any] = Counter()
    for segment in reversed(segments):
        with segment.reader(budget) as reader:
            if reader is not None:
                counts.update(dict(_values(reader, name, structured, prefix, limit)))
        if len(counts) >= limit:
            break
    found = [(group_values((None, value), [key])[key], count) for value, count in counts.most_common(limit)]
    return [KeyValue(value, count) for value, count in found]


def _values(reader: Reader, name: str, structured: bool, prefix: str, limit: int) -> list[list[Any]]:
    if structured:
        sql, parameters = member_json(name)
        source = f"FROM records r WHERE r.layout = 'j' OR r.kind = 3 ORDER BY r.number DESC LIMIT {_SAMPLE}"
    else:
        sql, parameters = FIELDS[name].sql, ()
        source = f"FROM records r {JOINS} ORDER BY r.number DESC LIMIT {_SAMPLE}"
    like = f"{escape_like(prefix)}%"
    rest = f"FROM (SELECT {sql} || '' AS value {source}) WHERE value LIKE ? ESCAPE '\\' OR value LIKE ? ESCAPE '\\'"
    # The value of a member is its JSON: a text begins with a quote there, and has escapes.
    quoted = escape_like(msgspec.json.encode(prefix).decode()[:-1])
    bound = (*parameters, like, f"{quoted}%" if structured else like, limit)
    return reader.rows(("value", "count(*)"), f"{rest} GROUP BY value ORDER BY count(*) DESC LIMIT ?", bound)


def worker_counters(segments: Sequence[Segment], budget: Budget, worker_id: str | None = None) -> list[WorkerCounters]:
    """Counters of all workers, or of one, over all that the store holds; by worker id."""
    buckets: dict[str, Counter[int]] = {}
    errors: Counter[str] = Counter()
    last: dict[str, int] = {}
    for segment in segments:
        with segment.reader(budget) as reader:
            for worker, bucket, invocations, failed, last_ns in [] if reader is None else _totals(reader, segment.summed, worker_id):
                buckets.setdefault(worker, Counter())[bucket] += invocations
                errors[worker] += failed
                last[worker] = max(last.get(worker, 0), last_ns)
    return [
        WorkerCounters(worker, counts.total(), errors[worker], _p95(counts), last[worker]) for worker, counts in sorted(buckets.items())
    ]


def _totals(reader: Reader, summed: bool, worker_id: str | None) -> list[list[Any]]:
    of, bound = ("", ()) if worker_id is None else (" AND worker = (SELECT number FROM workers WHERE worker_id = ?)", (worker_id,))
    columns = ("w.worker_id", "t.wall_bucket", "t.invocations", "t.errors", "t.last_ns")
    if summed:
        return reader.rows(columns, f"FROM totals t JOIN workers w ON w.number = t.worker WHERE 1{of}", bound)
    counted = (
        "SELECT worker, ifnull(wall_bucket, -1) AS wall_bucket, count(*) AS invocations, ifnull(sum(failed), 0) AS errors, "
        f"max(ifnull(end_ns, start_ns)) AS last_ns FROM invocations WHERE home{of} GROUP BY 1, 2"
    )
    return reader.rows(columns, f"FROM ({counted}) t JOIN workers w ON w.number = t.worker", bound)


def _p95(counts: Counter[int]) -> float | None:
    ended = sorted((bucket, count) for bucket, count in counts.items() if bucket >= 0 and count > 0)
    rank = math.ceil(0.95 * sum(count for _, count in ended))
    for bucket, count in ended:
        rank -= count
        if rank <= 0:
            return milliseconds_of(bucket)
    return None
