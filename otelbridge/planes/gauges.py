"""Metrics of the service's own processes, looked up when somebody asks for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Final

from otelbridge.model.process import ProcessState
from otelbridge.otel.measures import Measure

__all__ = ["Numbers", "gauges"]

Numbers = Mapping[str, Mapping[str, int]]  # by process, by the names below

_NUMBERS: Final = {
    "connections": ("{connection}", "Connections of clients."),
    "instances": ("{instance}", "Sandbox instances that exist."),
    "instances_busy": ("{instance}", "Sandbox instances that serve an invocation or are being made."),
    "invocations_queued": ("{invocation}", "Invocations that wait for an instance."),
}


def gauges(processes: Iterable[ProcessState], numbers: Numbers) -> list[Measure]:
    """All of them. Blocking: it reads two small files of the system for each process."""
    processes = list(processes)
    out = [
        _measure("restarts", "{restart}", "How often it was started anew unasked.", [(p, float(p.restarts)) for p in processes], grows=True)
    ]
    usage = [(p, found) for p in processes if p.pid is not None and (found := _usage(p.pid)) is not None]
    out.append(_measure("cpu_time", "s", "CPU time it has used.", [(p, cpu) for p, (cpu, _) in usage], grows=True))
    out.append(_measure("memory", "By", "Memory it holds, with what it shares with the others.", [(p, size) for p, (_, size) in usage]))
    for name, (unit, text) in _NUMBERS.items():
        values = [(p, float(of[name])) for p in processes if name in (of := numbers.get(p.name, {}))]
        out.append(_measure(name, unit, text, values))
    return [measure for measure in out if measure.values]


def store_losses(skipped: int, yielded: int) -> list[Measure]:
    """What the log store gave up since it was opened."""
    return [
        Measure(
            "otelbridge.store.skipped", "{record}", "Records left out because the store could not be written.", True, [((), float(skipped))]
        ),
        Measure(
            "otelbridge.store.yielded", "{file}", "Files of the store removed because the disk was full.", True, [((), float(yielded))]
        ),
    ]


def task_failures(tasks: Iterable[tuple[str, int]]) -> Measure:
    """How often work that has to go on failed and was begun anew, by its name."""
    values: list[tuple[tuple[tuple[str, str], ...], float]] = [((("task", name),), float(failures)) for name, failures in tasks]
    return Measure("otelbridge.task.failures", "{failure}", "Failures of work that has to go on, which was begun anew.", True, values)


def _measure(name: str, unit: str, text: str, values: list[tuple[ProcessState, float]], *, grows: bool = False) -> Measure:
    labelled: list[tuple[tuple[tuple[str, str], ...], float]] = [((("process", p.name), ("role", p.role)), value) for p, value in values]
    return Measure(f"otelbridge.process.{name}", unit, text, grows, labelled)


def _usage(pid: int) -> tuple[float, float] | None:
    """CPU seconds and bytes of memory of a process, None when the system does not say."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat, open(f"/proc/{pid}/statm", "rb") as statm:
            fields = stat.read().rpartition(b")")[2].split()
            pages = int(statm.read().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), float(pages * os.sysconf("SC_PAGE_SIZE"))
