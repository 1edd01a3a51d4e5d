"""One service per data directory: the lock that says so. It holds until every process that has it open is gone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from otelbridge.errors import ClaimError

__all__ = ["claim"]

_POLL_SECONDS = 0.05


def claim(data_dir: Path, *, patience_seconds: float = 15.0) -> int:
    """Lock a data directory; the open file that holds the lock, also through processes that inherit it. ClaimError if it is in use.

    Processes that outlive the service that started them are about to end: those, and only those, are waited for.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        fd = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise ClaimError(f"The data directory {data_dir} can't be used: {e.strerror}.") from e
    patience = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            owner = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            if _lives(owner) or time.monotonic() > patience:
                os.close(fd)
                raise ClaimError(
                    f"The data directory {data_dir} is in use by process {owner or 'unknown'}. Give each service or program one of its own: "
                    "data_dir, or --data-dir."
                ) from None
            time.sleep(_POLL_SECONDS)
    with contextlib.suppress(OSError):  # a full disk must not keep the service from starting
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd


def _lives(owner: str) -> bool:
    if not owner.isdigit():
        return False
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
