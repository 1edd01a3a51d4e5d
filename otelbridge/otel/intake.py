"""From a spool's items to rows in the outbox: one intake for log records, one for spans. Decides what is kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

import msgspec

from otelbridge.model.count import count, count_spans
from otelbridge.model.part import Notice, Part
from otelbridge.model.ring import SPAN_CLOSE, SPAN_OPEN, pack, walk
from otelbridge.otel.destination import Destination
from otelbridge.otel.encoder import Encoded, Encoder, notice_record
from otelbridge.otel.feed import Feed, Token
from otelbridge.otel.log_rows import SEVERITY
from otelbridge.otel.outbox import Outbox
from otelbridge.otel.sampling import Sampling, has_errors
from otelbridge.otel.shape import TRUNCATED, Shape
from otelbridge.otel.span_rows import span_rows
from otelbridge.otel.waiting import Gathered, Waiting

__all__ = ["Intake", "LogsIntake", "SpansIntake"]

_log = logging.getLogger("otelbridge.otel")

_Item = TypeVar("_Item", Part, Notice)

DISABLED = "disabled"
FILTERED = "filtered"
SAMPLED = "sampled"
UNMAPPABLE = "unmappable"  # a defect of ours: the frame is given up, the others go on


class Intake(Protocol):
    """What a lane hands its items to. The hold on each token goes on with its records, or is released when they are given up. Nothing
    raises: what can't be mapped is given up and counted, for a frame that stays open holds the spool for ever."""

    waiting: Waiting
    truncated: int

    def part(self, part: Part, token: Token, feed: Feed) -> None:
        """A part of an invocation."""

    def notice(self, notice: Notice, token: Token) -> None:
        """A record of the bridge itself."""

    def decide(self, gathered: Gathered) -> None:
        """Decide on an invocation whose end will not come."""


class LogsIntake:
    """Log records leave as soon as they are read, unless their invocation must show first that it is worth keeping."""

    def __init__(
        self, *, destination: Destination, outbox: Outbox, sampling: Sampling, encoder: Encoder, shape: Shape, structured: bool
    ) -> None:
        self.waiting = Waiting()
        self.truncated = 0
        self._destination = destination
        self._outbox = outbox
        self._sampling = sampling
        self._encoder = encoder
        self._shape = shape
        self._structured = structured

    def part(self, part: Part, token: Token, feed: Feed) -> None:
        try:
            if not self._sampling.enabled:
                return _give_up(token, DISABLED, token.counts.logs)
            if not self._destination.takes(part.worker.worker_id):
                return _give_up(token, FILTERED, token.counts.logs)
            if self._sampling.head(part):
                return self._send(part, token)
            if not self._sampling.waits:
                return _give_up(token, SAMPLED, token.counts.logs)
            gathered = self.waiting.add(part, token, feed, errors=has_errors(part))
        except Exception as e:
            return _give_up_unmappable([(part, token)], _logs_of, e)
        return self.decide(gathered) if gathered is not None else None

    def decide(self, gathered: Gathered) -> None:
        for part, token in zip(gathered.parts, gathered.tokens, strict=True):
            try:
                if self._sampling.keep(gathered.parts[-1].end, gathered.errors):
                    self._send(part, token)
                else:
                    _give_up(token, SAMPLED, token.counts.logs)
            except Exception as e:
                _give_up_unmappable([(part, token)], _logs_of, e)

    def notice(self, notice: Notice, token: Token) -> None:
        if not self._sampling.enabled:
            return _give_up(token, DISABLED, 1)
        if not self._wanted(notice):
            return _give_up(token, FILTERED, 1)
        try:
            return self._outbox.add(None, notice_record(notice), token)
        except Exception as e:
            return _give_up_unmappable([(notice, token)], lambda _: 1, e)

    def _wanted(self, notice: Notice) -> bool:
        """A destination of some workers hears only of those: what the bridge says of others is not its business."""
        if SEVERITY.get(notice.level, 9) < self._destination.lowest:
            return False
        return self._destination.takes(notice.worker_id) if notice.worker_id else not self._destination.workers

    def _send(self, part: Part, token: Token) -> None:
        lowest = self._destination.lowest
        records = self._encoder.log_records(part, shape=self._shape, structured=self._structured, lowest=lowest)
        if lowest:
            token.fate(FILTERED, token.counts.logs - records.count)
        self.truncated += records.truncated
        if records.count:
            self._outbox.add(part.worker, records, token)
        else:
            token.release()


class SpansIntake:
    """Spans leave when their invocation has ended: its own span, and the fate of those it opened, are known then."""

    def __init__(self, *, destination: Destination, outbox: Outbox, sampling: Sampling, encoder: Encoder, shape: Shape) -> None:
        self.waiting = Waiting()
        self.truncated = 0
        self._destination = destination
        self._outbox = outbox
        self._sampling = sampling
        self._encoder = encoder
        self._shape = shape

    def part(self, part: Part, token: Token, feed: Feed) -> None:
        try:
            if not self._sampling.enabled:
                return _give_up(token, DISABLED, token.counts.spans)
            if not self._destination.takes(part.worker.worker_id):
                return _give_up(token, FILTERED, token.counts.spans)
            sampled = self._sampling.head(part)
            if not sampled and not self._sampling.waits:
                return _give_up(token, SAMPLED, token.counts.spans)
            if part.end is not None and part.number == 0:  # as most invocations: nothing to wait for
                if not sampled and not self._sampling.keep(part.end, has_errors(part)):
                    return _give_up(token, SAMPLED, token.counts.spans)
                return self._outbox.add(part.worker, self._encoded((part,), token.counts.spans), token)
            errors = not sampled and has_errors(part)
            gathered = self.waiting.add(part if part.end is not None else _spans_only(part), token, feed, errors=errors)
        except Exception as e:
            return _give_up_unmappable([(part, token)], _spans_of, e)
        return self.decide(gathered) if gathered is not None else None

    def decide(self, gathered: Gathered) -> None:
        parts, tokens = gathered.parts, gathered.tokens
        last = parts[-1]
        try:
            if not self._sampling.head(last) and not self._sampling.keep(last.end, gathered.errors):
                for token in tokens:
                    _give_up(token, SAMPLED, token.counts.spans)
                return
            if last.end is None:
                tokens[-1].extra = 1  # the span of an invocation whose process died
            counts = [token.counts.spans for token in tokens]
            records = self._encoded(parts, sum(counts))
            counts[-1] += tokens[-1].extra
            self._outbox.add_shared(last.worker, records, list(zip(tokens, counts, strict=True)))
        except Exception as e:
            _give_up_unmappable(zip(parts, tokens, strict=True), _spans_of, e)

    def _encoded(self, parts: Sequence[Part], counted: int) -> Encoded:
        """The spans of an invocation, of which its frames counted so many."""
        rows = span_rows(parts, shape=self._shape, opened_any=counted > sum([count_spans(part) for part in parts]))
        for row in rows:
            self.truncated += TRUNCATED in row.attributes
        return self._encoder.spans(rows)

    def notice(self, notice: Notice, token: Token) -> None:
        token.release()  # notices are log records


def _logs_of(part: Part) -> int:
    return count(part).logs


def _spans_of(part: Part) -> int:
    return count(part).spans


def _give_up(token: Token, reason: str, count: int) -> None:
    token.fate(reason, count)
    token.release()


def _give_up_unmappable(frames: Iterable[tuple[_Item, Token]], records: Callable[[_Item], int], error: Exception) -> None:
    """What of these frames is in no batch is dropped."""
    _log.error("export: what an invocation left behind can't be mapped and is given up", exc_info=error)
    for item, token in frames:
        token.fate(UNMAPPABLE, records(item) + token.extra - token.accounted)
        token.release()


def _spans_only(part: Part) -> Part:
    """A part that waits without its log lines: they may be the larger half of its memory, and nobody asks for them."""
    if not part.ring:
        return part
    kept = b"".join(pack(e.kind, e.payload, time_ns=e.time_ns, span=e.span) for e in walk(part.ring) if e.kind in (SPAN_OPEN, SPAN_CLOSE))
    return msgspec.structs.replace(part, ring=kept)
