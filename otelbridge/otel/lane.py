"""A lane: one signal on its way from the spools to one destination. Lanes share nothing, so none holds up another.

    read frames -> intake (sample, map) -> outbox (batches) -> sender (attempts) -> tokens settle -> progress

What a kill makes a lane send twice is what was under way, so it is no more than needed: see concurrency.py. A request that
had to be split is settled piece by piece.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

import msgspec

from otelbridge.lasting import LastingTask
from otelbridge.model.part import Notice, Part
from otelbridge.model.passage import ExportPassage, Place
from otelbridge.otel.concurrency import Concurrency
from otelbridge.otel.deadletter import DeadLetters
from otelbridge.otel.environment import LOGS, BatchLimits, Signal
from otelbridge.otel.feed import Feed, Token
from otelbridge.otel.intake import Intake
from otelbridge.otel.items import Items, Opened, Slice
from otelbridge.otel.outbox import Batch, Outbox
from otelbridge.otel.passages import passage
from otelbridge.otel.progress import Progress
from otelbridge.otel.request import BRIDGE
from otelbridge.otel.resend import resend
from otelbridge.otel.sender import Fate, Sender

__all__ = ["UNSENDABLE", "Lane", "Refusals"]

UNSENDABLE = "unsendable"

_log = logging.getLogger("otelbridge.otel")

_READ_BYTES = 512 << 10
_READ_FRAMES = 512
_LINGER_SECONDS = 0.1  # after news: a round costs about as much for one frame as for dozens
_IDLE_SECONDS = 0.25  # without news: another process may have written
_STUCK_SECONDS = 0.5  # without room: then frames that wait are counted all the same
_COMMIT_SECONDS = 1.0
_WINDOW_BYTES = 32 << 20
_ATTEMPTS = 5  # at a batch that fails before it comes to an answer
_FIRST_PAUSE_SECONDS = 0.25

Refusals = Callable[[str, int, str], None]  # worker id, records, reason


class Lane:
    """See the module's text. `on_loss` hears of records that the destination refused or that were given up."""

    def __init__(
        self,
        *,
        signal: Signal,
        consumer: str,
        spools: list[Path],
        items: Items,
        state_path: Path,
        intake: Intake,
        outbox: Outbox,
        sender: Sender,
        limits: BatchLimits,
        on_loss: Refusals | None = None,
    ) -> None:
        self.signal: Signal = signal
        self._of_logs = signal == LOGS
        self.sender = sender
        self.intake = intake
        self.undecodable = 0
        self._items = items
        self._outbox = outbox
        self._limits = limits
        self._concurrency = Concurrency(max(1, min(8, limits.max_queue // limits.max_batch)))
        self._on_loss = on_loss
        self._progress = Progress(state_path, consumer=consumer, items=items, spools=spools)
        self.ledger = self._progress.ledger
        self._in_flight: dict[asyncio.Task[None], Batch] = {}
        self._news = asyncio.Event()
        self._room = asyncio.Event()  # a request has come back
        self._counting = asyncio.Lock()
        self._found: deque[tuple[Feed, deque[Slice], int]] = deque()  # read and not taken yet
        self.task: LastingTask | None = None
        self._flush = False
        self._idle_rounds = 0
        self._had_room = 0.0  # when frames could be taken last
        self._released = 0.0
        self._closed = False

    # ----------------------------------------------------------------------------------------------------------- life

    def start(self, destination: str) -> None:
        """Begin to work on the running loop."""
        self.task = LastingTask(f"export of {self.signal} to {destination}", self._run)

    def wake(self) -> None:
        """There is something new in a spool of this process."""
        self._news.set()

    async def add_spool(self, directory: Path) -> None:
        """Read a further spool, from where it was left."""
        async with self._counting:
            await asyncio.to_thread(self._progress.add_blocking, directory)
        self._news.set()

    async def drained(self) -> None:
        """Wait until all that is in the spools has been read and settled; invocations that have not ended may wait on."""
        self._flush = True
        try:
            seen = self._idle_rounds
            while self._idle_rounds < seen + 2:  # the first round may have begun before the last append
                self._news.set()
                await asyncio.sleep(0.005)
        finally:
            self._flush = False

    async def aclose(self) -> None:
        """Stop at once. What is not settled is sent after the next start. May be called twice."""
        closed, self._closed = self._closed, True
        if self.task is not None:
            await self.task.aclose()
        tasks = list(self._in_flight)
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not closed:
            self._progress.commit()
            await asyncio.to_thread(self._progress.release_blocking)
            self._progress.close()
            await self.sender.aclose()

    # ----------------------------------------------------------------------------------------------------------- work

    async def _run(self) -> None:
        while True:
            await self._round()

    async def _round(self) -> None:
        self._news.clear()
        stuck = self._outbox.queued >= self._limits.max_queue or self._outbox.queued_bytes >= _WINDOW_BYTES
        if not stuck:
            self._had_room = time.monotonic()
            writers = [(feed, feed.last_boot) for feed in self._progress.feeds]
            found = await asyncio.to_thread(self._progress.read_blocking, _READ_BYTES, _READ_FRAMES)
            self._found.extend((feed, deque(pieces), time.time_ns()) for feed, pieces in found)
            moved = bool(self._found)
            full = any(feed.follows or _is_plenty(pieces) for feed, pieces, _ in self._found)
            await self._take()
            # Looked up before the read: when that found nothing, all is read that an earlier process wrote.
            for feed, boot in writers if not moved else ():
                if 0 < feed.boot < boot and feed.trouble is None:
                    self._written_by(feed, boot)
        else:
            # A moment later they are counted when they are taken, for nothing.
            moved = full = time.monotonic() - self._had_room > _STUCK_SECONDS and await self._count_ahead()
        for gathered in self.intake.waiting.overdue():
            self.intake.decide(gathered)
        self._launch()
        await self._housekeeping()
        if full:
            return
        if not moved and not self._in_flight and self._outbox.queued == 0:
            self._idle_rounds += 1
        await self._pause(stuck=stuck)

    async def _pause(self, *, stuck: bool) -> None:
        """Until there is news or a batch is due; while there is no room, until a request has come back."""
        wait = max(0.0, min(_IDLE_SECONDS, self._outbox.due_s() if len(self._in_flight) < self._concurrency.allowed else _IDLE_SECONDS))
        if self._flush:
            wait = min(wait, 0.01)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                if stuck:
                    await self._room.wait()
                else:
                    await self._news.wait()
                    if not self._flush:
                        await asyncio.sleep(min(_LINGER_SECONDS, wait))
        self._room.clear()

    async def _take(self) -> None:
        while self._found:
            feed, pieces, read_ns = self._found[0]
            while pieces:
                self._take_slice(feed, pieces.popleft(), read_ns)
                self._launch()
                await asyncio.sleep(0)
            self._found.popleft()

    def _take_slice(self, feed: Feed, piece: Slice, read_ns: int) -> None:
        self._progress.dirty = True
        try:
            if piece.boot != feed.boot:
                self._written_by(feed, piece.boot)
            opened = self._counted(feed, piece)
        except Exception:
            feed.tokens(piece, None, read_ns)  # they stay open: not sent, but not passed over either
            raise
        parts: list[tuple[Part, Token]] = []
        for item, token in zip(opened.items, feed.tokens(piece, opened, read_ns), strict=True):
            if token is not None:
                if isinstance(item, Part):
                    parts.append((item, token))
                elif item is None:
                    token.release()
                else:
                    self.intake.notice(item, token)
        self.intake.parts(parts, feed)

    def _written_by(self, feed: Feed, boot: int) -> None:
        """Another process writes there now: invocations that wait for their end will have none."""
        feed.boot = boot
        for gathered in self.intake.waiting.orphans(feed):
            self.intake.decide(gathered)

    async def count(self) -> None:
        """Count all that is in the spools by now, so that the ledger has it."""
        while await self._count_ahead():
            pass

    async def _count_ahead(self) -> bool:
        """Count frames that can't be sent yet; whether there were some."""
        async with self._counting:
            found = await asyncio.to_thread(self._progress.scan_blocking, _READ_BYTES, _READ_FRAMES)
            for feed, pieces in found:
                for piece in pieces:
                    self._counted(feed, piece)
                    await asyncio.sleep(0)
        return bool(found)

    def _counted(self, feed: Feed, piece: Slice) -> Opened:
        """Open a slice; what is in it is emitted when it is seen for the first time."""
        opened = self._items.open(piece)
        if piece.end > feed.counted:
            fresh = piece.after(feed.counted)
            self._emit(opened if fresh is piece else self._items.open(fresh))
            feed.counted = piece.end
            self._progress.dirty = True
        return opened

    def _emit(self, opened: Opened) -> None:
        for worker_id, records in (opened.logs if self._of_logs else opened.spans).items():
            self.ledger.emit(worker_id, records)
        if self._of_logs:
            self.ledger.emit(BRIDGE, len(opened.notices))
        for notice in opened.notices:
            self._lost_before(notice)
        for error in opened.errors:
            self.undecodable += 1
            defect = None if isinstance(error, msgspec.DecodeError | UnicodeDecodeError | RecursionError) else error
            _log.error("export of %s: a frame of the spool can't be read and is left out", self.signal, exc_info=defect)

    def _lost_before(self, notice: Notice) -> None:
        """What the spool's writer had to leave out is told by notices: it was emitted, and dropped."""
        fields = notice.fields
        if fields.get("event") != "otelbridge.telemetry.dropped":
            return
        lost, reason = fields.get(self.signal), fields.get("reason")
        if isinstance(lost, int) and lost > 0 and isinstance(reason, str):
            self.ledger.emit(notice.worker_id or BRIDGE, lost)
            self.ledger.drop(notice.worker_id or BRIDGE, reason, lost)

    # -------------------------------------------------------------------------------------------------------- sending

    def _launch(self) -> None:
        while len(self._in_flight) < self._concurrency.allowed:
            batch = self._outbox.take(flush=self._flush)
            if batch is None:
                return
            task = asyncio.get_running_loop().create_task(self._deliver(batch))
            self._in_flight[task] = batch
            task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        del self._in_flight[task]
        if not task.cancelled() and task.exception() is not None:
            _log.error("export of %s: a batch is stuck", self.signal, exc_info=task.exception())
        if not self._closed:
            self._launch()
        self._room.set()
        self._news.set()

    async def _deliver(self, batch: Batch) -> None:
        def settled(fates: list[Fate]) -> None:
            self._outbox.settled(batch, fates)
            self._progress.commit()
            self._tell(fates)

        started, failures = time.monotonic(), self.sender.failures
        for attempt in range(_ATTEMPTS):
            try:
                await self.sender.deliver(batch.request, settled)
                break
            except Exception as e:  # a defect, or a machine without memory or threads: records must not hang in the air for it
                _log.error("export of %s: a batch could not be handled", self.signal, exc_info=e)
                if attempt == _ATTEMPTS - 1 or batch.left < batch.request.records:
                    settled([Fate(batch.open_counts(), UNSENDABLE)])
                    break
                await asyncio.sleep(_FIRST_PAUSE_SECONDS * 4**attempt)
        failed = self.sender.failures > failures
        self._concurrency.adapt(time.monotonic() - started, failed=failed, waits=self._outbox.ready)

    def _tell(self, fates: list[Fate]) -> None:
        for fate in fates:
            if fate.reason is not None and self._on_loss is not None:
                for worker_id, lost in fate.counts.items():
                    if lost and worker_id != BRIDGE:  # a lost record about lost records must not make another one
                        self._on_loss(worker_id, lost, fate.reason)

    async def resend(self, letters: DeadLetters, out: dict[str, int]) -> None:
        """See resend()."""
        await resend(letters, self.sender, self.ledger, self._progress.commit, out)

    async def _housekeeping(self) -> None:
        now = time.monotonic()
        if now - self._released < _COMMIT_SECONDS and not self._progress.releasable:
            return
        self._released = now
        if self._progress.dirty:
            self._progress.commit()
        await asyncio.to_thread(self._progress.release_blocking)

    # -------------------------------------------------------------------------------------------------------- looking

    def passage(self, destination: str, invocation_id: str, place: Place | None) -> ExportPassage:
        """What is known of an invocation's way; `place`: where its end stands in a spool."""
        waiting = [read_ns for feed in self._progress.feeds for read_ns in feed.waiting(invocation_id)]
        unread = place is not None and any(f.directory.name == place.spool and not f.has_read(place) for f in self._progress.feeds)
        done = self._progress.passages.get(invocation_id)
        since = min(waiting, default=None)
        signal: Literal["logs", "spans"] = "logs" if self.signal == LOGS else "spans"
        return passage(destination, signal, done, waits_since=since, waits=bool(waiting) or unread, error=self.sender.last_error)

    def lag_s(self) -> float:
        """Age of the oldest record that is on its way."""
        oldest = [batch.oldest_ns for batch in self._in_flight.values()]
        return max(0.0, (time.time_ns() - min(oldest)) / 1e9) if oldest else 0.0

    @property
    def troubles(self) -> list[str]:
        """Spools that can't be read now, and why."""
        return [feed.trouble for feed in self._progress.feeds if feed.trouble is not None]

    @property
    def queued(self) -> int:
        """Records in memory."""
        return self._outbox.queued


def _is_plenty(pieces: Collection[Slice]) -> bool:
    """Whether a read has got half of what it asks for at most: then the next one need not wait."""
    return 2 * sum(len(piece.frames) for piece in pieces) >= _READ_FRAMES or 2 * sum(piece.bytes for piece in pieces) >= _READ_BYTES
