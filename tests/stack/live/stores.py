"""Questions to the stores' own HTTP APIs, and waiting until an answer is there."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

__all__ = ["Line", "Stores", "eventually"]

T = TypeVar("T")


class Line(NamedTuple):
    """A log line as VictoriaLogs has it: the fields have the names they have in OTLP."""

    time_ns: int
    text: str
    fields: dict[str, str]


def eventually(ask: Callable[[], T], *, seconds: float = 60) -> T:
    """The first answer that is true; after `seconds` the last one, for the test to fail on."""
    until = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer or time.monotonic() > until:
            return answer
        time.sleep(0.25)


class Stores:
    """VictoriaLogs, Jaeger and Prometheus by their base URLs."""

    def __init__(self, *, victorialogs: str, jaeger: str, prometheus: str) -> None:
        self._victorialogs, self._jaeger, self._prometheus = victorialogs, jaeger, prometheus

    def logs(self, query: str, *, start_ns: int) -> list[Line]:
        """Every line since then that a LogsQL query finds, oldest first, however many."""
        lines = [Line(_nanoseconds(row.pop("_time")), row.pop("_msg", ""), row) for row in self.logsql(query, start_ns=start_ns)]
        return sorted(lines, key=lambda line: line[:2])

    def logsql(self, query: str, *, start_ns: int) -> list[dict[str, str]]:
        """The rows that a LogsQL query gives, lines or what its pipes make of them."""
        parameters = {"query": query, "start": str(start_ns), "end": str(time.time_ns() + 60 * 10**9)}
        return [json.loads(row) for row in self._read(f"{self._victorialogs}/select/logsql/query", parameters).splitlines()]

    def log_fields(self, *, start_ns: int) -> list[str]:
        """The names of the fields that lines since then have."""
        parameters = {"query": "*", "start": str(start_ns)}
        return [row["value"] for row in self._ask(f"{self._victorialogs}/select/logsql/field_names", parameters)["values"]]

    def streams(self, query: str, *, start_ns: int) -> list[str]:
        """The streams in which a query finds lines."""
        parameters = {"query": query, "start": str(start_ns)}
        return [row["value"] for row in self._ask(f"{self._victorialogs}/select/logsql/streams", parameters)["values"]]

    def trace(self, trace_id: str) -> list[dict[str, Any]]:
        """The spans of a trace as Jaeger's query API shows them, `process` put into each; empty when it has none."""
        try:
            answer = self._ask(f"{self._jaeger}/api/traces/{trace_id}", {})
        except urllib.error.HTTPError as e:
            if e.code == 404:
                return []
            raise
        return [span | {"process": trace["processes"][span["processID"]]} for trace in answer["data"] for span in trace["spans"]]

    def traces(self, service: str, *, tags: dict[str, str] | None = None, operation: str | None = None, limit: int = 20) -> list[Any]:
        """Traces that Jaeger finds, as its search page and Grafana ask."""
        parameters = {"service": service, "limit": str(limit), "lookback": "1h"}
        if tags:
            parameters["tags"] = json.dumps(tags)
        if operation:
            parameters["operation"] = operation
        found: list[Any] = self._ask(f"{self._jaeger}/api/traces", parameters)["data"]
        return found

    def prometheus(self, query: str, *, at: float | None = None) -> list[Any]:
        """The result of an instant query, now or at a Unix time."""
        parameters = {"query": query} if at is None else {"query": query, "time": str(at)}
        result: list[Any] = self._ask(f"{self._prometheus}/api/v1/query", parameters)["data"]["result"]
        return result

    def prometheus_range(self, query: str, *, start: float, end: float, step: str) -> list[Any]:
        """The result of a range query."""
        parameters = {"query": query, "start": str(start), "end": str(end), "step": step}
        result: list[Any] = self._ask(f"{self._prometheus}/api/v1/query_range", parameters)["data"]["result"]
        return result

    def exemplars(self, query: str, *, start: float, end: float) -> list[Any]:
        """Exemplars of the series in a query."""
        result: list[Any] = self._ask(f"{self._prometheus}/api/v1/query_exemplars", {"query": query, "start": str(start), "end": str(end)})[
            "data"
        ]
        return result

    def label_values(self, label: str, match: str) -> list[str]:
        """What Grafana's label_values(match, label) lists."""
        found: list[str] = self._ask(f"{self._prometheus}/api/v1/label/{label}/values", {"match[]": match})["data"]
        return found

    def get(self, store: str, path: str) -> Any:
        """Any JSON document of a store."""
        return self._ask({"victorialogs": self._victorialogs, "jaeger": self._jaeger, "prometheus": self._prometheus}[store] + path, {})

    def _ask(self, url: str, parameters: dict[str, str]) -> Any:
        return json.loads(self._read(url, parameters))

    @staticmethod
    def _read(url: str, parameters: dict[str, str]) -> bytes:
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        try:
            with urllib.request.urlopen(url + query, timeout=60) as reply:
                body: bytes = reply.read()
                return body
        except urllib.error.HTTPError as e:
            if e.code == 404:
                raise
            raise AssertionError(f"{url} {parameters}: {e.code} {e.read()[:2000].decode(errors='replace')}") from e


def _nanoseconds(text: str) -> int:
    # datetime knows microseconds only.
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0")[:9])
