"""Tells who reads spools that other processes write when there is something new, with inotify.

The kernel's notice costs the writer some 0.2 us of 3 per append, and an idle service nothing at all. The watch follows the
directory of all spools, so that one which a new process begins is noticed too. Without inotify readers have to poll, and
new spools are looked for once a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["SpoolWatch", "list_spools"]

_log = logging.getLogger("otelbridge.spool")

_MODIFY, _MOVED_TO, _CREATE, _OVERFLOW, _ONLY_DIR = 0x2, 0x80, 0x100, 0x4000, 0x1000000
_EVENT: Final = struct.Struct("iIII")
_READ_BYTES = 64 << 10
_LOOK_SECONDS = 1.0  # without inotify
# After an event the next ones wait this long in the kernel, which merges them: a round of all consumers costs the hub about
# as much for one record as for dozens. At 300 requests/s the hub took 0.8 to 1.3 ms of CPU time for each with 2 ms here, and
# takes 0.6 to 0.8 ms; a record comes to the live tail later by that at most.
_PAUSE_SECONDS = 0.02


def list_spools(root: Path) -> dict[str, Path]:
    """All spools below a directory by name, also those whose writers are no more."""
    try:
        return {path.name: path for path in sorted(root.iterdir()) if path.is_dir()}
    except FileNotFoundError:
        return {}


class SpoolWatch:
    """Calls `on_append` when a spool below `root` may have grown, and `on_new` with the name of one that was not there.

    start() says whether the former works here; both calls are made on the running loop.
    """

    def __init__(self, root: Path, *, on_append: Callable[[], None], on_new: Callable[[str], None]) -> None:
        self._root = root
        self._on_append = on_append
        self._on_new = on_new
        self.known: set[str] = set()
        self._fd = -1
        self._root_watch = -1
        self._resume: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None

    def start(self) -> bool:
        """Begin to watch: the spools that are there count as known."""
        self._root.mkdir(parents=True, exist_ok=True)
        self._loop = asyncio.get_running_loop()
        try:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
            self._root_watch = self._watch(self._root, _CREATE | _MOVED_TO | _ONLY_DIR)
            for name, path in list_spools(self._root).items():
                self.known.add(name)
                self._watch(path, _MODIFY | _CREATE | _ONLY_DIR)
        except (OSError, AttributeError) as e:  # not Linux, or a limit of the system
            _log.warning("spools can't be watched (%s): looking into them again and again instead", e)
            self.close()
            self.known.update(list_spools(self._root))
            self._resume = self._loop.call_later(_LOOK_SECONDS, self._look_again)
            return False
        self._loop.add_reader(self._fd, self._ready)
        return True

    def close(self) -> None:
        """Watch no longer. May be called twice."""
        for later in (self._resume, self._again):
            if later is not None:
                later.cancel()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._loop.remove_reader(fd)
            os.close(fd)

    def _watch(self, path: Path, mask: int) -> int:
        return self._checked(self._libc.inotify_add_watch(self._fd, os.fsencode(path), mask))

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    def _ready(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        self._loop.remove_reader(self._fd)
        self._resume = self._loop.call_later(_PAUSE_SECONDS, self._loop.add_reader, self._fd, self._ready)
        at = 0
        while at < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size + length
            if watch == self._root_watch or mask & _OVERFLOW:
                self._look()
        self._on_append()

    def _look_again(self) -> None:
        self._resume = self._loop.call_later(_LOOK_SECONDS, self._look_again)
        self._look()

    def _look(self) -> None:
        """Find the spools that are new."""
        try:
            found = list_spools(self._root)
        except OSError as e:  # as without a file left: a spool that is not noticed now would never be
            _log.error("spools can't be looked for, will try again: %s", e)
            self._again = self._loop.call_later(_LOOK_SECONDS, self._look)
            return
        for name, path in found.items():
            if name in self.known:
                continue
            self.known.add(name)
            if self._fd >= 0:
                with contextlib.suppress(OSError):  # readers that poll, if rarely, come to it too
                    self._watch(path, _MODIFY | _CREATE | _ONLY_DIR)
            self._on_new(name)
