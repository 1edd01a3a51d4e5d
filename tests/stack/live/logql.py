"""The dashboards' LogQL, said in VictoriaLogs' LogsQL: Loki itself is not among the programs that the tests run.

Only what the dashboards use is understood, and anything else is an error, so that no query passes without being asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

__all__ = ["logsql"]

_METRIC = re.compile(
    r"^(?P<outer>topk\((?P<top>\d+), |count\()?sum(?: by \((?P<by>[\w, ]+)\))? ?\("
    r"count_over_time\((?P<lines>.*) \[(?P<window>\w+)\]\)\)(?(outer)\))(?: or vector\(0\))?$"
)
_SELECTOR = re.compile(r'^\{service_name=~"(?P<service>[^"]*)"\}')
_STAGE = re.compile(
    r' \| (?P<label>\w+) ?(?P<operator>=|!=|>=) ?(?:`(?P<raw>[^`]*)`|"(?P<quoted>[^"]*)"|(?P<number>\d+))| \|~ `(?P<search>[^`]*)`'
)


def logsql(query: str, fields: Iterable[str], *, instant: bool) -> str:
    """A query that has the same answer; `fields` are those that records have, a label that is none of them is a ValueError."""
    # Loki's names: what is no letter, digit or underscore becomes an underscore; the level is its own invention.
    names = {re.sub(r"\W", "_", field): field for field in fields} | {"detected_level": "severity_text"}
    found = _METRIC.match(query)
    if not found:
        return _lines(query, names)
    labels = [_name(label, names) for label in (found["by"] or "").split(", ") if label]
    lines = _lines(found["lines"], names)
    if found["top"]:
        return f"{lines} | top {found['top']} by ({', '.join(labels)})"
    if found["outer"]:
        return f"{lines} | stats count_uniq({', '.join(labels)}) as count | filter count:>0"
    by = labels if instant else [f"_time:{found['window']}", *labels]
    # A sum of nothing is no result in LogQL. Where the query says that it is 0, it is none here all the same: a test has to see it.
    return f"{lines} | stats by ({', '.join(by)}) count() as count | filter count:>0"


def _lines(text: str, names: dict[str, str]) -> str:
    selector = _SELECTOR.match(text)
    if not selector:
        raise ValueError(f"not understood: {text}")
    parts = [f'{{"service.name"=~{json.dumps(selector["service"])}}}']
    at = selector.end()
    while at < len(text):
        stage = _STAGE.match(text, at)
        if not stage:
            raise ValueError(f"not understood: {text[at:]}")
        at = stage.end()
        parts.append(_filter(stage, names))
    return " ".join(parts)


def _filter(stage: re.Match[str], names: dict[str, str]) -> str:
    if stage["search"] is not None:
        return f"_msg:~{json.dumps(stage['search'])}"
    name, value = _name(stage["label"], names), next(v for v in (stage["raw"], stage["quoted"], stage["number"]) if v is not None)
    if stage["operator"] == ">=":
        return f"{name}:>={value}"
    exact = f"{name}:={json.dumps(value)}"
    return exact if stage["operator"] == "=" else f"!{exact}"


def _name(label: str, names: dict[str, str]) -> str:
    if label not in names:
        raise ValueError(f"no record has a field that Loki would call {label}")
    return json.dumps(names[label])
