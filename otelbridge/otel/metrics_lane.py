"""Metrics: one reader of the spools that aggregates, and a target per destination that sends what there is in turns.

The aggregate lies in the same journal as the readers' positions: after a kill no invocation is counted twice or not
at all, and counters go on from where they were.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from otelbridge.lasting import LastingTask
from otelbridge.model.part import Part
from otelbridge.otel.aggregate import Aggregate
from otelbridge.otel.deadletter import DeadLetters
from otelbridge.otel.destination import takes
from otelbridge.otel.environment import MetricsOptions
from otelbridge.otel.items import Items, Slice
from otelbridge.otel.journal import Journal
from otelbridge.otel.ledger import Account, Ledger
from otelbridge.otel.measures import Measure
from otelbridge.otel.metrics import add_measures, add_series
from otelbridge.otel.request import METRICS_OWNER, Request
from otelbridge.otel.resend import resend
from otelbridge.otel.sampling import Sampling
from otelbridge.otel.sender import Fate, Sender
from otelbridge.otel.series import Series, copied, difference
from otelbridge.spool import Position, SpoolReader

__all__ = ["CONSUMER", "MetricsLane", "MetricsTarget"]

_log = logging.getLogger("otelbridge.otel")

CONSUMER = "export.metrics"
_READ_BYTES = 256 << 10
_READ_FRAMES = 1024
_TURN_SLICES = 4
_ROUND_SECONDS = 1.0
_LEAST_PATIENCE_SECONDS = 5.0


class MetricsTarget:
    """Metrics for one destination. What could not be delivered is in the next request: nothing is queued.

    `workers`: patterns of the only workers it wants to hear of; the bridge's own metrics are not among that.
    """

    def __init__(self, *, name: str, sender: Sender, delta: bool, workers: tuple[str, ...] = ()) -> None:
        self.name = name
        self.workers = workers
        self.sender = sender
        self.delta = delta
        self.ledger = Ledger()
        self.before: Series = {}  # what was delivered, for differences
        self.before_ns = 0
        self.changed: Callable[[], None] = lambda: None  # the ledger has to be noted

    def lag_s(self) -> float:
        return 0.0

    async def send(self, request: Request, timeout_s: float) -> bool:
        """Whether the fate of the request became known in time."""
        fates: list[Fate] = []
        try:
            async with asyncio.timeout(timeout_s):
                await self.sender.deliver(request, fates.extend)
        except TimeoutError:
            return False
        self.ledger.emit(METRICS_OWNER, request.records)
        for fate in fates:
            self.ledger.settle(METRICS_OWNER, fate.reason, sum(fate.counts.values()))
        return True

    async def resend(self, letters: DeadLetters, out: dict[str, int]) -> None:
        """See resend(). The ledger is noted with the next round."""
        await resend(letters, self.sender, self.ledger, self.changed, out)


class MetricsLane:
    """See the module's text. `measure` gives the bridge's own metrics; it may block.

    `damaged`: bytes of each spool that held nothing that could be read. `on_damage` is called with a spool and its bytes for
    what is found by reading; of what was cut off when a spool was opened, a notice in it tells.
    """

    def __init__(
        self,
        *,
        spools: list[Path],
        items: Items,
        state_path: Path,
        targets: list[MetricsTarget],
        options: MetricsOptions,
        sampling: Sampling,
        resources: tuple[bytes, bytes],
        measure: Callable[[], list[Measure]],
        on_end: Callable[[Part], None] | None = None,
        on_damage: Callable[[str, int], None] | None = None,
    ) -> None:
        self._items = items
        self._on_end = on_end
        self._on_damage = on_damage
        self.damaged: dict[str, int] = {}
        self.aggregate = Aggregate(exponential=options.exponential)
        # Destinations that want some workers only: an aggregate for each choice of them.
        self._chosen = {t.workers: Aggregate(exponential=options.exponential) for t in targets if t.workers}
        self.targets = targets
        self._options = options
        self._sampled = _exemplars(options, sampling)
        self._workers, self._bridge = resources
        self._measure = measure
        self._started_ns = time.time_ns()
        self._journal = Journal(state_path)
        # Where the aggregate stands: a reader is ahead of it while its frames are being taken in.
        self._positions = self._restore()
        self._readers: dict[str, SpoolReader] = {}
        for directory in spools:
            self._add_blocking(directory)
        self._reading = asyncio.Lock()
        self._noted: dict[str, Position] = {}
        self._dirty = False
        self._closed = False
        self.tasks: list[LastingTask] = []
        for target in targets:
            target.changed = self._changed

    # ----------------------------------------------------------------------------------------------------------- life

    def start(self) -> None:
        """Begin to work on the running loop."""
        sending = [LastingTask(f"export of metrics to {t.name}", functools.partial(self._send_in_turns, t)) for t in self.targets]
        self.tasks = [LastingTask("the metrics of the workers", self._run), *sending]

    async def add_spool(self, directory: Path) -> None:
        """Read a further spool, from where it was left."""
        async with self._reading:
            await asyncio.to_thread(self._add_blocking, directory)

    def _add_blocking(self, directory: Path) -> None:
        if directory.name in self._readers:
            return
        reader = SpoolReader(directory, CONSUMER)
        position = self._positions.get(directory.name)
        if position is not None and reader.resumed:
            reader.seek(position)
        self._positions[directory.name] = reader.position
        self._readers[directory.name] = reader

    async def drained(self) -> None:
        """Take in all that is in the spools, and send it once to every destination."""
        await self._read_all()
        await asyncio.gather(*(self._turn(target) for target in self.targets))

    async def aclose(self) -> None:
        """Stop at once. May be called twice."""
        await asyncio.gather(*(task.aclose() for task in self.tasks))
        if not self._closed:
            self._closed = True
            self._note()
            await asyncio.to_thread(self._release_blocking)
            for reader in self._readers.values():
                reader.close()
            self._journal.close()
            for target in self.targets:
                await target.sender.aclose()

    # ----------------------------------------------------------------------------------------------------------- work

    async def _run(self) -> None:
        while True:
            await self._read_all()
            if self._dirty:
                self._note()
                await asyncio.to_thread(self._release_blocking)
            await asyncio.sleep(_ROUND_SECONDS)

    async def _read_all(self) -> None:
        async with self._reading:
            failed: OSError | None = None
            for name, reader in list(self._readers.items()):
                more = True
                while more:
                    try:
                        pieces, follows = await asyncio.to_thread(
                            self._items.read, reader, self._positions[name], _READ_BYTES, _READ_FRAMES
                        )
                    except OSError as e:  # the other spools come first
                        failed, pieces, follows = e, [], False
                    # What comes while these are taken in waits for the next round: one would never be done under load else.
                    more = follows or sum(len(p.frames) for p in pieces) >= _READ_FRAMES or sum(p.bytes for p in pieces) >= _READ_BYTES
                    self._dirty = self._dirty or bool(pieces)
                    for number, piece in enumerate(pieces):
                        if number and number % _TURN_SLICES == 0:
                            await asyncio.sleep(0)
                        self._take(name, piece)
                    self._read_up(name, reader)
            if failed is not None:
                raise failed

    def _read_up(self, spool: str, reader: SpoolReader) -> None:
        """All that was read is taken in: what was skipped on the way belongs to the same note."""
        self._positions[spool] = reader.position
        skipped, reader.damaged_bytes = reader.damaged_bytes, 0
        if skipped:
            self._damage(spool, skipped)
            if self._on_damage is not None:
                self._on_damage(spool, skipped)

    def _damage(self, spool: str, size: int) -> None:
        self.damaged[spool] = self.damaged.get(spool, 0) + size
        self._dirty = True

    def _changed(self) -> None:
        self._dirty = True

    def _take(self, spool: str, piece: Slice) -> None:
        """Take in frames, and note how far: nobody may see the one without the other."""
        items, errors = self._items.items(piece)
        for error in errors:
            if not isinstance(error, msgspec.DecodeError):
                _log.error("metrics: a frame of spool %s can't be read", spool, exc_info=error)
        for item in items:
            try:
                if isinstance(item, Part):
                    self._record(item)
                elif item is not None and item.fields.get("event") == "otelbridge.spool.cut":
                    self._damage(spool, item.fields["bytes"])
            except Exception:  # of one invocation: the others must not be missed for it
                _log.exception("metrics: an invocation in spool %s can't be counted", spool)
        self._positions[spool] = piece.end

    def _record(self, part: Part) -> None:
        if part.end is None:
            return
        sampled = self._sampled(part)
        self.aggregate.record(part, exemplar=sampled)
        for workers, aggregate in self._chosen.items():
            if takes(workers, part.worker.worker_id):
                aggregate.record(part, exemplar=sampled)
        if self._on_end is not None:
            self._on_end(part)

    async def _send_in_turns(self, target: MetricsTarget) -> None:
        while True:
            await asyncio.sleep(self._options.interval_ms / 1000)
            await self._turn(target)

    async def _turn(self, target: MetricsTarget) -> None:
        now_ns = time.time_ns()
        aggregate = self._chosen[target.workers] if target.workers else self.aggregate
        series = copied(aggregate.wanted())
        request = Request("metrics")
        if target.delta:
            since = target.before_ns or self._started_ns
            add_series(request, self._workers, difference(series, target.before), start_ns=since, now_ns=now_ns, delta=True)
        else:
            add_series(request, self._workers, series, start_ns=self._started_ns, now_ns=now_ns, delta=False)
        if not target.workers:
            add_measures(request, self._bridge, await asyncio.to_thread(self._measure), start_ns=self._started_ns, now_ns=now_ns)
        patience = max(self._options.interval_ms / 1000, _LEAST_PATIENCE_SECONDS)
        if await target.send(request, patience):
            target.before, target.before_ns = series, now_ns
            self._dirty = True

    # ---------------------------------------------------------------------------------------------------- persistence

    def _note(self) -> None:
        """Note the aggregate and the positions it stands for. About 0.1 ms; on the loop, so that both belong together."""
        value = {
            "started": self._started_ns,
            "positions": self._positions,
            "damaged": self.damaged,
            "series": self.aggregate.snapshot(),
            "chosen": [[list(workers), aggregate.snapshot()] for workers, aggregate in self._chosen.items()],
            "targets": {
                t.name: {"accounts": t.ledger.accounts, "before": _rows(t.before) if t.delta else [], "before_ns": t.before_ns}
                for t in self.targets
            },
        }
        if self._journal.append(value, lambda: value):
            self._dirty = False
            self._noted = dict(self._positions)

    def _release_blocking(self) -> None:
        for name, reader in list(self._readers.items()):  # one may be added meanwhile
            with contextlib.suppress(OSError):
                if self._noted.get(name, reader.committed) > reader.committed:
                    reader.commit(self._noted[name])

    def _restore(self) -> dict[str, Position]:
        if not self._journal.entries:
            return {}
        value: dict[str, Any] = self._journal.entries[-1]
        self._journal.entries = []
        self._started_ns = value["started"]
        self.damaged = value.get("damaged", {})
        self.aggregate.restore(value["series"])
        for workers, series in value.get("chosen", ()):
            if (chosen := self._chosen.get(tuple(workers))) is not None:
                chosen.restore(series)
        for target in self.targets:
            known = value["targets"].get(target.name)
            if known is not None:
                target.ledger.restore(msgspec.convert(known["accounts"], dict[str, Account]))
                target.ledger.take_changes()
                earlier = Aggregate()
                earlier.restore(known["before"])
                target.before, target.before_ns = earlier.wanted(), known["before_ns"]
        return {name: Position(*position) for name, position in value["positions"].items()}


def _rows(series: Series) -> list[Any]:
    return [[name, list(labels), point] for name, of in series.items() for labels, point in of.items()]


def _exemplars(options: MetricsOptions, sampling: Sampling) -> Callable[[Part], bool]:
    """Whether the trace of an invocation may stand as an example."""
    if options.exemplars == "trace_based" and sampling.enabled:
        return sampling.head
    return lambda _: options.exemplars == "always_on"
