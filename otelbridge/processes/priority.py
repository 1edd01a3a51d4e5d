"""How a process that works behind the requests gives way to those that answer them, for as long as it keeps up.

Measured on two cores at half load, against a hub that stands still (medians of 5): beside a hub of the same priority requests
took 2.0 times as long at the median and 14 times at the 99th percentile, beside one of nice 3 1.3 and 3.7 times, of nice 5
1.1 and 1.5, of nice 10 the same. SCHED_BATCH with a long slice, which anybody may take back, gave 1.4 to 1.7 and 8 to 13; nice
10 for all threads but the event loop's 1.3 and 10. Under full load nice 5 costs the hub a third of its CPU time, so it
takes its whole share when too much waits for it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import Final

__all__ = ["Priority"]

_YIELD: Final = 5
_LOWEST: Final = 19


class Priority:
    """The nice value of all threads of this process. `may_yield`: whether the system lets it come back from a higher one:
    with CAP_SYS_NICE, or an RLIMIT_NICE that allows the value it has now. Without that it is left as it is."""

    def __init__(self) -> None:
        self._own = self._wanted = os.getpriority(os.PRIO_PROCESS, 0)
        self.may_yield = sys.platform == "linux" and _may_return(self._own)

    @property
    def yields(self) -> bool:
        """Whether it gives way now."""
        return self._wanted > self._own

    def give_way(self, wanted: bool) -> None:
        """Give way to others, or take a share like theirs. Again and again: a thread begins with the value of the one that started it."""
        if not self.may_yield:
            return
        self._wanted = min(self._own + _YIELD, _LOWEST) if wanted else self._own
        for thread in map(int, os.listdir("/proc/self/task")):
            with contextlib.suppress(ProcessLookupError):  # it has ended
                if os.getpriority(os.PRIO_PROCESS, thread) != self._wanted:
                    os.setpriority(os.PRIO_PROCESS, thread, self._wanted)


def _may_return(own: int) -> bool:
    """Tried out by a thread that ends with it."""
    found = []

    def look() -> None:
        with contextlib.suppress(PermissionError):
            me = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, me, min(own + 1, _LOWEST))
            os.setpriority(os.PRIO_PROCESS, me, own)
            found.append(True)

    thread = threading.Thread(target=look, name="otelbridge-priority")
    thread.start()
    thread.join()
    return bool(found)
