"""What measurements note down: figures by row and by whom, several rounds of each; printed as markdown and JSON."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Iterator
from typing import Any

__all__ = ["OURS", "Table"]

OURS = "otelbridge"


class _Row:
    def __init__(self, unit: str, goal: str) -> None:
        self.unit = unit
        self.goal = goal
        self.figures: dict[str, list[float]] = {}


class Table:
    """Each figure of a row belongs to OURS or to a peer. With a peer the row has a ratio: the median of ours / peer, round
    by round when both have as many figures. Load that comes and goes on the machine hits both sides of a round."""

    def __init__(self, *, quick: bool = False, rounds: int | None = None) -> None:
        self.quick = quick
        self.count = rounds or (2 if quick else 5)
        self.remarks: list[str] = []
        self._rows: dict[str, _Row] = {}
        self._began = time.time()

    def rounds(self) -> Iterator[int]:
        """Numbers of the rounds: measure ours and the peers once in each."""
        yield from range(self.count)

    def note(self, row: str, who: str, value: float, *, unit: str = "", goal: str = "") -> None:
        """One figure. `goal`: what the ratio should be, for people."""
        found = self._rows.setdefault(row, _Row(unit, goal))
        found.figures.setdefault(who, []).append(value)

    def remark(self, text: str) -> None:
        """A sentence below the table: what was left out, and why."""
        if text not in self.remarks:
            self.remarks.append(text)

    def ratio(self, row: str) -> tuple[float, float, float] | None:
        """Median, lowest and highest of ours / peer; None without a peer."""
        figures = self._rows[row].figures
        peers = [who for who in figures if who != OURS]
        if not peers or OURS not in figures:
            return None
        ours, theirs = figures[OURS], figures[peers[0]]
        if len(ours) != len(theirs):
            theirs = [statistics.median(theirs)] * len(ours)
        ratios = [a / b for a, b in zip(ours, theirs, strict=True) if b]
        return (statistics.median(ratios), min(ratios), max(ratios)) if ratios else None

    def markdown(self) -> str:
        """The table, with medians; spread is the lowest and highest of the ratio, or of ours without a peer."""
        lines = ["| measurement | unit | otelbridge | peer | ratio | spread | goal |", "|---|---|---:|---:|---:|---|---|"]
        for name, row in self._rows.items():
            ours = row.figures.get(OURS)
            peers = [f"{_number(statistics.median(v))} {who}" for who, v in row.figures.items() if who != OURS]
            ratio = self.ratio(name)
            spread = f"{ratio[1]:.2f} to {ratio[2]:.2f}" if ratio else f"{_number(min(ours))} to {_number(max(ours))}" if ours else ""
            cells = [name, row.unit, _number(statistics.median(ours)) if ours else "", ", ".join(peers)]
            cells += [f"{ratio[0]:.2f}" if ratio else "", spread, row.goal]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines + [""] + [f"- {remark}" for remark in self.remarks])

    def to_json(self) -> dict[str, Any]:
        """Every figure of every round, and what they were measured on."""
        return {
            "machine": {
                "cores": os.cpu_count(),
                "kernel": platform.release(),
                "python": platform.python_version(),
                "load": os.getloadavg(),
            },
            "began": self._began,
            "seconds": time.time() - self._began,
            "rounds": self.count,
            "rows": {
                name: {"unit": row.unit, "goal": row.goal, "figures": row.figures, "ratio": self.ratio(name)}
                for name, row in self._rows.items()
            },
            "remarks": self.remarks,
        }


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
