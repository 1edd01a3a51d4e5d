"""What a destination refused for good, kept for people to look at and to send again: JSON lines, bounded in size.

Each line is {time, destination, signal, reason, error, records, workers, request}, the request in OTLP/JSON.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from otelbridge.otel.environment import Signal
from otelbridge.otel.ledger import REJECTED
from otelbridge.otel.otlp_json import from_json, to_tree
from otelbridge.otel.request import Request, restore

__all__ = ["DeadLetters", "Letter"]

# A kill can come between a letter and the ledger that it is in: the record is then sent, and refused, once more. Only the
# last letters of the process before can be such.
_EARLIER_LETTERS = 1000


class Letter(msgspec.Struct, frozen=True):
    """One dead letter under way again. `end`: where it ends in its file."""

    request: Request
    reason: str
    end: int


class DeadLetters:
    """The dead letters of one destination and signal. Blocking file I/O, for rare events.

    Letters that are sent again lie in a second file, with their progress in a third: a kill in between repeats at most one.
    """

    def __init__(self, path: Path, *, destination: str, signal: Signal, max_bytes: int) -> None:
        self.path = path
        self._resending = path.with_suffix(".resending")
        self._progress = path.with_suffix(".progress")
        self._destination = destination
        self._signal: Signal = signal
        self._max = max_bytes
        self._earlier: set[bytes] | None = None  # what the process before has left, as digests of requests

    def put(self, request: Request, error: str, reason: str) -> bool:
        """Keep a request, once; False when there is no room for it."""
        tree = to_tree(request.message)
        if self._is_there(tree):
            return True
        letter = {
            "time": datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z"),
            "destination": self._destination,
            "signal": self._signal,
            "reason": reason,
            "error": error,
            "records": request.records,
            "workers": request.counts,
            "request": tree,
        }
        line = msgspec.json.encode(letter) + b"\n"
        if self.size() + len(line) > self._max:
            return False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab", buffering=0) as file:
                before = file.tell()
                if file.write(line) == len(line):
                    return True
                file.truncate(before)
        except OSError:
            pass
        return False

    def _is_there(self, tree: Any) -> bool:
        """Whether the process before has left this very letter, and died before its ledger knew. Otherwise there would be two of
        one record, and sending both again would count as delivered what another refusal stands for."""
        if self._earlier is None:
            lines = deque(_read(self.path, 0), maxlen=_EARLIER_LETTERS)
            self._earlier = {_digest(letter.get("request")) for _, letter in lines}
        known, one = self._earlier, _digest(tree)
        if one not in known:
            return False
        known.discard(one)
        return True

    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in (self.path, self._resending) if path.exists())

    def letters(self) -> Iterator[dict[str, Any]]:
        """All letters, oldest first, as they stand on disk."""
        for path, start in ((self._resending, self._sent()), (self.path, 0)):
            for _, letter in _read(path, start):
                yield letter

    def take(self) -> Letter | None:
        """The next letter to send again, until done() is called with it; None when all letters there were have been taken."""
        if not self._resending.exists():
            if not self.path.exists():
                return None
            os.replace(self.path, self._resending)
            self._earlier = set()  # what is refused again is a letter again
        for end, letter in _read(self._resending, self._sent()):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                return Letter(restore(self._signal, from_json(self._signal, letter["request"])), letter.get("reason", REJECTED), end)
        self._resending.unlink(missing_ok=True)
        self._progress.unlink(missing_ok=True)
        return None

    def done(self, letter: Letter) -> None:
        """A letter has been sent, or has come back through put()."""
        self._progress.write_text(str(letter.end))

    def _sent(self) -> int:
        try:
            return int(self._progress.read_text())
        except (OSError, ValueError):
            return 0


def _digest(tree: Any) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(tree), digest_size=16).digest()


def _read(path: Path, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with open(path, "rb") as file:
            file.seek(start)
            for line in file:
                start += len(line)
                with contextlib.suppress(msgspec.DecodeError):
                    yield start, msgspec.json.decode(line)
    except OSError:
        return
