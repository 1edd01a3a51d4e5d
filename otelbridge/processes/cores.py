"""How many cores this program may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["cores"]

_CGROUP = Path("/sys/fs/cgroup/cpu.max")


def cores(cgroup: Path = _CGROUP) -> int:
    """Cores that this process may run on, and not more than its container's share of CPU time comes to."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cgroup.read_text().split()
        count = min(count, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no such file, or "max"
        pass
    return max(count, 1)
