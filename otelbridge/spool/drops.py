"""What a spool's writer had to leave out, by worker and reason, kept where a killed process does not lose it.

The counts live in a small file that is mapped into memory and allocated in full when the spool is opened: a full disk
can't hinder counting, and a kill can't take what was counted. They stay there until a notice of them is in the spool.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from otelbridge.spool.shed import Tally

__all__ = ["Drops", "read_pending"]

_SLOT = struct.Struct("<QQQQHH")
_SLOT_BYTES = 2048
_SLOTS = 64
_KEPT_FREE = 8  # for the worker "", one for each reason there is
_MAX_NAME_BYTES = 1024  # of a worker id of 256 characters
_FILE = "drops"
_MAX_TOTALS = 10_000


class Drops:
    """Counts of one writer. Not thread-safe: the writer holds its lock."""

    def __init__(self, directory: Path) -> None:
        self.totals: dict[tuple[str, str], Tally] = {}
        self._map = _open(directory / _FILE)
        # What is there already was counted by a process that ended before it could tell.
        self._slots = {(worker_id, reason): number for number, worker_id, reason, _ in _read(self._map)}
        self._free = [number for number in reversed(range(_SLOTS)) if number not in self._slots.values()]

    def add(self, worker_id: str, reason: str, left_out: Tally) -> None:
        """Count what was left out. More workers at a time than slots: the rest is counted for the worker ""."""
        key = (worker_id, reason)
        slot = self._slots.get(key)
        if slot is None:
            if len(self._free) <= _KEPT_FREE and worker_id:
                self.add("", reason, left_out)
                return
            slot = self._slots[key] = self._free.pop()
        total = _counts(self._map, slot)
        total.add(left_out)
        self._put(slot, worker_id, reason, total)
        if key not in self.totals and len(self.totals) >= _MAX_TOTALS:
            key = ("", reason)
        self.totals.setdefault(key, Tally()).add(left_out)

    def pending(self) -> list[tuple[str, str, Tally]]:
        """Worker, reason and counts that no notice tells of yet."""
        return [(worker_id, reason, _counts(self._map, slot)) for (worker_id, reason), slot in self._slots.items()]

    def forget(self, worker_id: str, reason: str) -> None:
        """A notice tells of these now."""
        slot = self._slots.pop((worker_id, reason))
        self._put(slot, "", "", Tally())
        self._free.append(slot)

    def _put(self, slot: int, worker_id: str, reason: str, left: Tally) -> None:
        worker, why = worker_id.encode("utf-8", "replace")[:_MAX_NAME_BYTES], reason.encode()
        at = slot * _SLOT_BYTES
        self._map[at + _SLOT.size : at + _SLOT.size + len(worker) + len(why)] = worker + why
        _SLOT.pack_into(self._map, at, left.frames, left.logs, left.spans, left.bytes, len(worker), len(why))


def read_pending(directory: Path) -> list[tuple[str, str, Tally]]:
    """The pending counts of a spool that another process may be writing."""
    try:
        with open(directory / _FILE, "rb") as file:
            return [(worker_id, reason, left) for _, worker_id, reason, left in _read(file.read())]
    except OSError:
        return []


def _open(path: Path) -> mmap.mmap:
    size = _SLOT_BYTES * _SLOTS
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)  # a write through the map could not report that there is no space
            return mmap.mmap(fd, size)
        finally:
            os.close(fd)
    except OSError:
        return mmap.mmap(-1, size)  # the disk is full already: count in memory


def _counts(data: mmap.mmap | bytes, slot: int) -> Tally:
    return Tally(*_SLOT.unpack_from(data, slot * _SLOT_BYTES)[:4])


def _read(data: mmap.mmap | bytes) -> Iterator[tuple[int, str, str, Tally]]:
    for slot in range(len(data) // _SLOT_BYTES):
        at = slot * _SLOT_BYTES
        worker_bytes, reason_bytes = _SLOT.unpack_from(data, at)[4:]
        if reason_bytes and worker_bytes <= _MAX_NAME_BYTES and reason_bytes <= _MAX_NAME_BYTES // 2:
            names = bytes(data[at + _SLOT.size : at + _SLOT.size + worker_bytes + reason_bytes])
            worker_id, reason = names[:worker_bytes].decode("utf-8", "replace"), names[worker_bytes:].decode("utf-8", "replace")
            yield slot, worker_id, reason, _counts(data, slot)
