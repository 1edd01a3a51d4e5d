"""Numbers that the processes of a service show each other, in shared memory: a row of 64-bit integers for each process.

Loaders balance their connections by them, and the hub shows them as metrics; nobody sends anything. Writing one costs
0.1 us. A row belongs to one process, so no lock is needed.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

__all__ = ["ROWS", "Row", "Vitals"]

ROWS: Final = 1024
_COLUMNS: Final = 8
_OPEN, _CONNECTIONS, _INSTANCES, _BUSY, _QUEUED = range(5)
_HIGHEST = _COLUMNS - 1  # in row 0


class Row:
    """The numbers of one process: attributes that are stored elsewhere."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: memoryview[int], number: int) -> None:
        self._data = data
        self._at = number * _COLUMNS

    def clear(self) -> None:
        """There is no such process any more."""
        for column in range(_HIGHEST):  # that one is of all
            self._data[self._at + column] = 0

    @property
    def is_open(self) -> bool:
        """Whether it takes connections."""
        return bool(self._data[self._at + _OPEN])

    @is_open.setter
    def is_open(self, value: bool) -> None:
        self._data[self._at + _OPEN] = value

    @property
    def connections(self) -> int:
        """Connections of clients."""
        return self._data[self._at + _CONNECTIONS]

    @connections.setter
    def connections(self, value: int) -> None:
        self._data[self._at + _CONNECTIONS] = value

    def show(self, *, instances: int, busy: int, queued: int) -> None:
        """Instances that live, those in use, and invocations that wait for one."""
        self._data[self._at + _INSTANCES], self._data[self._at + _BUSY], self._data[self._at + _QUEUED] = instances, busy, queued

    @property
    def shown(self) -> tuple[int, int, int]:
        """What show() was called with last."""
        return self._data[self._at + _INSTANCES], self._data[self._at + _BUSY], self._data[self._at + _QUEUED]


class Vitals:
    """The table. Row 0 is the hub's, row n the loader's with that number. `fd`: what other processes open it by."""

    def __init__(self, fd: int | None = None) -> None:
        if fd is None:
            fd = os.memfd_create("otelbridge-vitals")
            os.ftruncate(fd, ROWS * _COLUMNS * 8)
        self.fd = fd
        self._data = memoryview(mmap.mmap(fd, ROWS * _COLUMNS * 8)).cast("q")

    @property
    def highest(self) -> int:
        """The highest number of a process there has been."""
        return self._data[_HIGHEST]

    @highest.setter
    def highest(self, number: int) -> None:
        self._data[_HIGHEST] = number

    def row(self, number: int) -> Row:
        """The numbers of a process."""
        return Row(self._data, number)

    def fewest_connections(self) -> int | None:
        """Of all loaders that take connections, the one with the fewest has so many."""
        fewest: int | None = None
        data = self._data
        for at in range(_COLUMNS, (data[_HIGHEST] + 1) * _COLUMNS, _COLUMNS):
            if data[at] and (fewest is None or data[at + _CONNECTIONS] < fewest):
                fewest = data[at + _CONNECTIONS]
        return fewest
