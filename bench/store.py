"""The log store: how fast it takes records in, how fast it answers, how large it is, and what the event loop feels of it.

    python -m bench.store [--records 1000000] [--directory DIR]

Real spool, indexer, store and threads, in one process. Queries are asked over Store's own methods, so they include the
way to the reading thread and back. Each line ends with the goal; the exit code is 1 when one is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from bench.table import OURS, Table
from otelbridge.logs import Indexer, Store
from otelbridge.logs.batch import Batch, make_batch
from otelbridge.logs.segments import Segments
from otelbridge.model import ring
from otelbridge.model.part import End, Part, WorkerRef, encode
from otelbridge.model.trace import FetchEvent
from otelbridge.spool import SpoolReader, SpoolWriter

WORKERS = 10_000
_FRAMES = 102  # five records each
HOURS = 24
MINUTE_NS = 60_000_000_000
TEXT = (
    "request received from upstream cache miss hit user session token refreshed order payment item checkout queue retry after timeout "
    "connection closed by peer database row updated in index lookup render template done started finished"
)
WORDS = tuple(TEXT.split())
RARE = "zebrafinch"
PATHS = ("/", "/api/users", "/api/orders", "/health", "/checkout", "/static/app.js")


class Report:
    """Lines of the report, also for a table, and whether a goal was missed."""

    def __init__(self, table: Table | None = None) -> None:
        self.missed: list[str] = []
        self._table = table

    def show(self, name: str, value: float, unit: str, *, most: float | None = None, least: float | None = None, note: str = "") -> None:
        """One line. `most` and `least` are goals."""
        goal = f"at most {most:,.0f}" if most is not None else f"at least {least:,.0f}" if least is not None else ""
        if self._table is not None:
            self._table.note(name, OURS, value, unit=unit, goal=goal)
        if (most is not None and value > most) or (least is not None and value < least):
            self.missed.append(name)
            goal += "  MISSED"
        # A table goes to stdout when all has been measured.
        out = sys.stderr if self._table is not None else sys.stdout
        print(f"{name:60s} {value:12,.2f} {unit:10s} {goal:22s} {note}", file=out, flush=True)


# --------------------------------------------------------------------------------------------------------------- records


def parts(records: int, now_ns: int) -> Iterator[tuple[bytes, int]]:
    """Payloads of spool frames, oldest first, with how many records each has: five to an invocation, some one more.

    Three lines of text, one logged object and the invocation's own record; every 50th invocation throws.
    """
    rng = random.Random(7)
    step = HOURS * 60 * MINUTE_NS // max(1, records // 5)
    start_ns = now_ns - HOURS * 60 * MINUTE_NS
    made = 0
    number = 0
    while made < records:
        number += 1
        begin = start_ns + number * step
        worker = f"tenant-{min(int(rng.paretovariate(0.6)), WORKERS):05d}"
        entries = [_line(rng, begin + i * 200_000, number) for i in range(3)]
        members = {"user_id": rng.randrange(100_000), "action": rng.choice(WORDS), "ms": round(rng.expovariate(1 / 20), 2)}
        entries.append(ring.pack(ring.LOG, msgspec.json.encode([members]), level=2, time_ns=begin + 700_000))
        failed = number % 50 == 0
        if failed:
            thrown = {
                "name": "TypeError",
                "message": "x is not a function",
                "stack": "    at fetch (index.js:10:5)\n    at run (index.js:2:1)",
            }
            entries.append(ring.pack(ring.EXCEPTION, msgspec.json.encode(thrown), level=4, time_ns=begin + 900_000))
        wall = int(rng.expovariate(1 / 8e6)) + 100_000
        outcome, status = ("exception", 500) if failed else ("ok", 200 if number % 23 else 404)
        part = Part(
            WorkerRef(worker, f"{zlib.crc32(worker.encode()):016x}"),
            f"{rng.getrandbits(128):032x}",
            f"{rng.getrandbits(128):032x}",
            f"{rng.getrandbits(64):016x}",
            None,
            1,
            FetchEvent(
                "GET", f"https://{worker}.example.com{rng.choice(PATHS)}", {"user-agent": "bench/1.0", "accept": "*/*"}, "192.0.2.1"
            ),
            None,
            begin,
            0,
            0,
            begin,
            begin + wall + 1_000_000,
            b"".join(entries),
            End(begin + wall + 1_000_000, outcome, wall // 2, wall, status, memory_bytes=1 << 20),
        )
        made += len(entries) + 1
        yield encode(part), len(entries) + 1


def _line(rng: random.Random, time_ns: int, number: int) -> bytes:
    text = " ".join(rng.choices(WORDS, k=10)) + f" {rng.randrange(1 << 30):x}"
    if number % 20_000 == 7:
        text += f" {RARE}"
    level = rng.choices((0, 1, 2, 3, 4), (10, 30, 50, 7, 3))[0]
    return ring.pack(ring.LOG, msgspec.json.encode([text]), level=level, time_ns=time_ns)


# ------------------------------------------------------------------------------------------------------------- measuring


class Lag:
    """How late the event loop comes, in ms: `async with Lag() as lag: …; lag.p(0.99)`."""

    async def __aenter__(self) -> Lag:
        self.late: list[float] = []
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        self.late.sort()

    async def _watch(self) -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            self.late.append((time.perf_counter() - start - 0.001) * 1000)

    def p(self, share: float) -> float:
        """The lag that this share of all looks does not exceed."""
        return self.late[min(int(share * len(self.late)), len(self.late) - 1)]


async def median_ms(ask: Callable[[], Awaitable[object]], repeats: int) -> tuple[float, float]:
    """The median time of a question that was asked before, by the clock, and the CPU time that one asking took."""
    times = []
    cpu = 0.0
    for i in range(repeats + 3):
        start = time.perf_counter()
        if i == 3:
            cpu = time.process_time()
        await ask()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[3:]), (time.process_time() - cpu) * 1000 / repeats


# ----------------------------------------------------------------------------------------------------------------- ingest


async def ingest(report: Report, directory: Path, records: int) -> None:
    """Fill a spool, then let the indexer read it as fast as it can."""
    made = fill(directory / "spool", records)
    async with Lag() as lag:
        await asyncio.sleep(3)
    report.show(
        "event loop lag before, p99",
        lag.p(0.99),
        "ms",
        note=f"p50 {lag.p(0.5):.2f}, most {lag.p(1):.1f}; nothing else runs in this process",
    )
    async with Store(directory=directory / "store") as store:
        indexer = Indexer(store, {"main": SpoolReader(directory / "spool", "store")})
        wall, cpu = time.perf_counter(), time.process_time()
        async with Lag() as lag, indexer:
            assert await indexer.drain(3_600)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    report.show(
        "ingest, the indexer's own batches",
        made / wall,
        "records/s",
        note=f"by the clock; {cpu / made * 1e6:.1f} us of CPU time per record",
    )
    report.show("event loop lag meanwhile, p99", lag.p(0.99), "ms", most=10, note=f"p50 {lag.p(0.5):.2f}, most {lag.p(1):.1f}")


def ingest_512(report: Report, directory: Path, records: int) -> None:
    """The same in batches of some 512 records, with the CPU time of each of the two threads: the busier one sets the rate."""
    made = fill(directory / "spool", records)
    reader = SpoolReader(directory / "spool", "store")
    segments = Segments(directory=directory / "store", segment_records=500_000, retention_seconds=7 * 86_400, max_bytes=16 << 30)
    spent = {"prepare": 0.0, "write": 0.0}

    def prepare() -> Batch | None:
        start = time.thread_time()
        frames = reader.read(1 << 20, _FRAMES)
        batch = make_batch("main", frames) if frames else None
        spent["prepare"] += time.thread_time() - start
        return batch

    def write(batch: Batch) -> None:
        start = time.thread_time()
        segments.add(batch)
        spent["write"] += time.thread_time() - start

    with ThreadPoolExecutor(1) as writing, ThreadPoolExecutor(1) as preparing:
        writing.submit(segments.open).result()
        wall = time.perf_counter()
        task: Future[None] | None = None
        while (batch := preparing.submit(prepare).result()) is not None:
            if task is not None:
                task.result()
            task = writing.submit(write, batch)
        if task is not None:
            task.result()
        wall = time.perf_counter() - wall
        writing.submit(segments.close).result()
    reader.close()
    note = "by the clock, with whatever else runs on the machine"
    report.show("ingest, batches of 512 records", made / wall, "records/s", least=40_000, note=note)
    one, other = (f"{seconds / made * 1e6:.1f} us to {name}" for name, seconds in spent.items())
    note = f"CPU time per record: {one}, {other}, side by side"
    report.show("ingest, batches of 512 records, by CPU time", made / max(spent.values()), "records/s", note=note)


def fill(directory: Path, records: int) -> int:
    """A spool with so many records; how many it became."""
    writer = SpoolWriter(directory, max_bytes=16 << 30)
    made = 0
    for payload, count in parts(records, time.time_ns()):
        writer.append(payload)
        made += count
    writer.close()
    return made


# ---------------------------------------------------------------------------------------------------------------- queries


async def ask(report: Report, store: Store, made: int) -> None:
    """All questions, warm."""
    state = await store.state()
    assert state.records == made, (state.records, made)
    report.show("size", state.bytes / state.records, "bytes/rec", most=450, note=f"{state.records:,} records in {state.segments} segments")
    hour = {"view": "calculations", "since": "1h", "calculations": [{"operator": "count"}]}
    everything = hour | {"since": f"{HOURS + 1}h"}
    minutes, hours = {"bucketMs": 60_000, "groupBy": ["level"]}, {"bucketMs": 3_600_000, "groupBy": ["level"]}
    questions: list[tuple[str, float | None, Callable[[], Awaitable[object]]]] = [
        ("first page, newest 100", 5, lambda: store.logs()),
        ("worker + level + 1 h, newest 100", 5, lambda: store.logs("worker:tenant-00003 level:error", since="1h")),
        ("a large worker + level + 1 h, newest 100", 5, lambda: store.logs("worker:tenant-00001 level:error", since="1h")),
        ("rare word over everything", 5, lambda: store.logs(RARE)),
        ("common word, newest 100", None, lambda: store.logs("timeout")),
        ("two words + worker", None, lambda: store.logs("timeout peer worker:tenant-00002")),
        ("structured field, user_id=4711 over everything", None, lambda: store.logs("user_id=4711")),
        ("regular expression over 1 h", None, lambda: store.logs("/order.*payment.*order/", since="1h")),
        ("one invocation's records by outcome, newest 100", None, lambda: store.logs("outcome:exception")),
        ("status:5xx worker:tenant-00001, newest 100", None, lambda: store.logs("status:5xx worker:tenant-00001")),
        ("newest 100 invocations", None, lambda: store.invocations()),
        ("minute buckets over 1 h by level", 50, lambda: store.query(hour | minutes)),
        ("minute buckets over 1 h of one worker", None, lambda: store.query(hour | minutes | {"q": "worker:tenant-00001"})),
        ("minute buckets over 1 h by outcome (no roll-up)", None, lambda: store.query(hour | minutes | {"groupBy": ["outcome"]})),
        ("hour buckets over everything by level", 50, lambda: store.query(everything | hours)),
        ("hour buckets over everything by worker", None, lambda: store.query(everything | hours | {"groupBy": ["worker"], "limit": 100})),
        (
            "p99(wallMs) over 1 h by worker",
            None,
            lambda: store.query(
                hour | {"calculations": [{"operator": "p99", "key": "wallMs"}], "groupBy": ["worker"], "q": "kind:invocation"}
            ),
        ),
        ("counters of all workers", None, lambda: store.worker_counters()),
        ("counters of one worker", None, lambda: store.worker_counters("tenant-00002")),
        ("names for completion", None, lambda: store.keys("us")),
        ("values of a field for completion", None, lambda: store.values("worker", "tenant-000")),
    ]
    for name, most, question in questions:
        start = time.perf_counter()
        await question()
        once = time.perf_counter() - start
        median, cpu = await median_ms(question, 50 if once < 0.05 else 7)
        report.show(name, median, "ms", most=most, note=f"{cpu:.2f} ms of CPU time")


async def run(report: Report, records: int, directory: Path) -> None:
    """Everything, in this directory; a store that is there already is only asked."""
    if not (directory / "store").exists():
        await asyncio.to_thread(ingest_512, report, directory / "small", min(records, 200_000))
        shutil.rmtree(directory / "small")
        await ingest(report, directory, records)
    async with Store(directory=directory / "store") as store:
        await ask(report, store, (await store.state()).records)


def measure(table: Table) -> None:
    """The same as `python -m bench.store`, noted down."""
    with tempfile.TemporaryDirectory(prefix="otelbridge-bench-") as directory:
        asyncio.run(run(Report(table), 100_000 if table.quick else 1_000_000, Path(directory)))


def main() -> int:
    """1 when a goal was missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path, help="where to put it; a store that is there already is only asked")
    given = parser.parse_args()
    report = Report()
    print(f"{given.records:,} records; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory(prefix="otelbridge-bench-") as directory:
        asyncio.run(run(report, given.records, given.directory or Path(directory)))
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
