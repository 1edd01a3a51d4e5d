"""What a spool does when it is full, or its disk is: what goes first, that all of it is counted, that it comes back."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from otelbridge.model import ring
from otelbridge.model.count import Counts, count
from otelbridge.model.part import End, Notice, Part, WorkerRef, decode, encode, entries
from otelbridge.model.trace import FetchEvent, Subrequest, TraceException, TraceLog
from otelbridge.spool import SpoolReader, SpoolWriter, Tally
from otelbridge.spool.drops import Drops, read_pending
from otelbridge.spool.shed import Noise, lighten, pressure


def part(*lines: tuple[int, str], worker: str = "w", end: bool = False, error: bool = False, invocation: str = "i" * 32) -> Part:
    """A part with log lines of (level, text), maybe an exception, maybe its end."""
    data = b"".join(ring.pack(ring.LOG, b'["%s"]' % text.encode(), level=level, time_ns=5) for level, text in lines)
    if error:
        data += ring.pack(ring.EXCEPTION, b'{"name":"Error","message":"m"}', time_ns=6)
    return Part(
        worker=WorkerRef(worker, "v1"),
        invocation_id=invocation,
        trace_id="a" * 32,
        span_id="b" * 16,
        parent_span_id=None,
        trace_flags=1,
        event=FetchEvent("GET", "http://w/", {}),
        entrypoint=None,
        start_ns=1,
        number=0,
        first_sequence=0,
        floor_ns=1,
        time_ns=10,
        ring=data,
        end=End(9, "ok", 1, 2, subrequests=(Subrequest("c" * 16, "fetch", "GET", "http://x/", 1, 2),)) if end else None,
    )


def texts(payload: bytes) -> list[str]:
    item = decode(payload)
    assert isinstance(item, Part)
    return [e.message[0] if isinstance(e, TraceLog) else "!" for e in entries(item) if isinstance(e, TraceLog | TraceException)]


def read_all(reader: SpoolReader) -> list[Part | Notice]:
    out = []
    while frames := reader.read():
        out += [decode(f.payload) for f in frames]
        reader.commit(frames[-1].position)
    return out


MIXED = part((0, "debug"), (1, "log"), (4, "error"), end=True, error=True)


@pytest.mark.parametrize(
    ("level", "noisy", "kept"),
    [
        (1, False, ["debug", "log", "error", "!"]),
        (1, True, ["log", "error", "!"]),
        (2, False, ["log", "error", "!"]),
        (2, True, ["!"]),
        (3, False, ["!"]),
    ],
)
def test_levels_give_up_the_least_dear_first(level: int, noisy: bool, kept: list[str]) -> None:
    """Debug lines of the noisy go first, then their logs, then everybody's; exceptions and ends stay."""
    payload, left_out = lighten(encode(MIXED), level=level, noisy=noisy, rank=2)
    assert payload is not None
    assert texts(payload) == kept
    assert left_out.logs == 4 - len(kept)
    item = decode(payload)
    assert isinstance(item, Part)
    assert item.end is not None
    assert item.end.truncated is (left_out.logs > 0)
    assert item.end.dropped.logs == left_out.logs


def test_a_part_that_loses_all_goes_as_a_whole() -> None:
    """A part of debug lines only is not written at all when those go, and a full spool takes nothing."""
    payload, left_out = lighten(encode(part((0, "a"), (0, "b"))), level=1, noisy=True, rank=0)
    assert (payload, left_out.frames, left_out.logs) == (None, 1, 2)
    payload, left_out = lighten(encode(MIXED), level=4, noisy=False, rank=2)
    assert (payload, left_out.frames, left_out.logs, left_out.spans) == (None, 1, 4, 2)


def test_other_payloads_go_by_their_rank() -> None:
    """What is no part is kept or dropped whole: rank 0 at once, rank 1 above 98 %, rank 2 only when full."""
    for rank, level, stays in [(0, 1, False), (1, 2, True), (1, 3, False), (2, 3, True), (2, 4, False)]:
        payload, left_out = lighten(b"\xc1opaque", level=level, noisy=False, rank=rank)
        assert (payload is not None) is stays
        assert left_out.frames == (0 if stays else 1)
    notice, _ = lighten(encode(Notice(1, "info", "text")), level=3, noisy=False, rank=2)
    assert notice is not None


def test_count_is_what_the_entries_say() -> None:
    """count() and entries() agree on the number of log records; the end stands for its spans."""
    assert count(MIXED) == Counts(logs=4, spans=2)
    opened = (
        ring.pack(ring.SPAN_OPEN, b"{}", span=1)
        + ring.pack(ring.SPAN_CLOSE, b"{}", span=1)
        + ring.pack(ring.DIAGNOSTIC, b"{}")
        + b"junk" * 9
    )
    assert count(msgspec.structs.replace(MIXED, ring=opened)) == Counts(logs=1, spans=3)


def test_pressure_follows_the_marks() -> None:
    """The levels begin at 80, 90, 98 and 100 %."""
    assert [pressure(n, 100) for n in (0, 79, 80, 90, 98, 100, 200)] == [0, 0, 1, 2, 3, 4, 4]


def test_noise_finds_who_writes_most_and_forgets() -> None:
    """Who writes above average is noisy; what lies a window back counts less and less."""
    noise = Noise(window_bytes=10_000)
    for _ in range(9):
        noise.add("loud", 900)
    noise.add("quiet", 100)
    assert noise.is_noisy("loud")
    assert not noise.is_noisy("quiet")
    for _ in range(100):
        noise.add("quiet", 900)
    assert noise.is_noisy("quiet")
    assert not noise.is_noisy("loud")


def test_a_full_spool_counts_drops_and_recovers(tmp_path: Path) -> None:
    """With nobody reading, the size stays bounded and each record is kept or counted; after reading all is taken again."""
    limit = 200_000
    writer = SpoolWriter(tmp_path, max_bytes=limit)
    reader = SpoolReader(tmp_path, "a")
    for i in range(3000):
        writer.append(encode(part((i % 5, "x" * 50), (0, "debug"), worker=f"w{i % 3}", end=True)), rank=2, worker_id=f"w{i % 3}")
    assert sum(p.stat().st_size for p in tmp_path.glob("*.seg")) <= limit * 1.02  # it is measured anew with each hundredth
    dropped = sum(t.logs for (_, reason), t in writer.drops().items() if reason == "spool_full")
    kept = [item for item in read_all(reader) if isinstance(item, Part)]
    assert sum(count(item).logs for item in kept) + dropped == 6000
    assert dropped > 0
    assert {worker for worker, _ in writer.drops()} == {"w0", "w1", "w2"}
    writer.close()
    writer = SpoolWriter(tmp_path, max_bytes=limit)
    writer.append(encode(MIXED), worker_id="w")
    writer.close()
    items = read_all(reader)
    assert [item for item in items if isinstance(item, Part)] == [MIXED]


def test_drops_become_notices_and_survive_a_restart(tmp_path: Path) -> None:
    """What was dropped stands in a notice as soon as the spool takes it, even when the process ended before."""
    writer = SpoolWriter(tmp_path, max_bytes=20_000)
    reader = SpoolReader(tmp_path, "a")
    for _ in range(400):
        writer.append(encode(MIXED), worker_id="demo", rank=2)
    pending = read_pending(tmp_path)
    told = [item for item in read_all(reader) if isinstance(item, Notice)]
    writer.close()
    dropped = writer.drops()["demo", "spool_full"]
    again = SpoolWriter(tmp_path, max_bytes=20_000)
    again.close()
    told += [item for item in read_all(reader) if isinstance(item, Notice)]
    assert pending or told
    assert read_pending(tmp_path) == []
    assert sum(n.fields["logs"] for n in told) == dropped.logs
    assert sum(n.fields["spans"] for n in told) == dropped.spans
    assert {(n.worker_id, n.fields["reason"]) for n in told} == {("demo", "spool_full")}


def test_drops_of_more_workers_than_slots_are_still_counted(tmp_path: Path) -> None:
    """Beyond the slots, drops are counted for the worker "", so that no count is lost."""
    drops = Drops(tmp_path)
    for i in range(200):
        drops.add(f"worker {i} " + "ü" * 200, "spool_full", Tally(1, 2, 3, 4))
    pending = Drops(tmp_path).pending()
    assert sum(t.logs for _, _, t in pending) == 400
    assert max(t.logs for w, _, t in pending if not w) > 200
    assert pending == read_pending(tmp_path)


def test_what_is_too_large_or_late_is_counted(tmp_path: Path) -> None:
    """An oversized payload and one after close() are drops with their own reasons; append() raises never."""
    writer = SpoolWriter(tmp_path)
    writer.append(b"x" * ((64 << 20) + 1), worker_id="w")
    writer.close()
    writer.append(encode(MIXED), worker_id="w")
    assert {reason for _, reason in writer.drops()} == {"too_large", "closed"}
    assert writer.drops()["w", "closed"].logs == 4


CHILD = """
    import sys, resource
    from pathlib import Path
    from otelbridge.spool import SpoolWriter, SpoolReader
    directory = Path(sys.argv[1])
    writer = SpoolWriter(directory)
    reader = SpoolReader(directory, "a")
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    for i in range(30):
        writer.append(b"%03d" % i * 200)          # the 17th does not fit into its file
    got = [f.payload for f in reader.read() if len(f.payload) == 600]  # not the notice
    drops = {k[1]: t.frames for k, t in writer.drops().items()}
    assert len(got) + drops.get("disk_full", 0) == 30, (len(got), drops)
    assert drops.get("disk_full", 0) == 1, drops  # the next one went into a new file
    assert got == sorted(set(got)), "torn frames must not be read"
    assert reader.damaged_bytes == 0
    writer.close()
    print("ok")
"""


def test_a_failing_write_is_taken_back_and_counted(tmp_path: Path) -> None:
    """A write that fails in the middle (a file size limit) leaves no torn frame, costs one frame, and the next go on."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "ok", done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] != 0
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
