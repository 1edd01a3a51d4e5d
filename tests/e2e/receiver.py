"""A collector for a storm of faults: it remembers which records arrived and which it refused, by their ids."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from tests.collector import FakeCollector

__all__ = ["Receiver", "poisoned"]


class Light(NamedTuple):
    """What is remembered of a record: its id, or a server span's invocation. `note`: of the bridge, poison or incomplete."""

    id: str
    note: str = ""


def poisoned(record: object) -> bool:
    """Whether it is the line that a collector may refuse."""
    return getattr(record, "note", "") == "poison"


class Receiver(FakeCollector):
    """A collector that remembers ids only: hours of records fit into memory. It is quick: how long requests take decides
    how many records a kill repeats."""

    def __init__(self) -> None:
        super().__init__()
        self.records: Counter[str] = Counter()  # of workers, by log.record.uid
        self.notices: Counter[str] = Counter()  # of the bridge itself
        self.servers: Counter[str] = Counter()  # server spans by invocation
        self.incomplete: set[str] = set()
        self._refused: set[str] = set()  # log records, by their ids

    def unpack(self, signal: str, message: Any) -> list[Any]:
        if signal == "logs":
            return [
                Light(_text(record, "log.record.uid"), "bridge" if own else "poison" if record.body.string_value == "poison" else "")
                for group in message.resource_logs
                for own in [_text(group.resource, "service.name") == "otelbridge"]
                for scope in group.scope_logs
                for record in scope.log_records
            ]
        if signal == "metrics":
            return super().unpack(signal, message)
        return [
            Light(
                _text(span, "faas.invocation_id"),
                "incomplete" if _has(span, "otelbridge.incomplete") else "server" if span.kind == 2 else "",
            )
            for group in message.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]

    def store(self, signal: str, records: list[Any]) -> None:
        for record in records if signal != "metrics" else ():
            if signal == "logs":
                (self.notices if record.note == "bridge" else self.records)[record.id] += 1
            elif record.note:
                self.servers[record.id] += 1
                if record.note == "incomplete":
                    self.incomplete.add(record.id)

    def refuse(self, signal: str, records: list[Any]) -> None:
        super().refuse(signal, records)
        if signal == "logs":
            self._refused.update(record.id for record in records)

    def lost(self) -> int:
        """Log records that it refused for good: a kill before the answer was noted makes the service send them again."""
        return len(self._refused - self.records.keys() - self.notices.keys())

    def distinct(self) -> int:
        """Different log records that arrived."""
        return len(self.records) + len(self.notices)

    def repeated(self) -> float:
        """The share of log records that had arrived before."""
        total = self.records.total()
        return (total - len(self.records)) / total if total else 0.0


def _text(owner: Any, key: str) -> str:
    return next((str(pair.value.string_value) for pair in owner.attributes if pair.key == key), "")


def _has(owner: Any, key: str) -> bool:
    return any(pair.key == key for pair in owner.attributes)
