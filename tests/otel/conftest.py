"""A collector, a spool and an exporter between them."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from otelbridge.model import ring
from otelbridge.model.part import End, Part, WorkerRef, encode
from otelbridge.model.trace import FetchEvent
from otelbridge.otel.encoder import Encoder
from otelbridge.otel.environment import Environment
from otelbridge.otel.exporter import Exporter
from otelbridge.sandbox import Cache
from otelbridge.settings import Settings
from otelbridge.spool import SpoolWriter
from tests.collector import FakeCollector

_ids = itertools.count(1)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encoder]:
    """Return the compiled encoder of log records."""
    made = Encoder(Cache(tmp_path_factory.mktemp("cache")))
    yield made
    made.close()


@pytest.fixture
async def collector() -> AsyncIterator[FakeCollector]:
    """Return a collector that takes everything."""
    async with FakeCollector() as running:
        yield running


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[SpoolWriter]:
    """Return the writer of a spool."""
    made = SpoolWriter(tmp_path / "spool" / "main", sync_ms=10)
    yield made
    made.close()


MakeExporter = Callable[..., AbstractAsyncContextManager[Exporter]]


@pytest.fixture
def exporting(tmp_path: Path) -> MakeExporter:
    """Return a function that starts an exporter of the spool: variables by name, settings by dotted key."""

    @contextlib.asynccontextmanager
    async def start(url: str = "", *, writer: SpoolWriter | None = None, settings: dict[str, Any] | None = None, tell: Any = None,
                    spools: list[Path] | None = None, **variables: str) -> AsyncIterator[Exporter]:  # fmt: skip
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_METRICS_EXPORTER": "none", "OTEL_BSP_SCHEDULE_DELAY": "100", **variables}
        exporter = Exporter(
            settings=Settings(environ={}, flags={"data_dir": tmp_path, **(settings or {})}),
            environment=Environment(environ),
            spools=spools or [tmp_path / "spool" / "main"],
            data_dir=tmp_path,
            tell=tell,
        )
        async with exporter:
            if writer is not None:
                writer.subscribe(exporter.wake)
            yield exporter

    return start


def new_part(
    *lines: str,
    worker: str = "demo",
    level: int = 1,
    outcome: str | None = "ok",
    invocation: str | None = None,
    trace: str | None = None,
    parent: str | None = None,
    flags: int = 1,
    number: int = 0,
    first: int = 0,
    ring_bytes: bytes = b"",
    **end: Any,
) -> Part:
    """A part with log lines; with `outcome` None it has no end."""
    now = time.time_ns()
    unique = next(_ids)
    data = b"".join(ring.pack(ring.LOG, msgspec.json.encode([line]), level=level, time_ns=now) for line in lines)
    return Part(
        worker=WorkerRef(worker, "v1", 1 << 27),
        invocation_id=invocation or f"{unique:032x}",
        trace_id=trace or f"{unique + (1 << 100):032x}",
        span_id=f"{unique:016x}",
        parent_span_id=parent,
        trace_flags=flags,
        event=FetchEvent("GET", "http://worker/hello", {}),
        entrypoint=None,
        start_ns=now - 1000,
        number=number,
        first_sequence=first,
        floor_ns=now - 500,
        time_ns=now,
        ring=data + ring_bytes,
        end=End(now, outcome, 1_000_000, 2_000_000, **{"status": 200, **end}) if outcome is not None else None,
    )


def append(writer: SpoolWriter, *parts: Part) -> None:
    """Write parts as the tail stage does."""
    for part in parts:
        writer.append(encode(part), rank=2, worker_id=part.worker.worker_id)
