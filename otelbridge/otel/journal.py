"""What a consumer must not forget: a small durable log of msgpack values, the newest snapshot and what came after it.

Two files are used in turn: when one is full, a snapshot of everything starts the other. Both are allocated in full when
they are made, so that progress can be noted on a full disk too. A value is valid only with the crc of its place and
generation: a write that a kill tore apart, or what an earlier turn left behind, reads as the end of the log.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["Journal"]

_HEAD = struct.Struct("<8sQ")
_FRAME = struct.Struct("<II")
_MAGIC = b"OBJOURN1"


class Journal:
    """One log. `entries`: what was in it when it was opened, the snapshot first."""

    def __init__(self, path: Path, *, file_bytes: int = 256 << 10) -> None:
        self._paths = path.with_suffix(".0"), path.with_suffix(".1")
        self._file_bytes = file_bytes
        self._generation, self._at, self.entries = 0, 0, []
        path.parent.mkdir(parents=True, exist_ok=True)
        for one in self._paths:
            generation, at, entries = _read(one)
            if entries and generation > self._generation:
                self._generation, self._at, self.entries = generation, at, entries
        for one in self._paths:  # both at once: when the first is full, the disk may be full too
            _allocate(one, file_bytes)
        self._fd = os.open(self._paths[self._generation % 2], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._fd).st_size
        self.failures = 0

    entries: list[Any]

    def append(self, value: Any, snapshot: Callable[[], Any]) -> bool:
        """Note a value, or, when the file is full, the snapshot, which must include it. False: the disk refused."""
        frame = self._frame(value, self._at, self._generation)
        try:
            if not self._generation or self._at + len(frame) > self._size:
                self._turn(snapshot())
            else:
                os.pwrite(self._fd, frame, self._at)
                self._at += len(frame)
        except OSError:
            self.failures += 1
            return False
        return True

    def sync(self) -> None:
        """Make what was noted survive a power cut."""
        with contextlib.suppress(OSError):
            os.fdatasync(self._fd)

    def close(self) -> None:
        """May be called twice."""
        if self._fd >= 0:
            self.sync()
            os.close(self._fd)
            self._fd = -1

    def _turn(self, snapshot: Any) -> None:
        generation = self._generation + 1
        frame = self._frame(snapshot, _HEAD.size, generation)
        fd = os.open(self._paths[generation % 2], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = max(self._file_bytes, os.fstat(fd).st_size, 4 * len(frame))
            with contextlib.suppress(OSError):  # without space in advance the writes below say whether there is some
                os.posix_fallocate(fd, 0, size)
            # The head comes last: until it is there, the other file is the newer one.
            _write(fd, frame, _HEAD.size)
            _write(fd, _HEAD.pack(_MAGIC, generation), 0)
        except OSError:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd, self._size, self._generation, self._at = fd, size, generation, _HEAD.size + len(frame)

    @staticmethod
    def _frame(value: Any, at: int, generation: int) -> bytes:
        payload = msgspec.msgpack.encode(value)
        return _FRAME.pack(len(payload), zlib.crc32(payload, (at + generation * 0x9E3779B1) & 0xFFFFFFFF)) + payload


def _allocate(path: Path, size: int) -> None:
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size < size:
                os.posix_fallocate(fd, 0, size)
        finally:
            os.close(fd)


def _write(fd: int, data: bytes, at: int) -> None:
    while data:
        written = os.pwrite(fd, data, at)
        data, at = data[written:], at + written


def _read(path: Path) -> tuple[int, int, list[Any]]:
    """Generation, end and values of a file."""
    try:
        data = path.read_bytes()
    except OSError:
        return 0, 0, []
    if len(data) < _HEAD.size or not data.startswith(_MAGIC):
        return 0, 0, []
    generation = _HEAD.unpack_from(data)[1]
    at, entries = _HEAD.size, []
    while at + _FRAME.size <= len(data):
        length, crc = _FRAME.unpack_from(data, at)
        payload = data[at + _FRAME.size : at + _FRAME.size + length]
        if not length or len(payload) < length or zlib.crc32(payload, (at + generation * 0x9E3779B1) & 0xFFFFFFFF) != crc:
            break
        try:
            entries.append(msgspec.msgpack.decode(payload))
        except msgspec.DecodeError:
            break
        at += _FRAME.size + length
    return generation, at, entries
