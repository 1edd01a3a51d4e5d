"""Readers of a store's segments that nobody uses at the moment: the few that were used last are kept open for the next query.

A reader holds three files and up to 16 MiB of its segment's pages, and opening one takes 0.3 ms: what is kept is bounded
over all segments, however many there are.
"""

from __future__ import annotations

import threading
from typing import Final

from otelbridge.logs.reader import Reader

__all__ = ["IdleReaders"]

_MOST: Final = 8


class IdleReaders:
    """See the module's text. By number of the segment; for any thread."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._readers: list[tuple[int, Reader]] = []  # the one that was used last is the last

    def __len__(self) -> int:
        return len(self._readers)

    def take(self, segment: int) -> Reader | None:
        """One of a segment, the one that was used last; None when there is none."""
        with self._lock:
            for at in reversed(range(len(self._readers))):
                if self._readers[at][0] == segment:
                    return self._readers.pop(at)[1]
        return None

    def keep(self, segment: int, reader: Reader) -> None:
        """Keep one for later, and close the one that was used longest ago when they are too many."""
        with self._lock:
            self._readers.append((segment, reader))
            surplus = self._readers.pop(0)[1] if len(self._readers) > self._most else None
        if surplus is not None:
            surplus.close()

    def close(self, segment: int) -> None:
        """Close all of a segment."""
        with self._lock:
            of = [reader for number, reader in self._readers if number == segment]
            self._readers = [one for one in self._readers if one[0] != segment]
        for reader in of:
            reader.close()
