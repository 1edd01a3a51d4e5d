"""When the store has to give space up: errors that mean a full disk, and a disk that is nearly full."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import sys
from pathlib import Path

__all__ = ["disk_bytes", "lacks_space", "short_of_space"]

_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
# What SQLite says when a file that it needs beside the database can't be made or grow: only looking at the disk tells why.
_UNCLEAR = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
_LITTLE_BYTES = 1 << 20
_SPARE_BYTES = 64 << 20  # or a quarter of a small disk


def lacks_space(error: Exception, directory: Path) -> bool:
    """Whether an error of SQLite or of the system in a directory comes from a full disk. Looks at the disk: not for an event loop."""
    if isinstance(error, OSError):
        return error.errno in _FULL_ERRNOS
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return True
    try:
        return code in _UNCLEAR and shutil.disk_usage(directory).free < _LITTLE_BYTES
    except OSError:
        return False


def short_of_space(directory: Path) -> bool:
    """Whether the disk is so full that the store has to leave what is left to the spool: that one drops records for want of space,
    while the store has older ones to give up. Takes 2 us."""
    try:
        disk = shutil.disk_usage(directory)
    except OSError:
        return False
    return disk.free < min(_SPARE_BYTES, disk.total // 4)


def disk_bytes(directory: Path) -> int:
    """The size of the disk under a directory; all there can be when it can't be told."""
    try:
        return shutil.disk_usage(directory).total
    except OSError:
        return sys.maxsize
