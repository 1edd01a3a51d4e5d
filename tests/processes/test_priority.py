"""The hub's priority: it gives way while it keeps up, where the system lets it come back."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otelbridge.processes.priority import Priority

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have a nice value of their own on Linux alone")

ROOT = Path(__file__).parents[2]
PR_CAPBSET_DROP, CAP_SYS_NICE = 24, 23
# Tells whether it may yield and the nice values of two threads, before and after it was asked to.
TELLS = """
import json, os, threading
from otelbridge.processes.priority import Priority
own = os.getpriority(os.PRIO_PROCESS, 0)
hold = threading.Event()
thread = threading.Thread(target=hold.wait)
thread.start()
def values():
    return [os.getpriority(os.PRIO_PROCESS, t) - own for t in (threading.get_native_id(), thread.native_id)]
priority = Priority()
seen = [priority.may_yield, values()]
priority.give_way(True)
seen += [priority.yields, values()]
priority.give_way(False)
seen += [priority.yields, values()]
print(json.dumps(seen))
hold.set()
"""


def tell(**options: Any) -> list[Any]:
    """Run TELLS in a process of its own."""
    environ = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", TELLS], env=environ, capture_output=True, text=True, check=True, **options)
    found: list[Any] = json.loads(done.stdout)
    return found


def confined() -> None:
    """Take the right to raise priorities (CAP_SYS_NICE, RLIMIT_NICE) from a process that is about to begin."""
    resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_NICE, 0, 0, 0)  # fails for who has no such right anyway


def test_all_threads_give_way_and_come_back() -> None:
    """Where the system allows the way back, every thread has a nice value of 5 more while it gives way, and its own after that."""
    if not Priority().may_yield:
        pytest.skip("this system does not let a process come back from a higher nice value")
    assert tell() == [True, [0, 0], True, [5, 5], False, [0, 0]]


def test_without_a_way_back_nothing_changes() -> None:
    """Who could not come back does not give way: it would starve for ever."""
    assert tell(preexec_fn=confined) == [False, [0, 0], False, [0, 0], False, [0, 0]]


def test_a_later_thread_gives_way_with_the_next_call() -> None:
    """A thread that came from one with the value of before is found by the next call."""
    priority = Priority()
    if not priority.may_yield:
        pytest.skip("this system does not let a process come back from a higher nice value")
    own, hold = os.getpriority(os.PRIO_PROCESS, 0), threading.Event()
    try:
        priority.give_way(True)
        thread = threading.Thread(target=hold.wait)
        thread.start()
        os.setpriority(os.PRIO_PROCESS, thread.native_id or 0, own)
        priority.give_way(True)
        assert os.getpriority(os.PRIO_PROCESS, thread.native_id or 0) == min(own + 5, 19)
    finally:
        priority.give_way(False)
        hold.set()
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


async def test_the_hub_takes_its_share_when_too_much_waits(serve: Callable[..., Any]) -> None:
    """A hub gives way to the loaders, and no longer when a sixteenth of what the spools may hold waits, here for a destination that is away."""
    running = await serve(env={"OTELBRIDGE_SPOOL_MAX_BYTES": "2MiB", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    if not Priority().may_yield:
        pytest.skip("this system does not let a process come back from a higher nice value")
    await running.put("echo")
    loaders = await running.steady()
    (hub,) = await running.processes("hub")
    own = os.getpriority(os.PRIO_PROCESS, loaders[0]["pid"])

    async def until(value: int) -> None:
        while {os.getpriority(os.PRIO_PROCESS, int(t)) for t in os.listdir(f"/proc/{hub['pid']}/task")} != {value}:
            await asyncio.sleep(0.05)

    await until(min(own + 5, 19))
    async with running.load() as load:
        await load.until(600)
        await until(own)
    assert {os.getpriority(os.PRIO_PROCESS, p["pid"]) for p in loaders} == {own}
    assert not load.failures
    assert await running.stop() == 0
