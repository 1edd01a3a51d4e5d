"""What a lane must not forget: how far it is in each spool and what became of every record, in one journal.

One write notes what was settled and how far records were counted: a kill at any moment loses nothing, repeats only what
was under way, and leaves the ledger exact.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from otelbridge.otel.feed import Feed
from otelbridge.otel.items import Items, Slice
from otelbridge.otel.journal import Journal
from otelbridge.otel.ledger import Account, Ledger
from otelbridge.otel.passages import Passages

__all__ = ["Progress"]


class Progress:
    """See the module's text. Spools are told apart by the name of their directory; `feeds` are those that are read."""

    def __init__(self, path: Path, *, consumer: str, items: Items, spools: Sequence[Path]) -> None:
        self.ledger = Ledger()
        self.passages = Passages()
        self.dirty = False  # something is to be noted
        self._consumer = consumer
        self._items = items
        self._journal = Journal(path)
        self._states = self._restore()  # of spools that are not read, or not yet
        self.feeds: list[Feed] = []
        for directory in spools:
            self.add_blocking(directory)

    def add_blocking(self, directory: Path) -> None:
        """Read a further spool, from where it was left."""
        if all(feed.directory != directory for feed in self.feeds):
            state = self._states.get(directory.name)
            self.feeds.append(
                Feed(directory, consumer=self._consumer, items=self._items, ledger=self.ledger, passages=self.passages, state=state)
            )
            self._states.pop(directory.name, None)

    def read_blocking(self, max_bytes: int, max_frames: int) -> list[tuple[Feed, list[Slice]]]:
        """The next frames of every spool that has some, to be sent."""
        return [(feed, found) for feed in self.feeds if (found := feed.read_blocking(max_bytes, max_frames))]

    def scan_blocking(self, max_bytes: int, max_frames: int) -> list[tuple[Feed, list[Slice]]]:
        """The next frames that have not been counted yet."""
        return [(feed, found) for feed in self.feeds if (found := feed.scan_blocking(max_bytes, max_frames))]

    def commit(self) -> None:
        """Note what was settled and counted since the last time. About 20 us; no sync: a kill takes nothing of it."""
        changes = self.ledger.take_changes()
        feeds = {feed.name: feed.take_changes() for feed in self.feeds}
        self.dirty = False
        if not self._journal.append({"feeds": feeds, "accounts": changes}, self._snapshot):
            self.ledger.give_back(changes)
            for feed in self.feeds:
                feed.give_back()
            self.dirty = True

    @property
    def releasable(self) -> bool:
        """Whether a whole segment is done: a full spool waits for its space."""
        return any(feed.low.segment > feed.reader.committed.segment for feed in self.feeds)

    def release_blocking(self) -> None:
        """Make what was noted survive a power cut, and let go of the segments that are done."""
        self._journal.sync()
        for feed in self.feeds:
            with contextlib.suppress(OSError):
                feed.release_blocking()

    def close(self) -> None:
        """May be called twice."""
        for feed in self.feeds:
            feed.close()
        self._journal.close()

    def _snapshot(self) -> dict[str, Any]:
        feeds = {**self._states, **{feed.name: feed.snapshot() for feed in self.feeds}}
        return {"feeds": feeds, "accounts": self.ledger.accounts}

    def _restore(self) -> dict[str, Any]:
        states: dict[str, Any] = {}
        for entry in self._journal.entries:
            self.ledger.restore(msgspec.convert(entry["accounts"], dict[str, Account]))
            for name, state in entry["feeds"].items():
                known = states.setdefault(name, {"low": state.get("low", (0, 0)), "done": [], "counted": (0, 0)})
                known["done"] += state["done"]
                known["counted"] = max(known["counted"], tuple(state["counted"]))
        self._journal.entries = []
        return states
