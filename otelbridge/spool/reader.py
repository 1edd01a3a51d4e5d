"""The reading end of a spool: a consumer with a durable cursor, in the writer's process or in another one.

All calls are blocking file I/O (a read() of 1 MiB takes about 0.3 ms from the page cache): call them in a thread where
that matters. A reader belongs to one task at a time; only close() may come while another thread is in read(), which a
cancelled task has left behind.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from pathlib import Path
from typing import Literal

import msgspec

from otelbridge.spool.cursor import bytes_behind, forget_consumer, read_cursor, registered_consumers, release, write_cursor
from otelbridge.spool.frame import (
    FRAME_BYTES,
    SEGMENT_BYTES,
    Frame,
    Position,
    frame_length,
    frame_time,
    list_segments,
    read_boot,
    scan,
    segment_path,
)

__all__ = ["Backlog", "SpoolReader", "forget_consumer", "registered_consumers"]

_log = logging.getLogger("otelbridge.spool")

_SYNC_SECONDS = 1.0


class Backlog(msgspec.Struct, frozen=True):
    """What a consumer has not committed: bytes on disk, and how long the oldest of it has been waiting."""

    bytes: int
    oldest_age_s: float


class SpoolReader:
    """The consumer `name` of a spool directory; it holds on to all segments that it has not committed.

    It starts at its cursor; without one at the oldest frame, or, with start="newest", at what is appended from now on.
    With name None it has no cursor and holds nothing: frames may be removed before it reads them.
    """

    def __init__(self, directory: Path, name: str | None, *, start: Literal["oldest", "newest"] = "oldest") -> None:
        self.directory = directory
        self.name = name
        self.damaged_bytes = 0  # skipped: a crc did not match, or a segment's head
        self._reading = threading.Lock()  # whoever has it may use or close the file
        self._closed = False
        self._fd = -1
        self._fd_segment = -1
        self._boot = 0
        self._synced = 0.0
        self._before = Position(0, 0), 0  # where a read() that fails goes back to
        self._crossings: list[tuple[Position, Position]] = []  # ends of segments, and where the next one begins
        directory.mkdir(parents=True, exist_ok=True)
        found = read_cursor(directory, name) if name is not None else None
        self.resumed = found is not None  # whether this consumer has been here before
        self._position = found or (self._end() if start == "newest" else self._begin())
        self.committed = self._position
        if name is not None and found is None:
            write_cursor(directory, name, self._position, durable=True)

    @property
    def position(self) -> Position:
        """Where the next read() goes on."""
        return self._position

    def seek(self, position: Position) -> None:
        """Read on from a position of this spool that the consumer kept itself; the cursor stays as it is. What was skipped is counted
        anew."""
        self._position = Position(*position)
        self.damaged_bytes = 0
        self._crossings.clear()

    def skip(self, position: Position) -> None:
        """Go on behind frames of the same segment that are known already."""
        self._position = position

    def read(self, max_bytes: int = 1 << 20, max_frames: int = 4096) -> list[Frame]:
        """The next frames, none when there are none yet or it is closed; at least one when there is one, whatever its size."""
        try:
            with self._reading:
                return [] if self._closed else self._read(max_bytes, max_frames)
        finally:
            if self._closed:  # meanwhile
                self.close()

    def _read(self, max_bytes: int, max_frames: int) -> list[Frame]:
        frames: list[Frame] = []
        left = max_bytes
        self._before, crossed = (self._position, self.damaged_bytes), len(self._crossings)
        try:
            while left > 0 and len(frames) < max_frames:
                got = self._read_segment(left, max_frames - len(frames))
                frames += got
                left -= sum(len(f.payload) for f in got)
                if not got and not self._next_segment():
                    break
        except OSError:  # what was read so far is read again
            self._position, self.damaged_bytes = self._before
            del self._crossings[crossed:]
            raise
        return frames

    def commit(self, position: Position) -> None:
        """All before `position` is done with: remember that, and remove the segments that all consumers are past."""
        position = Position(*position)
        # Who is done with the last frame of a segment is done with the segment: a full disk would wait for itself else.
        done = 0
        for end, following in self._crossings:
            if end > position:
                break
            position = max(position, following)
            done += 1
        if self.name is not None:
            now = time.monotonic()
            durable = now - self._synced >= _SYNC_SECONDS  # an older cursor after a power cut repeats frames, it loses none
            write_cursor(self.directory, self.name, position, durable=durable)
            if durable:
                self._synced = now
            if position.segment != self.committed.segment:
                release(self.directory)
        # Last: what failed is done again by the next call.
        del self._crossings[:done]
        self.committed = position

    def backlog(self) -> Backlog:
        """What lies behind the committed position."""
        waiting = bytes_behind(self.directory, self.committed)
        return Backlog(waiting, self._age() if waiting > 0 else 0.0)

    def close(self) -> None:
        """Let go of the open file; the cursor stays. May be called twice and by any thread. It does not wait for a read() in another
        one, which lets go of the file itself when it is done: closed under it, or twice, its number may be another file's by then."""
        self._closed = True
        if self._reading.acquire(blocking=False):
            try:
                self._let_go()
            finally:
                self._reading.release()

    def _let_go(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = self._fd_segment = -1

    # ---------------------------------------------------------------------------------------------------- one segment

    def _read_segment(self, max_bytes: int, max_frames: int) -> list[Frame]:
        segment, offset = self._position
        fd = self._open(segment)
        if fd < 0:
            return []
        offset = max(offset, SEGMENT_BYTES)
        buffer = os.pread(fd, max_bytes + FRAME_BYTES, offset)
        if frame_length(buffer) > len(buffer):
            buffer = os.pread(fd, frame_length(buffer), offset)
        frames: list[Frame] = []
        boot = self._boot
        start = Position(segment, offset)
        at = 0
        while len(frames) < max_frames:
            found = scan(buffer, at, offset + at)
            if found is None:
                break
            time_ns, at, payload = found
            if payload is None:
                if not self._skip_one(start.offset, offset + at):
                    break
                start = self._position
            else:
                end = Position(segment, offset + at)
                frames.append(Frame(start, end, time_ns, boot, payload))
                start = self._position = end
        return frames

    def _skip_one(self, start: int, end: int) -> bool:
        """Skip a damaged frame, if a valid one stands where its length says: then only the payload is damaged."""
        after = self._frame_at(end) if end > start else None
        if after is None or after[2] is None:
            return False
        self._skipped(end - start)
        self._position = Position(self._fd_segment, end)
        return True

    def _next_segment(self) -> bool:
        """Go on to the next segment, if there is one and nothing more will come in this one."""
        segment = self._position.segment
        following = next((s for s in list_segments(self.directory) if s > segment), None)
        if following is None:
            return False
        # Looked up first, measured second: a writer never comes back to a segment after it has made the next one.
        if self._open(segment) >= 0:
            offset = max(self._position.offset, SEGMENT_BYTES)
            found = self._frame_at(offset)
            if found is not None and (found[2] is not None or self._skip_one(offset, found[1])):
                return True  # it came after the last look: read it
            if (rest := os.fstat(self._fd).st_size - offset) > 0:
                self._skipped(rest)
        else:
            with contextlib.suppress(FileNotFoundError):  # not damaged, but removed
                if (whole := segment_path(self.directory, segment).stat().st_size) > 0:
                    self._skipped(whole)
        self._let_go()
        self._crossings.append((self._position, Position(following, 0)))
        self._position = Position(following, 0)
        if self.committed >= self._crossings[-1][0]:
            with contextlib.suppress(OSError):  # the next commit comes to it
                self.commit(self.committed)
                self._before = self._position, self.damaged_bytes  # what was skipped is gone and can't be found again
        return True

    def _frame_at(self, offset: int) -> tuple[int, int, bytes | None] | None:
        """scan() of the frame at an offset of the open segment, with its end as an offset too."""
        data = os.pread(self._fd, frame_length(os.pread(self._fd, FRAME_BYTES, offset)), offset)
        found = scan(data, 0, offset)
        return found and (found[0], offset + found[1], found[2])

    def _skipped(self, size: int) -> None:
        self.damaged_bytes += size
        _log.error("spool %s: skipped %d damaged bytes in segment %d", self.directory, size, self._position.segment)

    def _open(self, segment: int) -> int:
        """The segment's file, or -1 when it is gone or has no content yet."""
        if self._fd_segment == segment:
            return self._fd
        self._let_go()
        try:
            fd = os.open(segment_path(self.directory, segment), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return -1
        boot = read_boot(os.pread(fd, SEGMENT_BYTES, 0))
        if boot is None:
            os.close(fd)
            return -1
        self._fd, self._fd_segment, self._boot = fd, segment, boot
        return fd

    # -------------------------------------------------------------------------------------------------------- places

    def _begin(self) -> Position:
        segments = list_segments(self.directory)
        return Position(segments[0] if segments else 0, 0)

    def _end(self) -> Position:
        segments = list_segments(self.directory)
        if not segments:
            return Position(0, 0)
        return Position(segments[-1], segment_path(self.directory, segments[-1]).stat().st_size)

    def _age(self) -> float:
        """Of the first frame behind the committed position; 0 when that begins in a later segment."""
        segment, offset = self.committed
        head = b""
        with contextlib.suppress(OSError), open(segment_path(self.directory, segment), "rb") as file:
            head = os.pread(file.fileno(), FRAME_BYTES, max(offset, SEGMENT_BYTES))
        return max(0.0, time.time() - frame_time(head) / 1e9) if len(head) == FRAME_BYTES else 0.0
