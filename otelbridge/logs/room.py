"""Which errors of the store mean that the disk has no space left."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path

__all__ = ["lacks_space"]

_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
# What SQLite says when a file that it needs beside the database can't be made or grow: only looking at the disk tells why.
_UNCLEAR = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
_LITTLE_BYTES = 1 << 20


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
