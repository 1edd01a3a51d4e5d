"""From a spool's items to rows in the outbox: one intake for log records, one for spans. Decides what is kept."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import msgspec

from otelbridge.model.count import count, count_spans
from otelbridge.model.part import Notice, Part
from otelbridge.model.ring import SPAN_CLOSE, SPAN_OPEN, pack, walk
from otelbridge.otel.destination import Destination
from otelbridge.otel.encoder import Encoder
from otelbridge.otel.feed import Feed, Token
from otelbridge.otel.log_rows import SEVERITY
from otelbridge.otel.outbox import Outbox
from otelbridge.otel.request import BRIDGE
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
    """What a lane hands its items to. Each token is released when its records are in the outbox or given up. Nothing raises: what
    can't be mapped is given up and counted, for a frame that stays open holds the spool for ever."""

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
            self._part(part, token, feed)
        except Exception as e:
            _give_up_unmappable([(part, token)], _logs_of, e)

    def _part(self, part: Part, token: Token, feed: Feed) -> None:
        reason = None
        if not self._sampling.enabled:
            reason = DISABLED
        elif not self._destination.takes(part.worker.worker_id):
            reason = FILTERED
        elif self._sampling.head(part):
            return self._send(part, token)
        elif not self._sampling.waits:
            reason = SAMPLED
        if reason is not None:
            return _give_up(token, reason)
        gathered = self.waiting.add(part, token, feed, errors=has_errors(part))
        if gathered is not None:
            self.decide(gathered)
        return None

    def decide(self, gathered: Gathered) -> None:
        for part, token in zip(gathered.parts, gathered.tokens, strict=True):
            try:
                if self._sampling.keep(gathered.parts[-1].end, gathered.errors):
                    self._send(part, token)
                else:
                    _give_up(token, SAMPLED)
            except Exception as e:
                _give_up_unmappable([(part, token)], _logs_of, e)

    def notice(self, notice: Notice, token: Token) -> None:
        token.worker_id = BRIDGE
        if not self._sampling.enabled:
            token.fate(DISABLED, 1)
        elif not self._wanted(notice):
            token.fate(FILTERED, 1)
        else:
            digest = hashlib.blake2b(f"{notice.time_ns}/{notice.text}".encode("utf-8", "replace"), digest_size=16)
            try:
                self._outbox.add_notice(notice, digest.hexdigest(), token)
            except Exception as e:
                return _give_up_unmappable([(notice, token)], lambda _: 1, e)
        return token.release()

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
            self._outbox.add_logs(part, records, token)
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
            self._part(part, token, feed)
        except Exception as e:
            _give_up_unmappable([(part, token)], _spans_of, e)

    def _part(self, part: Part, token: Token, feed: Feed) -> None:
        if not self._sampling.enabled:
            return _give_up_spans(token, DISABLED)
        if not self._destination.takes(part.worker.worker_id):
            return _give_up_spans(token, FILTERED)
        sampled = self._sampling.head(part)
        if not sampled and not self._sampling.waits:
            return _give_up_spans(token, SAMPLED)
        if part.end is not None and part.number == 0:  # as most invocations: nothing to wait for
            return self._send([part], [token], keep=sampled or self._sampling.keep(part.end, has_errors(part)))
        errors = not sampled and has_errors(part)
        gathered = self.waiting.add(part if part.end is not None else _spans_only(part), token, feed, errors=errors)
        if gathered is not None:
            self.decide(gathered)
        return None

    def decide(self, gathered: Gathered) -> None:
        last = gathered.parts[-1]
        try:
            keep = self._sampling.head(last) or self._sampling.keep(last.end, gathered.errors)
            self._send(gathered.parts, gathered.tokens, keep=keep)
        except Exception as e:
            _give_up_unmappable(zip(gathered.parts, gathered.tokens, strict=True), _spans_of, e)

    def _send(self, parts: list[Part], tokens: list[Token], *, keep: bool) -> None:
        if not keep:
            for token in tokens:
                _give_up_spans(token, SAMPLED)
            return
        last = parts[-1]
        if last.end is None:
            tokens[-1].extra = 1  # the span of an invocation whose process died
        counts = [(token, token.counts.spans + token.extra) for token in tokens]
        opened_any = sum([token.counts.spans for token in tokens]) > sum(map(count_spans, parts))
        rows = span_rows(parts, shape=self._shape, opened_any=opened_any)
        self.truncated += sum([TRUNCATED in row.attributes for row in rows])
        self._outbox.add_spans(last.worker, self._encoder.spans(rows), counts)
        for token in tokens:
            token.release()

    def notice(self, notice: Notice, token: Token) -> None:
        token.release()  # notices are log records


def _logs_of(part: Part) -> int:
    return count(part).logs


def _spans_of(part: Part) -> int:
    return count(part).spans


def _give_up(token: Token, reason: str) -> None:
    token.fate(reason, token.counts.logs)
    token.release()


def _give_up_spans(token: Token, reason: str) -> None:
    token.fate(reason, token.counts.spans)
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
