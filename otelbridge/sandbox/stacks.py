"""Stacks: gives the memory of fiber stacks back to the system.

A store keeps the stack of its last call for the next one, and nothing in wasmtime's C API empties it: an idle instance
whose guest once recursed deeply held up to 16 MiB, a thousand of them 16 GB. So at a moment when no guest is inside a
call, at most once per second, the pages of all stacks are dropped: 0.15 ms when there are few, and a page fault for
each page that is used again.
"""

from __future__ import annotations

import ctypes
import logging
import re
import time
from pathlib import Path

__all__ = ["Stacks"]

_log = logging.getLogger("otelbridge.sandbox")

TRIM_SECONDS = 1.0
_MADV_DONTNEED = 4
_MAPPING = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) (rw|--)-p ", re.MULTILINE)


class Stacks:
    """The stacks of one pool: `count` of `size` bytes, each with a guard page below it."""

    __slots__ = ("_count", "_end", "_madvise", "_next", "_size", "_start")

    def __init__(self, *, count: int, size: int) -> None:
        self._count = count
        self._size = size
        self._start = self._end = 0
        self._next = 0.0
        library = ctypes.CDLL(None)
        self._madvise = getattr(library, "madvise", None)
        if self._madvise is not None:
            self._madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

    def quiet(self) -> None:
        """No guest is inside a call: drop the pages, unless that was done a moment ago."""
        now = time.monotonic()
        if now < self._next or self._madvise is None:
            return
        # The first time there is nothing to drop yet; and whoever runs a single invocation should not pay for the search.
        first, self._next = not self._next, now + TRIM_SECONDS
        if first or not (self._end or self._find()):
            return
        self._madvise(self._start, self._end - self._start, _MADV_DONTNEED)

    def _find(self) -> bool:
        """Look for the pool in the process's memory map: the one row of so many such mappings."""
        try:
            text = Path("/proc/self/maps").read_bytes()
        except OSError:
            text = b""
        row: list[tuple[int, int]] = []
        wanted = max(self._count - 1, 1)  # the kernel may join the last one with a mapping behind it
        for found in _MAPPING.finditer(text):
            start, end = int(found[1], 16), int(found[2], 16)
            if found[3] == b"rw" and end - start == self._size and (not row or start - row[-1][1] == 4096):
                row.append((start, end))
            elif found[3] == b"rw" or end - start != 4096 or (row and start != row[-1][1]):
                if len(row) >= wanted:
                    break
                row = []
        if len(row) < wanted:
            _log.info("the sandbox's stacks are not where they should be: what deep recursion takes is kept")
            self._madvise = None
            return False
        self._start, self._end = row[0][0], row[-1][1]
        return True
