"""The writing end of a spool: one write() per frame on the request path, everything slow on a thread of its own.

append() costs a crc and one write() into the page cache: what it has taken survives the death of the process. A
background thread calls fdatasync every `sync_ms`: that, plus the time of one fdatasync, is what a power cut can take.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from otelbridge.errors import SpoolError
from otelbridge.model.part import Notice, encode
from otelbridge.spool.cursor import highest_committed
from otelbridge.spool.drops import Drops
from otelbridge.spool.frame import MAX_PAYLOAD_BYTES, good_length, list_segments, pack_frame, pack_segment, segment_path
from otelbridge.spool.shed import FULL, Noise, Tally, lighten, pressure, tally

__all__ = ["SpoolWriter", "last_boot"]

_log = logging.getLogger("otelbridge.spool")

_IDLE_SECONDS = 1.0
_FRESH_SECONDS = 0.05


class SpoolWriter:
    """One per process and directory; a lock refuses a second one with SpoolError. Thread-safe.

    `cut_bytes`: of a frame that an earlier process began and did not finish, which is gone; whoever opens the spool tells of it.
    """

    def __init__(self, directory: Path, *, segment_bytes: int = 16 << 20, max_bytes: int = 1 << 30, sync_ms: int = 100) -> None:
        self._directory = directory
        # Space comes back by whole segments: the limit must hold several of them.
        self._segment_bytes = min(segment_bytes, max(max_bytes // 8, 4096))
        self._max_bytes = max_bytes
        self._sync_seconds = sync_ms / 1000
        self._boot = time.time_ns()
        self._lock = threading.Lock()
        self._wakes: list[Callable[[], None]] = []
        self._noise = Noise(window_bytes=max_bytes // 8)
        self._offset = self._used = 0
        self._dirty = False
        self._closed = False
        self._retired: list[int] = []  # segments that are complete, for the thread to sync and close
        self._work = threading.Event()
        self._stop = threading.Event()
        self.sync_errors = 0
        self.appended = 0
        self._lock_fd = _take(directory, self._boot)
        try:
            self._segment, self.cut_bytes = _repair(directory)
            self._fd = self._create(self._segment)
            self._drops = Drops(directory)
            self._measure()
        except OSError as e:
            os.close(self._lock_fd)
            raise SpoolError(f"The spool in {directory} can't be opened: {e}.") from e
        self._thread = threading.Thread(target=self._run, name="otelbridge-spool", daemon=True)
        self._thread.start()

    # ----------------------------------------------------------------------------------------------- the request path

    def append(self, payload: bytes, *, rank: int = 1, worker_id: str = "") -> None:
        """Write one frame. Never blocks on a sync and never raises: what can't be written is counted.

        `rank`: 0 may go first when the spool runs full, 1 later, 2 last; of a Part, its records are looked at one by one.
        """
        with self._lock:
            self.appended += 1
            self._noise.add(worker_id, len(payload))
            if self._closed or len(payload) > MAX_PAYLOAD_BYTES or not payload:
                self._drop(worker_id, "closed" if self._closed else "too_large", tally(payload))
                return
            if self._pressure and time.monotonic() - self._measured > _FRESH_SECONDS:
                self._measure()  # readers may have removed segments since
            if self._pressure:
                noisy = self._noise.is_noisy(worker_id)
                kept, left_out = lighten(payload, level=self._pressure, noisy=noisy, rank=rank)
                if left_out.bytes:
                    self._drop(worker_id, "spool_full", left_out)
                if kept is None:
                    return
                payload = kept
            reason = self._write(payload)
            if reason:
                self._drop(worker_id, reason, tally(payload))
        for wake in self._wakes:
            wake()

    def _write(self, payload: bytes) -> str | None:
        """Write a frame, or leave the segment as it was and say why not."""
        offset, head = self._offset, b""
        if not offset:  # the segment's head goes with its first frame: an empty file needs no space on a full disk
            head = pack_segment(self._boot)
            offset = len(head)
        frame = head + pack_frame(payload, offset, time.time_ns())
        try:
            written = os.write(self._fd, frame)
            while written < len(frame):  # a short write: the disk is nearly full, or a signal came
                written += os.write(self._fd, frame[written:])
        except OSError as e:
            return self._mend(e)
        self._offset += written
        self._used += written
        if not self._dirty:
            self._dirty = True
            self._work.set()
        if self._used >= self._next_level:
            self._measure()
        if self._offset >= self._segment_bytes:
            self._rotate()
        return None

    def _mend(self, error: OSError) -> str:
        """Take a torn frame back; go on in a new segment, so that readers can finish and remove the old one."""
        with contextlib.suppress(OSError):  # then readers see a frame that never ends, and skip it: a newer segment follows
            os.ftruncate(self._fd, self._offset)
        if self._offset:
            self._rotate()
        return "disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "io_error"

    def _rotate(self) -> None:
        try:
            fd = self._create(self._segment + 1)
        except OSError:
            return  # stay in this one; the next append tries again
        self._retired.append(self._fd)
        self._fd = fd
        self._segment += 1
        self._offset = 0
        self._measure()
        self._work.set()

    def _create(self, segment: int) -> int:
        return os.open(segment_path(self._directory, segment), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _drop(self, worker_id: str, reason: str, left_out: Tally) -> None:
        self._drops.add(worker_id, reason, left_out)
        self._work.set()

    def _measure(self) -> None:
        """Look how full the spool is: readers, also of other processes, remove segments."""
        with contextlib.suppress(OSError):  # without a file left it can't be listed: what was known has to do
            used = 0
            for segment in list_segments(self._directory):
                with contextlib.suppress(OSError):
                    used += segment_path(self._directory, segment).stat().st_size
            self._used = used
        used = self._used
        self._measured = time.monotonic()
        self._pressure = pressure(used, self._max_bytes)
        # The next look is due when the next level could be reached.
        self._next_level = used + max(self._max_bytes // 100, 1) if self._pressure else int(self._max_bytes * 0.8)

    # ------------------------------------------------------------------------------------------------ the background

    def _run(self) -> None:
        while not self._stop.is_set():
            self._work.wait(_IDLE_SECONDS)
            self._work.clear()
            try:
                self._tick()
            except Exception:  # this thread must not end: nothing would be synced any more, no drop be told
                self.sync_errors += 1
                _log.exception("spool %s: a round of the background failed", self._directory)
            self._stop.wait(self._sync_seconds or _IDLE_SECONDS)

    def _tick(self) -> None:
        with self._lock:
            fd = os.dup(self._fd) if self._dirty and self._sync_seconds else None  # first: without a file left all stays as it is
            self._dirty = False
            retired, self._retired = self._retired, []
            if self._pressure:
                self._measure()
            self._tell()
        try:
            for old in retired:
                self._sync(old)
            if fd is not None:
                self._sync(fd)
        finally:
            for old in [*retired, *([fd] if fd is not None else [])]:
                os.close(old)
        if retired and self._sync_seconds:
            self._sync_directory()

    def _sync(self, fd: int) -> None:
        if not self._sync_seconds:
            return
        try:
            os.fdatasync(fd)
        except OSError as e:
            self.sync_errors += 1
            _log.error("spool %s: fdatasync failed, a power cut may now lose records: %s", self._directory, e)

    def _sync_directory(self) -> None:
        with contextlib.suppress(OSError):
            fd = os.open(self._directory, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _tell(self) -> None:
        """Put notices of drops into the spool as soon as it takes them."""
        pending = self._drops.pending()
        if not pending or self._pressure >= FULL:
            return
        for worker_id, reason, left in pending:
            if self._pressure >= FULL or self._write(encode(_notice(worker_id, reason, left))) is not None:
                return
            self._drops.forget(worker_id, reason)

    # ---------------------------------------------------------------------------------------------------- the owner

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call `wake` after appends, on the appending thread; it must be quick and not raise."""
        self._wakes.append(wake)

    def drops(self) -> dict[tuple[str, str], Tally]:
        """What was left out since this writer was opened, by worker and reason."""
        with self._lock:
            return {key: Tally(t.frames, t.logs, t.spans, t.bytes) for key, t in self._drops.totals.items()}

    def close(self) -> None:
        """Sync, write what notices can be written, release the directory. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._stop.set()
        self._work.set()
        self._thread.join()
        with self._lock:
            self._tell()
            fds = [*self._retired, self._fd]
        for fd in fds:
            self._sync(fd)
            os.close(fd)
        os.close(self._lock_fd)

    async def aclose(self) -> None:
        """The same as close()."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def last_boot(directory: Path) -> int:
    """When the last writer of a spool was opened, as Frame.boot; 0 when nobody has been. It may have nothing written yet."""
    try:
        return int((directory / "lock").read_bytes()[:64].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _take(directory: Path, boot: int) -> int:
    """Lock the directory; the lock goes with the process, whatever ends it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise SpoolError(f"The spool in {directory} can't be opened: {e}.") from e
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = (os.pread(fd, 64, 0).decode("ascii", "replace").split() or ["unknown"])[0]
        os.close(fd)
        raise SpoolError(f"The spool in {directory} is in use by process {owner}. Give each process a data directory of its own.") from None
    with contextlib.suppress(OSError):
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()} {boot}".encode(), 0)
    return fd


def _repair(directory: Path) -> tuple[int, int]:
    """Cut an unfinished frame off the newest segment; the number of the segment to begin, and how many bytes were cut off."""
    segments = list_segments(directory)
    if not segments:
        return highest_committed(directory) + 1, 0
    path = segment_path(directory, segments[-1])
    data = path.read_bytes()
    keep = good_length(data)
    if keep < len(data):
        _log.info("spool %s: cut an unfinished frame of %d bytes off %s", directory, len(data) - keep, path.name)
        os.truncate(path, keep)
    return max(segments[-1], highest_committed(directory)) + 1, len(data) - keep


def _notice(worker_id: str, reason: str, left: Tally) -> Notice:
    whose = f" of worker {worker_id}" if worker_id else ""
    return Notice(
        time.time_ns(),
        "warn",
        f"{left.logs} log records and {left.spans} spans{whose} were dropped before they reached the spool: {reason}",
        {
            "event": "otelbridge.telemetry.dropped",
            "reason": reason,
            "frames": left.frames,
            "logs": left.logs,
            "spans": left.spans,
            "bytes": left.bytes,
        },
        worker_id or None,
    )
