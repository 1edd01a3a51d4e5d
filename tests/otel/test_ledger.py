"""The ledger and what keeps it: accounts, the journal, progress with gaps."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from otelbridge.otel.feed import Feed
from otelbridge.otel.items import Items
from otelbridge.otel.journal import Journal
from otelbridge.otel.ledger import Account, Ledger, total
from otelbridge.otel.passages import Passages
from otelbridge.otel.request import Request
from otelbridge.otel.sender import Sender
from otelbridge.otel.transport import Accepted
from otelbridge.spool import SpoolReader, SpoolWriter

WORKER = st.sampled_from(["a", "b", "c", "d"])
COUNT = st.integers(1, 50)


class LedgerMachine(RuleBasedStateMachine):
    """Any course of events, with journal notes and kills in between: the equation holds, and kills change nothing noted."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(max_workers=3)
        self.open = 0
        self.noted: list[dict[str, Account]] = []
        self.truth = Account()

    @rule(worker=WORKER, count=COUNT)
    def emit(self, worker: str, count: int) -> None:
        self.ledger.emit(worker, count)
        self.truth.emitted += count

    @rule(worker=WORKER, count=COUNT, reason=st.sampled_from([None, "rejected", "sampled", "spool_full"]))
    def settle(self, worker: str, count: int, reason: str | None) -> None:
        account = self.ledger.accounts.get(worker)
        count = min(count, account.queued if account else 0)
        self.ledger.settle(worker, reason, count)

    @rule()
    def note(self) -> None:
        self.noted.append(self.ledger.take_changes())

    @rule()
    def note_fails(self) -> None:
        self.ledger.give_back(self.ledger.take_changes())

    @rule()
    def restart_after_noting(self) -> None:
        self.noted.append(self.ledger.take_changes())
        before = total(self.ledger.accounts.values())
        self.ledger = Ledger(max_workers=3)
        for changes in self.noted:
            self.ledger.restore(changes)
        assert total(self.ledger.accounts.values()) == before

    @invariant()
    def equation(self) -> None:
        for account in self.ledger.accounts.values():
            shown = account.to_json()
            assert shown["emitted"] == shown["delivered"] + shown["queued"] + shown["rejected"] + sum(shown["dropped"].values())
            assert min(shown["queued"], shown["emitted"], shown["delivered"], shown["rejected"]) >= 0
        assert total(self.ledger.accounts.values()).emitted == self.truth.emitted


TestLedger = LedgerMachine.TestCase


def test_many_workers_fold_into_one_line() -> None:
    """Beyond the limit, settled accounts become one, and the totals stay what they were."""
    ledger = Ledger(max_workers=10)
    for i in range(100):
        ledger.emit(f"w{i}", 3)
        ledger.settle(f"w{i}", None, 2)
        ledger.settle(f"w{i}", "sampled", 1)
        ledger.take_changes()
    assert len(ledger.accounts) <= 11
    assert total(ledger.accounts.values()) == Account(300, 200, 0, {"sampled": 100})
    ledger.move("w0", "sampled", None, 1)
    assert total(ledger.accounts.values()) == Account(300, 201, 0, {"sampled": 99})


@given(
    values=st.lists(st.binary(max_size=300), max_size=60), kills=st.sets(st.integers(0, 59), max_size=5), file_bytes=st.integers(200, 3000)
)
def test_the_journal_gives_back_what_was_noted(
    tmp_path_factory: pytest.TempPathFactory, values: list[bytes], kills: set[int], file_bytes: int
) -> None:
    """Through turns from file to file and kills at any point, what is read is a snapshot and all that came after it."""
    path = tmp_path_factory.mktemp("journal") / "progress"
    journal = Journal(path, file_bytes=file_bytes)
    seen: list[bytes] = []
    for number, value in enumerate(values):
        seen.append(value)
        assert journal.append([value], lambda: list(seen))
        if number in kills:
            journal = Journal(path, file_bytes=file_bytes)  # the old one is left open, as a kill would
            assert [v for entry in journal.entries for v in entry] == seen
            journal.entries = []
    assert [v for entry in Journal(path).entries for v in entry] == seen


@given(values=st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=20), cut=st.integers(0, 2000), flip=st.integers(0, 2000))
def test_a_damaged_journal_gives_a_true_beginning(
    tmp_path_factory: pytest.TempPathFactory, values: list[bytes], cut: int, flip: int
) -> None:
    """Whatever happens to the files, what is read is what was noted up to some point, never something else."""
    path = tmp_path_factory.mktemp("journal") / "progress"
    journal = Journal(path, file_bytes=300)
    seen: list[bytes] = []
    for value in values:
        seen.append(value)
        journal.append([value], lambda: list(seen))
    journal.close()
    for file in path.parent.iterdir():
        data = bytearray(file.read_bytes())
        if data:
            data[flip % len(data)] ^= 0x55
        file.write_bytes(data[: max(len(data) - cut, 0)])
    got = [v for entry in Journal(path).entries for v in entry]
    assert got == seen[: len(got)]


def test_progress_can_be_noted_on_a_full_disk(tmp_path: Path) -> None:
    """Once its files exist, the journal needs no space: also at a file size limit of what it has, it goes on."""
    code = """
import resource, sys
from pathlib import Path
from otelbridge.otel.journal import Journal
journal = Journal(Path(sys.argv[1]) / "p", file_bytes=4096)
for i in range(400):                                # both files have been made by then
    assert journal.append(i, lambda: i)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
for i in range(400, 3000):
    assert journal.append(i, lambda: i)
assert Journal(Path(sys.argv[1]) / "p").entries[-1] == 2999
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_a_journal_that_cant_write_says_so(tmp_path: Path) -> None:
    """A failing disk is a False, not an exception in the middle of an export."""
    journal = Journal(tmp_path / "p")
    assert journal.append(1, lambda: 1)
    with open("/dev/full", "wb") as full:
        os.dup2(full.fileno(), journal._fd)
    assert not journal.append(2, lambda: 2)
    assert journal.failures == 1
    journal.close()
    assert Journal(tmp_path / "p").entries == [1]


class FeedMachine(RuleBasedStateMachine):
    """A feed whose frames are settled in any order, noted, and killed: each frame is settled once, none is forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp()) / "spool"
        self.writer = SpoolWriter(self.directory, segment_bytes=300, sync_ms=0)
        self.appended = 0
        self.items = Items(max_bytes=2_000)
        self.settled: dict[int, int] = {}  # by frame: how often it was settled and noted
        self.pending: list[int] = []
        self.states: list[dict[str, Any]] = []
        self.start(None)

    def start(self, state: dict[str, Any] | None) -> None:
        self.feed = Feed(self.directory, consumer="c", items=self.items, ledger=Ledger(), passages=Passages(), state=state)
        self.tokens: dict[int, Any] = {}
        self.pending = []

    @rule(count=st.integers(1, 6))
    def append(self, count: int) -> None:
        for _ in range(count):
            self.writer.append(b"%d" % self.appended + b"x" * (self.appended % 40))
            self.appended += 1

    @rule(count=st.integers(1, 5))
    def read(self, count: int) -> None:
        for piece in self.feed.read_blocking(1000, count):
            for frame, token in zip(piece.frames, self.feed.tokens(piece, None, 1), strict=True):
                number = int(frame.payload.rstrip(b"x"))
                if token is not None:
                    assert number not in self.settled, "a frame that was noted as done came again"
                    self.tokens[number] = token

    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        if self.tokens:
            number = data.draw(st.sampled_from(sorted(self.tokens)))
            self.tokens.pop(number).release()
            self.pending.append(number)

    @rule()
    def note(self) -> None:
        self.states.append(self.feed.take_changes())
        for number in self.pending:
            self.settled[number] = self.settled.get(number, 0) + 1
        self.pending = []

    @rule()
    def release(self) -> None:
        self.note()
        self.feed.release_blocking()

    @rule(snapshot=st.booleans())
    def kill(self, snapshot: bool) -> None:
        if snapshot:
            self.note()
            self.states = [self.feed.snapshot()]
        first = self.states[0] if self.states and "low" in self.states[0] else {"low": (0, 0), "done": [], "counted": (0, 0)}
        done = [r for state in self.states for r in state["done"]]
        self.feed.close()
        self.start({"low": first["low"], "done": done, "counted": (0, 0)} if self.states else None)

    def teardown(self) -> None:
        while True:
            before = self.feed.reader.position
            self.read(100)
            for number in sorted(self.tokens):
                self.tokens.pop(number).release()
                self.pending.append(number)
            if self.feed.reader.position == before:
                break
        self.note()
        assert self.settled == dict.fromkeys(range(self.appended), 1)
        assert self.feed.low == self.feed.reader.position
        self.feed.close()
        self.writer.close()


TestFeed = FeedMachine.TestCase
TestFeed.settings = settings(max_examples=25)  # each makes files and a thread


def test_progress_waits_for_a_read_that_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While frames are being read, all before them is done and nothing more: a stop in that moment passes none of them over."""
    feed = Feed(tmp_path / "spool", consumer="c", items=Items(), ledger=Ledger(), passages=Passages(), state=None)
    with contextlib.closing(feed), contextlib.closing(SpoolWriter(tmp_path / "spool", sync_ms=0)) as writer:
        writer.append(b"one")
        read, lows = feed.reader.read, []

        def looked_at(*limits: int) -> Any:
            found = read(*limits)
            lows.append(feed.low)
            return found

        monkeypatch.setattr(feed.reader, "read", looked_at)
        (piece,) = feed.read_blocking(1000, 10)
        assert [low < piece.end for low in (*lows, feed.low)] == [True, True]
        (token,) = feed.tokens(piece, None, 1)
        assert token is not None
        token.release()
        assert feed.low == piece.end


def test_counting_ahead_leaves_no_gap(tmp_path: Path) -> None:
    """Two looks ahead that waited for the same read of the spool find the same frames: the first may be one nobody waits for any more."""
    items = Items(max_bytes=0)
    feed = Feed(tmp_path / "spool", consumer="c", items=items, ledger=Ledger(), passages=Passages(), state=None)
    with contextlib.closing(feed), contextlib.closing(SpoolWriter(tmp_path / "spool", sync_ms=0)) as writer:
        for number in range(6):
            writer.append(b"%d" % number)
        feed.read_blocking(1 << 20, 6)
        with ThreadPoolExecutor(2) as threads, items._reading[tmp_path / "spool"]:
            looks = [threads.submit(feed.scan_blocking, 1 << 20, 2) for _ in range(2)]
            wait(looks, timeout=0.2)
            items._reading[tmp_path / "spool"].release()
            seen = [[f.payload for piece in look.result(10) for f in piece.frames] for look in looks]
            items._reading[tmp_path / "spool"].acquire()
        assert seen == [[b"0", b"1"]] * 2


@given(counts=st.dictionaries(WORKER, st.integers(0, 100), min_size=1), rejected=st.integers(0, 500))
def test_rejections_are_spread_without_remainder(counts: dict[str, int], rejected: int) -> None:
    """However many a collector rejects, the shares of the workers add up, and none exceeds what it sent."""
    request = Request("logs")
    for worker, count in counts.items():
        request._add(request._begin(b"", worker), b"", count)
    rejected = min(rejected, request.records)
    fates = Sender._accepted(request, Accepted(rejected))
    assert sum(sum(f.counts.values()) for f in fates) == request.records
    assert sum(sum(f.counts.values()) for f in fates if f.reason == "rejected") == rejected
    assert all(0 <= n <= counts[w] for f in fates for w, n in f.counts.items())


def test_a_wiped_spool_is_not_skipped(tmp_path: Path) -> None:
    """When the spool's directory was removed but the journal stayed, new frames are read from their beginning."""
    writer = SpoolWriter(tmp_path / "s")
    writer.append(b"new")
    feed = Feed(
        tmp_path / "s",
        consumer="c",
        items=Items(),
        ledger=Ledger(),
        passages=Passages(),
        state={"low": (57, 900), "done": [], "counted": (57, 900)},
    )
    assert [f.payload for piece in feed.read_blocking(100, 10) for f in piece.frames] == [b"new"]
    feed.close()
    writer.close()
    assert SpoolReader(tmp_path / "s", "c").resumed
