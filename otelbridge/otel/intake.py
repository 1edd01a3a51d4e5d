"""From a spool's items to rows in the outbox: one intake for log records, one for spans. Decides what is kept."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from otelbridge.model.count import count_spans
from otelbridge.model.part import Notice, Part
from otelbridge.model.ring import SPAN_CLOSE, SPAN_OPEN, pack, walk
from otelbridge.otel.alike import Alike
from otelbridge.otel.destination import Destination
from otelbridge.otel.encoder import Encoded, Encoder, notice_record
from otelbridge.otel.environment import LOGS, SPANS, Signal
from otelbridge.otel.feed import Feed, Token
from otelbridge.otel.log_rows import SEVERITY
from otelbridge.otel.outbox import Outbox
from otelbridge.otel.sampling import Sampling, has_errors
from otelbridge.otel.shape import TRUNCATED, Shape
from otelbridge.otel.span_rows import SpanRow, span_rows
from otelbridge.otel.waiting import Gathered, Waiting

__all__ = ["Intake", "LogsIntake", "SpansIntake"]

_log = logging.getLogger("otelbridge.otel")

DISABLED = "disabled"
FILTERED = "filtered"
SAMPLED = "sampled"
UNMAPPABLE = "unmappable"  # a defect of ours: the frame is given up, the others go on


class Intake(Protocol):
    """What a lane hands its items to. The hold on each token goes on with its records, or is released when they are given up. Nothing
    raises: what can't be mapped is given up and counted, for a frame that stays open holds the spool for ever."""

    waiting: Waiting
    truncated: int

    def parts(self, found: Sequence[tuple[Part, Token]], feed: Feed) -> None:
        """Parts of invocations, in order."""

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
        self._takes_all = sampling.takes_all and not destination.workers

    def parts(self, found: Sequence[tuple[Part, Token]], feed: Feed) -> None:
        self._send(found if self._takes_all else [one for one in found if self._goes_on(*one, feed)])

    def _goes_on(self, part: Part, token: Token, feed: Feed) -> bool:
        """Whether a part is to be sent now; if not, it waits or has met its fate."""
        sampling, gathered = self._sampling, None
        try:
            if sampling.enabled and self._destination.takes(part.worker.worker_id):
                if sampling.head(part):
                    return True
                if sampling.waits:
                    gathered = self.waiting.add(part, token, feed, errors=has_errors(part))
                else:
                    _give_up(token, SAMPLED, token.counts.logs)
            else:
                _give_up(token, FILTERED if sampling.enabled else DISABLED, token.counts.logs)
        except Exception as e:
            _give_up_unmappable([token], LOGS, e)
        if gathered is not None:
            self.decide(gathered)
        return False

    def decide(self, gathered: Gathered) -> None:
        try:
            kept = self._sampling.keep(gathered.parts[-1].end, gathered.errors)
        except Exception as e:
            return _give_up_unmappable(gathered.tokens, LOGS, e)
        if kept:
            return self._send(list(zip(gathered.parts, gathered.tokens, strict=True)))
        for token in gathered.tokens:
            _give_up(token, SAMPLED, token.counts.logs)
        return None

    def notice(self, notice: Notice, token: Token) -> None:
        if not self._sampling.enabled:
            return _give_up(token, DISABLED, 1)
        if not self._wanted(notice):
            return _give_up(token, FILTERED, 1)
        try:
            return self._outbox.add(None, notice_record(notice), token)
        except Exception as e:
            return _give_up_unmappable([token], LOGS, e)

    def _wanted(self, notice: Notice) -> bool:
        """A destination of some workers hears only of those: what the bridge says of others is not its business."""
        if SEVERITY.get(notice.level, 9) < self._destination.lowest:
            return False
        return self._destination.takes(notice.worker_id) if notice.worker_id else not self._destination.workers

    def _send(self, found: Sequence[tuple[Part, Token]]) -> None:
        """One by one if there is one among them that can't be mapped."""
        lowest = self._destination.lowest
        try:
            parts = [part for part, _ in found]
            made = self._encoder.log_records(parts, shape=self._shape, structured=self._structured, lowest=lowest)
        except Exception as e:
            if len(found) == 1:
                return _give_up_unmappable([token for _, token in found], LOGS, e)
            for one in found:
                self._send([one])
            return None
        add = self._outbox.add
        for (part, token), records in zip(found, made, strict=True):
            try:
                if lowest:
                    token.fate(FILTERED, token.counts.logs - records.count)
                self.truncated += records.truncated
                if records.count:
                    add(part.worker, records, token)
                else:
                    token.release()
            except Exception as e:
                _give_up_unmappable([token], LOGS, e)
        return None


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
        self._takes_roots = sampling.takes_roots and not destination.workers
        self._alike = Alike(lambda part: encoder.spans([self._rows((part,), 1)])[0].data)

    def parts(self, found: Sequence[tuple[Part, Token]], feed: Feed) -> None:
        roots, goes_on = self._takes_roots, self._goes_on
        self._send(
            [
                (part, token)
                for part, token in found
                if (roots and part.parent_span_id is None and part.end is not None and part.number == 0) or goes_on(part, token, feed)
            ]
        )

    def _goes_on(self, part: Part, token: Token, feed: Feed) -> bool:
        """Whether a part is a whole invocation, as most are, and to be sent now; if not, it waits or has met its fate."""
        sampling, gathered = self._sampling, None
        try:
            if sampling.enabled and self._destination.takes(part.worker.worker_id):
                sampled = sampling.head(part)
                whole = part.number == 0 and part.end is not None
                if whole and (sampled or (sampling.waits and sampling.keep(part.end, has_errors(part)))):
                    return True
                if whole or not (sampled or sampling.waits):
                    _give_up(token, SAMPLED, token.counts.spans)
                else:
                    errors = not sampled and has_errors(part)
                    gathered = self.waiting.add(part if part.end is not None else _spans_only(part), token, feed, errors=errors)
            else:
                _give_up(token, FILTERED if sampling.enabled else DISABLED, token.counts.spans)
        except Exception as e:
            _give_up_unmappable([token], SPANS, e)
        if gathered is not None:
            self.decide(gathered)
        return False

    def _send(self, found: Sequence[tuple[Part, Token]]) -> None:
        """Whole invocations."""
        span, add = self._alike.span, self._outbox.add
        others: list[tuple[Part, Token]] = []
        for part, token in found:
            try:
                data = span(part) if token.counts.spans == 1 else None
                if data is None:
                    others.append((part, token))
                else:
                    add(part.worker, Encoded(data, 1), token)
            except Exception as e:
                _give_up_unmappable([token], SPANS, e)
        if others:
            self._send_others(others)

    def _send_others(self, found: Sequence[tuple[Part, Token]]) -> None:
        """One by one if there is one among them that can't be mapped."""
        try:
            made = self._encoded([self._rows((part,), token.counts.spans) for part, token in found])
        except Exception as e:
            if len(found) == 1:
                return _give_up_unmappable([token for _, token in found], SPANS, e)
            for one in found:
                self._send_others([one])
            return None
        for (part, token), records in zip(found, made, strict=True):
            try:
                self._outbox.add(part.worker, records, token)
            except Exception as e:
                _give_up_unmappable([token], SPANS, e)
        return None

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
            (records,) = self._encoded([self._rows(parts, sum(counts))])
            counts[-1] += tokens[-1].extra
            self._outbox.add_shared(last.worker, records, list(zip(tokens, counts, strict=True)))
        except Exception as e:
            _give_up_unmappable(tokens, SPANS, e)

    def _rows(self, parts: Sequence[Part], counted: int) -> list[SpanRow]:
        """The spans of an invocation, of which its frames counted so many."""
        # One, of one that has ended, is its own.
        opened_any = (counted > 1 or parts[-1].end is None) and counted > sum([count_spans(part) for part in parts])
        return span_rows(parts, shape=self._shape, opened_any=opened_any)

    def _encoded(self, invocations: Sequence[Sequence[SpanRow]]) -> list[Encoded]:
        made = self._encoder.spans(invocations)
        self.truncated += sum([TRUNCATED in row.attributes for rows in invocations for row in rows])
        return made

    def notice(self, notice: Notice, token: Token) -> None:
        token.release()  # notices are log records


def _give_up(token: Token, reason: str, count: int) -> None:
    token.fate(reason, count)
    token.release()


def _give_up_unmappable(tokens: Iterable[Token], signal: Signal, error: Exception) -> None:
    """What of these frames is in no batch is dropped."""
    _log.error("export: what an invocation left behind can't be mapped and is given up", exc_info=error)
    for token in tokens:
        counted = token.counts.logs if signal == LOGS else token.counts.spans
        token.fate(UNMAPPABLE, counted + token.extra - token.accounted)
        token.release()


def _spans_only(part: Part) -> Part:
    """A part that waits without its log lines: they may be the larger half of its memory, and nobody asks for them."""
    if not part.ring:
        return part
    kept = b"".join(pack(e.kind, e.payload, time_ns=e.time_ns, span=e.span) for e in walk(part.ring) if e.kind in (SPAN_OPEN, SPAN_CLOSE))
    return msgspec.structs.replace(part, ring=kept)
