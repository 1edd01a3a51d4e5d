"""Questions to the stores' own HTTP APIs, and waiting until an answer is there."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

__all__ = ["Line", "Stores", "eventually"]

T = TypeVar("T")


class Line(NamedTuple):
    """A log line as Loki has it."""

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
    """Loki, Jaeger and Prometheus by their base URLs."""

    def __init__(self, *, loki: str, jaeger: str, prometheus: str) -> None:
        self._loki, self._jaeger, self._prometheus = loki, jaeger, prometheus

    def logs(self, query: str, *, start_ns: int, end_ns: int | None = None, page: int = 5000) -> list[Line]:
        """Every line a LogQL query finds, oldest first, however many."""
        return list(self._pages(query, start_ns, end_ns or time.time_ns() + 60 * 10**9, page))

    def loki(self, query: str, *, start_ns: int, end_ns: int, step: str = "30s", instant: bool = False, limit: int = 1000) -> list[Any]:
        """The result of a LogQL query, as Grafana asks it."""
        if instant:
            parameters = {"query": query, "time": str(end_ns), "limit": str(limit)}
        else:
            parameters = {"query": query, "start": str(start_ns), "end": str(end_ns), "step": step, "limit": str(limit)}
        answer = self._ask(f"{self._loki}/loki/api/v1/query{'' if instant else '_range'}", parameters)
        result: list[Any] = answer["data"]["result"]
        return result

    def loki_labels(self) -> list[str]:
        """The index labels of the last hour."""
        found: list[str] = self._ask(f"{self._loki}/loki/api/v1/labels", {}).get("data", [])
        return found

    def streams(self, selector: str, *, start_ns: int) -> list[dict[str, str]]:
        """The streams a selector matches."""
        parameters = {"match[]": selector, "start": str(start_ns), "end": str(time.time_ns() + 10**9)}
        found: list[dict[str, str]] = self._ask(f"{self._loki}/loki/api/v1/series", parameters).get("data", [])
        return found

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

    def prometheus(self, query: str) -> list[Any]:
        """The result of an instant query."""
        result: list[Any] = self._ask(f"{self._prometheus}/api/v1/query", {"query": query})["data"]["result"]
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
        return self._ask({"loki": self._loki, "jaeger": self._jaeger, "prometheus": self._prometheus}[store] + path, {})

    def _pages(self, query: str, start_ns: int, end_ns: int, page: int) -> Iterator[Line]:
        seen: set[tuple[int, str, str]] = set()
        while True:
            parameters = {"query": query, "start": str(start_ns), "end": str(end_ns), "limit": str(page), "direction": "forward"}
            result = self._ask(f"{self._loki}/loki/api/v1/query_range", parameters)["data"]["result"]
            lines = [Line(int(ns), text, stream["stream"]) for stream in result for ns, text in stream["values"]]
            lines.sort(key=lambda line: line[:2])
            for line in lines:
                # A page begins with the nanosecond the last one ended with, so that none of its lines is missed.
                key = (line.time_ns, line.text, json.dumps(line.fields, sort_keys=True))
                if key not in seen:
                    seen.add(key)
                    yield line
            if len(lines) < page:
                return
            start_ns = lines[-1].time_ns

    @staticmethod
    def _ask(url: str, parameters: dict[str, str]) -> Any:
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        try:
            with urllib.request.urlopen(url + query, timeout=60) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as e:
            if e.code == 404:
                raise
            raise AssertionError(f"{url} {parameters}: {e.code} {e.read()[:2000].decode(errors='replace')}") from e
