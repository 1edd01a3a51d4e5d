"""Invocations whose records wait for their end: to be joined into spans, or to see whether they are worth keeping.

Bounded: beyond `max_bytes` or `max_parts` the one that has waited longest is decided without its end.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator

from otelbridge.model.part import Part
from otelbridge.otel.feed import Feed, Token

__all__ = ["Gathered", "Waiting"]

# Longer than any invocation may run (limits_max.wall_ms) with its queueing: who is silent that long has died.
_PATIENCE_SECONDS = 900.0


class Gathered:
    """The parts of one invocation so far."""

    __slots__ = ("boot", "errors", "feed", "parts", "since", "size", "tokens")

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.boot = feed.boot
        self.parts: list[Part] = []
        self.tokens: list[Token] = []
        self.errors = False
        self.size = 0
        self.since = time.monotonic()


class Waiting:
    """See the module's text."""

    def __init__(self, *, max_bytes: int = 32 << 20, max_parts: int = 20_000) -> None:
        self._max_bytes = max_bytes
        self._max_parts = max_parts
        self._bytes = self._parts = 0
        self._open: OrderedDict[str, Gathered] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, part: Part, token: Token, feed: Feed, *, errors: bool) -> Gathered | None:
        """Add a part; the whole invocation when this was its end."""
        gathered = self._open.get(part.invocation_id)
        if gathered is None:
            gathered = Gathered(feed)
            self._open[part.invocation_id] = gathered
        gathered.parts.append(part)
        gathered.tokens.append(token)
        gathered.errors = gathered.errors or errors
        size = len(part.ring) + 500
        gathered.size += size
        self._bytes += size
        self._parts += 1
        return self._take(part.invocation_id) if part.end is not None else None

    def overdue(self) -> Iterator[Gathered]:
        """Those that are too many, and those that have waited too long."""
        now = time.monotonic()
        while self._open and (
            self._bytes > self._max_bytes
            or self._parts > self._max_parts
            or now - next(iter(self._open.values())).since > _PATIENCE_SECONDS
        ):
            yield self._take(next(iter(self._open)))

    def orphans(self, feed: Feed) -> list[Gathered]:
        """Those of a spool whose process has gone: a newer one writes there now."""
        gone = [key for key, g in self._open.items() if g.feed is feed and g.boot != feed.boot]
        return [self._take(key) for key in gone]

    def _take(self, invocation_id: str) -> Gathered:
        gathered = self._open.pop(invocation_id)
        self._bytes -= gathered.size
        self._parts -= len(gathered.parts)
        return gathered
