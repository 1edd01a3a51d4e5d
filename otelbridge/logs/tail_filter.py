"""Filters of the live tail: the parameters of `GET /v1/tail`, spelled as in `wrangler tail`."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Iterable

import msgspec

from otelbridge.errors import QueryError
from otelbridge.logs.language import parse
from otelbridge.logs.tokens import ascii_lower
from otelbridge.logs.tree import Tree, contains, like, matches
from otelbridge.model.part import Part, SpoolItem
from otelbridge.model.record import Record
from otelbridge.model.ring import LEVELS
from otelbridge.model.trace import FetchEvent

__all__ = ["TailFilter", "tail_filter"]

_STATUSES = ("ok", "error", "canceled")
_CANCELED = ("canceled", "responseStreamDisconnected")
_MAX_VALUES = 100
_PARAMETERS = ("worker", "level", "search", "method", "status", "header", "ip", "invocation", "q", "sampling-rate")


class TailFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscriber wants to see. Values of one kind are alternatives, kinds must all hold; none of a kind: any."""

    workers: tuple[str, ...] = ()  # with * as a wildcard
    levels: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()  # ok, error, canceled, 404, 5xx
    headers: tuple[tuple[str, str | None], ...] = ()  # lower-case name, and a piece of the value
    ips: tuple[str, ...] = ()
    invocations: tuple[str, ...] = ()
    queries: tuple[Tree, ...] = ()
    sampling_rate: float = 1.0

    def wants_item(self, item: SpoolItem) -> bool:
        """Whether records of this item can be wanted at all, its status aside."""
        if not isinstance(item, Part):
            asks = self.methods or self.headers or self.ips or self.statuses or self.invocations
            return not asks and self._wants_worker(item.worker_id or "")
        if not self._wants_worker(item.worker.worker_id) or not self._is_sampled(item.invocation_id):
            return False
        if self.invocations and item.invocation_id not in self.invocations:
            return False
        if not (self.methods or self.headers or self.ips):
            return True
        event = item.event
        if not isinstance(event, FetchEvent) or (self.methods and event.method.upper() not in self.methods):
            return False
        if self.ips and event.client_ip not in self.ips:
            return False
        return not self.headers or any(_has_header(event, name, piece) for name, piece in self.headers)

    def wants_end(self, outcome: str, status: int | None) -> bool:
        """Whether an invocation that ended so is wanted."""
        return not self.statuses or any(_is_status(wanted, outcome, status) for wanted in self.statuses)

    def wants_record(self, record: Record) -> bool:
        """Whether one record of a wanted item is wanted."""
        if self.levels and record.level not in self.levels:
            return False
        if self.queries and not any(matches(query, record) for query in self.queries):
            return False
        return not self.searches or any(contains(record.text, piece, match_case=False) for piece in self.searches)

    def _wants_worker(self, worker_id: str) -> bool:
        return not self.workers or any(like(ascii_lower(wanted), ascii_lower(worker_id)) for wanted in self.workers)

    def _is_sampled(self, invocation_id: str) -> bool:
        # By the invocation, so that it is seen as a whole or not at all, and the same by everybody.
        return self.sampling_rate >= 1 or zlib.crc32(invocation_id.encode()) < self.sampling_rate * (1 << 32)


def _has_header(event: FetchEvent, name: str, piece: str | None) -> bool:
    value = event.headers.get(name)
    return value is not None and (piece is None or ascii_lower(piece) in ascii_lower(value))


def _is_status(wanted: str, outcome: str, status: int | None) -> bool:
    if wanted == "canceled":
        return outcome in _CANCELED
    if wanted == "ok":
        return outcome == "ok"
    if wanted == "error":
        return outcome != "ok" and outcome not in _CANCELED
    if status is None:
        return False
    return str(status) == wanted or (wanted.endswith("xx") and status // 100 == int(wanted[0]))


def tail_filter(parameters: Iterable[tuple[str, str]]) -> TailFilter:
    """The filter of a request's parameters, which may be repeated. QueryError for what can't be read."""
    found: dict[str, list[str]] = {}
    for name, value in parameters:
        if name not in _PARAMETERS:
            raise QueryError(f"tail: there is no parameter {name!r:.100}")
        found.setdefault(name, []).append(value)
        if len(found[name]) > _MAX_VALUES:
            raise QueryError(f"tail: at most {_MAX_VALUES} values of {name}")
    levels = [level.lower() for level in found.get("level", [])]
    if unknown := [level for level in levels if level not in LEVELS]:
        raise QueryError(f"tail: level is one of {', '.join(LEVELS)}, not {unknown[0]!r:.50}")
    statuses = [status.lower() for status in found.get("status", [])]
    if unknown := [status for status in statuses if not _reads_as_status(status)]:
        raise QueryError(f"tail: status is ok, error, canceled, a code or 5xx, not {unknown[0]!r:.50}")
    return TailFilter(
        workers=tuple(found.get("worker", [])),
        levels=tuple(levels),
        searches=tuple(found.get("search", [])),
        methods=tuple([method.upper() for method in found.get("method", [])]),
        statuses=tuple(statuses),
        headers=tuple([_header(value) for value in found.get("header", [])]),
        ips=tuple(found.get("ip", [])),
        invocations=tuple([one.lower() for one in found.get("invocation", [])]),
        queries=tuple([_query(text) for text in found.get("q", [])]),
        sampling_rate=_rate(found.get("sampling-rate", ["1"])[-1]),
    )


def _reads_as_status(text: str) -> bool:
    return text in _STATUSES or (len(text) == 3 and text[0] in "12345" and (text[1:] == "xx" or (text.isascii() and text.isdigit())))


def _header(text: str) -> tuple[str, str | None]:
    name, colon, piece = text.partition(":")
    return name.strip().lower(), piece.strip() if colon else None


def _query(text: str) -> Tree:
    parsed = parse(text, time.time_ns())
    if parsed.since_ns is not None or parsed.until_ns is not None:
        raise QueryError("q: since: and until: say nothing about what happens from now on; leave them out")
    return parsed.tree


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= 1:
        raise QueryError(f"tail: sampling-rate is above 0 and at most 1, not {text!r:.50}")
    return rate
