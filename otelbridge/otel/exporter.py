"""The exporter: everything behind the spool that sends telemetry on. One per bridge, or in the hub for all loaders."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from otelbridge.lasting import LastingTask
from otelbridge.model.passage import ExportPassage, Place
from otelbridge.otel.connect import connect
from otelbridge.otel.deadletter import DeadLetters
from otelbridge.otel.destination import Destination, destinations
from otelbridge.otel.encoder import Encoder
from otelbridge.otel.environment import LOGS, METRICS, SPANS, Environment, Signal
from otelbridge.otel.intake import LogsIntake, SpansIntake
from otelbridge.otel.items import Items
from otelbridge.otel.lane import Lane
from otelbridge.otel.measures import Measure, measures, own_spans
from otelbridge.otel.metrics import prometheus
from otelbridge.otel.metrics_lane import CONSUMER, MetricsLane, MetricsTarget
from otelbridge.otel.outbox import Outbox
from otelbridge.otel.own_traces import OwnTraces
from otelbridge.otel.report import exports, untold
from otelbridge.otel.resource import Resources, bridge_attributes, shared_attributes
from otelbridge.otel.sampling import Sampling
from otelbridge.otel.sender import Sender
from otelbridge.otel.shape import Shape
from otelbridge.sandbox import Cache
from otelbridge.settings import Settings
from otelbridge.spool import forget_consumer, registered_consumers

__all__ = ["Exporter"]

_log = logging.getLogger("otelbridge.otel")

# Collectors refuse gRPC messages above 4 MiB unless told otherwise; over HTTP a smaller request is no worse.
_MAX_REQUEST_BYTES = 4_000_000
_TELL_SECONDS = 10.0

Tell = Callable[..., None]  # level, text, worker_id=..., **fields


class Exporter:
    """See the module's text. Use as `async with Exporter(...)`; wake() when something was appended in this process.

    `spools`: the directories to read, more by add_spool(); `data_dir`: where progress, ledgers and dead letters are kept; `tell`: takes a
    record of the bridge itself (level, text, worker_id=, **fields), normally into the spool; `own`: further metrics of it.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        environment: Environment,
        spools: Sequence[Path],
        data_dir: Path,
        tell: Tell | None = None,
        own: Callable[[], list[Measure]] | None = None,
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._spools = list(spools)
        self._items = Items()
        self._directory = data_dir / "export"
        self._tell = tell
        self._own = own
        self._losses: dict[tuple[str, str, str, Signal], int] = {}
        self._told = time.monotonic()
        self._resources = Resources(shared_attributes(settings, environment), bridge_attributes(environment, data_dir))
        self.destinations = destinations(settings, environment)
        self._encoder: Encoder | None = None
        self.own_traces: OwnTraces | None = None
        if settings.telemetry.own_traces:
            senders = [self._sender(d, SPANS, own=True) for d in self.destinations if SPANS in d.endpoints]
            self.own_traces = OwnTraces(senders, self._resources, environment.batches[SPANS])
        self.lanes: dict[tuple[str, Signal], Lane] = {}
        self._metrics: MetricsLane | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0  # the loop's
        self._woken = False
        self._teller: LastingTask | None = None
        self._resending = asyncio.Lock()

    # ----------------------------------------------------------------------------------------------------------- life

    async def __aenter__(self) -> Self:
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        for line in self._environment.warnings:
            _log.warning("%s", line)
        await asyncio.to_thread(self._forget_removed, self._spools)
        wanted = [(d, signal) for d in self.destinations for signal in d.endpoints if signal != METRICS]
        if wanted:
            # One for all lanes: they run on the same loop.
            self._encoder = await asyncio.to_thread(Encoder, Cache(self._settings.cache_dir))
            self._items = Items(self._encoder.counts)
            for destination, signal in wanted:
                lane = await asyncio.to_thread(self._lane, destination, signal, self._encoder)
                self.lanes[destination.name, signal] = lane
                lane.start(destination.name)
        self._metrics = await asyncio.to_thread(self._metrics_lane)
        self._metrics.start()
        if self.own_traces is not None:
            self.own_traces.start()
        self._teller = LastingTask("the notices of what was not delivered", self._tell_losses)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop at once; what is not settled is sent after the next start. May be called twice."""
        if self._teller is not None:
            await self._teller.aclose()
        for lane in self.lanes.values():
            await lane.aclose()
        if self._encoder is not None:
            self._encoder.close()
        if self._metrics is not None:
            await self._metrics.aclose()
        if self.own_traces is not None:
            await self.own_traces.aclose()

    async def drain(self, timeout: float) -> bool:
        """Send all that is in the spools, for at most `timeout` seconds; whether everything has left."""
        try:
            async with asyncio.timeout(timeout):
                drains = [lane.drained() for lane in self.lanes.values()]
                await asyncio.gather(*drains, *([self._metrics.drained()] if self._metrics is not None else []))
                if self.own_traces is not None:
                    await self.own_traces.drained()
        except TimeoutError:
            return False
        return True

    async def add_spool(self, directory: Path) -> None:
        """Read a further spool, from where it was left. Spools are told apart by the last part of their paths."""
        if directory in self._spools:
            return
        if directory.name in (known.name for known in self._spools):
            raise ValueError(f"there is a spool named {directory.name} already")
        await asyncio.to_thread(self._forget_removed, [directory])
        for lane in self.lanes.values():
            await lane.add_spool(directory)
        if self._metrics is not None:
            await self._metrics.add_spool(directory)
        self._spools.append(directory)  # last: what failed is done again by the next call

    def wake(self) -> None:
        """Something was appended. Callable from any thread, cheap when called often."""
        if threading.get_ident() == self._thread:
            self._wake()  # a hand-over is two system calls, and with it a turn of the loop for each request
        elif not self._woken and self._loop is not None:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._woken = False
        for lane in self.lanes.values():
            lane.wake()

    # ------------------------------------------------------------------------------------------------------- building

    def _lane(self, destination: Destination, signal: Signal, encoder: Encoder) -> Lane:
        export = self._settings.export
        limits = self._environment.batches[signal]
        path = self._directory / destination.name / signal
        sampling = Sampling(signal, self._settings.observability, self._environment)
        outbox = Outbox(signal, limits, self._resources, max_bytes=_MAX_REQUEST_BYTES)
        shape = self._shape(signal)
        intake = (
            LogsIntake(
                destination=destination,
                outbox=outbox,
                sampling=sampling,
                encoder=encoder,
                shape=shape,
                structured=export.structured_attributes,
            )
            if signal == LOGS
            else SpansIntake(destination=destination, outbox=outbox, sampling=sampling, encoder=encoder, shape=shape)
        )
        return Lane(
            signal=signal,
            consumer=_consumer(destination.name, signal),
            spools=self._spools,
            items=self._items,
            state_path=path / "progress",
            intake=intake,
            outbox=outbox,
            sender=self._sender(destination, signal),
            limits=limits,
            on_loss=lambda worker_id, lost, reason: self._lost(destination.name, worker_id, reason, signal, lost),
        )

    def _sender(self, destination: Destination, signal: Signal, *, own: bool = False) -> Sender:
        """`own`: for the bridge's own spans, of which sending makes no further ones, and which nobody wants back when refused."""
        endpoint = destination.endpoints[signal]
        path = self._directory / destination.name / "own"
        return Sender(
            connect(endpoint),
            timeout_s=endpoint.timeout_ms / 1000,
            retry_bounded_s=self._settings.export.retry_500_seconds,
            max_bytes=_MAX_REQUEST_BYTES,
            dead_letters=DeadLetters(path, destination=destination.name, signal=signal, max_bytes=0)
            if own
            else self._dead_letters(destination, signal),
            observe=self.own_traces.attempt(destination.name) if self.own_traces is not None and not own else None,
        )

    def _metrics_lane(self) -> MetricsLane:
        options = self._environment.metrics
        return MetricsLane(
            spools=self._spools,
            items=self._items,
            state_path=self._directory / "metrics",
            targets=[
                MetricsTarget(name=d.name, sender=self._sender(d, METRICS), delta=options.temporality != "cumulative", workers=d.workers)
                for d in self.destinations
                if METRICS in d.endpoints
            ],
            options=options,
            sampling=Sampling(SPANS, self._settings.observability, self._environment),
            resources=(self._resources.shared, self._resources.bridge),
            measure=self._measures,
            on_end=self.own_traces.loaded if self.own_traces is not None else None,
            on_damage=self._damaged,
        )

    def _measures(self) -> list[Measure]:
        own = self.own_traces
        traced = own_spans(own.sent, own.dropped) if own is not None else []
        return measures(self._accounted(), self._spools, self._damage()) + traced + (self._own() if self._own is not None else [])

    def _damage(self) -> dict[str, int]:
        return self._metrics.damaged if self._metrics is not None else {}

    def _accounted(self) -> dict[tuple[str, Signal], Lane | MetricsTarget]:
        """All that has a ledger."""
        targets = self._metrics.targets if self._metrics is not None else []
        return {**self.lanes, **{(t.name, METRICS): t for t in targets}}

    def _shape(self, signal: Signal) -> Shape:
        """The limits of the settings and those of the standard variables, the lower one of each."""
        export, limits = self._settings.export, self._environment.attribute_limits[signal]
        counts = [n for n in (export.max_attributes, limits.count) if n]
        return Shape(
            body_bytes=export.max_line_bytes,
            attributes=min(counts) if counts else 0,
            attribute_bytes=export.max_attribute_bytes,
            attribute_chars=limits.length or 0,
        )

    def _dead_letters(self, destination: Destination, signal: Signal) -> DeadLetters:
        path = self._directory / destination.name / signal / "dead-letters.jsonl"
        return DeadLetters(path, destination=destination.name, signal=signal, max_bytes=self._settings.export.dead_letter_bytes)

    def _forget_removed(self, spools: Sequence[Path]) -> None:
        """Destinations that are configured no longer must not hold on to the spool."""
        wanted = {_consumer(d.name, s) for d in self.destinations for s in d.endpoints} | {CONSUMER}
        for directory in spools:
            for name in registered_consumers(directory):
                if name.startswith("export.") and name not in wanted:
                    _log.warning("destination %s is configured no longer: what was still to be sent there is given up", name)
                    forget_consumer(directory, name)

    # -------------------------------------------------------------------------------------------------------- looking

    @property
    def tasks(self) -> list[LastingTask]:
        """All that has to go on while it runs."""
        lanes = [lane.task for lane in self.lanes.values()]
        metrics = self._metrics.tasks if self._metrics is not None else []
        own = self.own_traces.tasks if self.own_traces is not None else []
        return [task for task in (*lanes, *metrics, *own, self._teller) if task is not None]

    @property
    def troubles(self) -> list[str]:
        """What keeps telemetry in the spool, but for destinations that are away."""
        return sorted({trouble for lane in self.lanes.values() for trouble in lane.troubles})

    async def count(self, timeout: float = 1.0) -> None:
        """Let the ledger have all that is in the spools by now: a record counts as emitted once it has been seen there."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await asyncio.gather(*(lane.count() for lane in self.lanes.values()))

    def exports(self) -> dict[str, Any]:
        """The loss ledger, as GET /v1/exports shows it, of what has been counted so far."""
        return exports(self.destinations, self._accounted(), untold(self._spools), self._damage())

    async def ledger(self) -> dict[str, Any]:
        """exports() of all that was appended by now. What a spool left out is first in its own counts and then, as a notice,
        among its frames: it must not be missed on its way from here to there, nor be counted in both places."""
        for _ in range(10):
            before = untold(self._spools)
            await self.count()
            if untold(self._spools) == before:
                break
        return self.exports()

    def passages(self, invocation_id: str, place: Place | None) -> list[ExportPassage]:
        """What is known of an ended invocation's way to each destination; `place`: where its end stands in a spool."""
        return [lane.passage(name, invocation_id, place) for (name, _), lane in self.lanes.items()]

    def metrics_text(self) -> str:
        """The workers' metrics and those of spool and export, in Prometheus' text form. Looks at the sizes of a few files."""
        series = self._metrics.aggregate.series if self._metrics is not None else {}
        return prometheus(series, self._measures())

    # ---------------------------------------------------------------------------------------------------- dead letters

    def dead_letters(self, destination: str | None = None) -> Iterator[dict[str, Any]]:
        """What destinations refused for good, or one did, oldest first: {time, destination, signal, reason, error, records,
        workers, request}. Reads files while it goes on."""
        for one in self.destinations:
            if destination in (None, one.name):
                for signal in one.endpoints:
                    yield from self._dead_letters(one, signal).letters()

    async def resend(self, destination: str | None = None, *, timeout: float | None = None) -> dict[str, int]:
        """Send dead letters again, to all destinations or one: {"delivered", "failed", "left"}, in records. `left`: those it
        did not come to within `timeout` seconds, because a destination is away. Failed ones are dead letters again."""
        out = {"delivered": 0, "failed": 0}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout), self._resending:
                for one in self.destinations:
                    for signal in one.endpoints if destination in (None, one.name) else ():
                        await self._accounted()[one.name, signal].resend(self._dead_letters(one, signal), out)
        remaining = await asyncio.to_thread(lambda: sum(letter["records"] for letter in self.dead_letters(destination)))
        return {**out, "left": max(remaining - out["failed"], 0)}

    # ---------------------------------------------------------------------------------------------- the bridge's own

    def _lost(self, destination: str, worker_id: str, reason: str, signal: Signal, count: int) -> None:
        key = (destination, worker_id, reason, signal)
        if key in self._losses or len(self._losses) < 1000:
            self._losses[key] = self._losses.get(key, 0) + count

    def _damaged(self, spool: str, size: int) -> None:
        if self._tell is not None:
            text = f"{size} damaged bytes of the spool {spool} were skipped"
            self._tell("error", text, event="otelbridge.spool.skipped", spool=spool, bytes=size)

    async def _tell_losses(self) -> None:
        """Losses become records of the bridge itself, a few seconds' worth in one."""
        while True:
            await asyncio.sleep(_TELL_SECONDS)
            losses, self._losses = self._losses, {}
            for (destination, worker_id, reason, signal), count in losses.items():
                text = f"{count} {signal} of worker {worker_id} did not get to {destination}: {reason}"
                _log.warning("%s", text, extra={"worker_id": worker_id} if worker_id else None)
                if self._tell is not None:
                    self._tell(
                        "warn",
                        text,
                        worker_id=worker_id,
                        event="otelbridge.export.lost",
                        destination=destination,
                        signal=signal,
                        reason=reason,
                        count=count,
                    )


def _consumer(destination: str, signal: Signal) -> str:
    return f"export.{destination}.{signal}"
