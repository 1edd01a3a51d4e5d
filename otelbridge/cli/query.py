"""`otelbridge query`: the query builder, with its answer as a table, JSON or CSV, and time buckets as bars."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from otelbridge.cli.client import Client, service_options
from otelbridge.cli.completion import complete_calculation, complete_key, complete_query
from otelbridge.cli.logs import ask
from otelbridge.cli.output import fail, is_pretty, jsonl, safe, say, table
from otelbridge.cli.records import print_record

__all__ = ["bars", "query"]

_UNITS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_VIEWS: Final = ("calculations", "events", "invocations", "traces")
_BLOCKS: Final = " ▏▎▍▌▋▊▉█"
_WIDTH: Final = 40
_MAX_EMPTY: Final = 1_000
# What fits a terminal; --format json has the rest.
_COLUMNS: Final = {
    "invocations": ("time", "workerId", "text", "outcome", "wallMs", "logs", "exceptions", "invocationId"),
    "traces": ("time", "text", "durationMs", "invocations", "errors", "logs", "exceptions", "traceId"),
}


@click.command()
@click.argument("text", nargs=-1, shell_complete=complete_query, metavar="[QUERY]...")
@click.option("--view", type=click.Choice(_VIEWS), help="[default: calculations]")
@click.option(
    "--calc",
    "-c",
    "calculations",
    multiple=True,
    shell_complete=complete_calculation,
    help="count, avg:FIELD, p99:FIELD, countDistinct:FIELD ...; may be repeated. [default: count]",
)
@click.option("--by", "-b", "group_by", multiple=True, shell_complete=complete_key, help="Group by this field; may be repeated.")
@click.option("--every", help="Time buckets: 30s, 1m, 1h, 1d.")
@click.option(
    "--where", "-w", multiple=True, shell_complete=complete_key, help="FIELD OPERATION VALUE, as in `status gte 500`; may be repeated."
)
@click.option("--having", multiple=True, help="CALCULATION OPERATION VALUE, as in `count gt 10`; may be repeated.")
@click.option("--order", help="A calculation or field; with - in front, the largest first.")
@click.option("--since", default="1h", show_default=True, help="How far back: 90s, 1h, 7d, or a time.")
@click.option("--until", help="Until when; like --since.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@click.option("--compare", is_flag=True, help="Beside it, the same for the period before.")
@click.option("--sql", help="Run one SELECT over the views logs, invocations and spans instead; QUERY are values for its question marks.")
@click.option("--file", type=click.Path(allow_dash=True, path_type=Path), help="A whole query as JSON, as for POST /v1/query; - is stdin.")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), help="[default: table on a terminal, else json]")
@service_options
def query(text: tuple[str, ...], file: Path | None, sql: str | None, form: str | None, url: str, token: str | None, **given: Any) -> None:
    """Count, measure and group what workers did. Behind `--`, words of QUERY may begin with -.

    For example:  otelbridge query 'kind:invocation level:error' -c count -c p99:wallMs -b worker --every 5m --since 6h
    """
    words = " ".join(text)
    form = form or ("table" if is_pretty() else "json")
    if sql is not None:
        _sql(Client(url, token), sql, [_value(one) for one in text], form)
        return
    document = _from_file(file) if file is not None else _document(words, **given)
    answer = ask(Client(url, token), words, "POST", "/v1/query", json.dumps(document).encode())
    for warning in answer.get("warnings", ()):
        say(warning)
    view = next((name for name in (document.get("view"), *_VIEWS) if name in answer), None)
    rows = answer.get(view) or []
    if form == "json":
        for row in rows:
            jsonl(row)
    elif form == "csv":
        flat = [_flat(row) for row in rows]
        _csv(flat, _columns(flat))
    elif not rows:
        say("Nothing matches. Look further back with --since.")
    elif view == "calculations":
        _calculations(rows, document.get("bucketMs"))
    elif view == "events":
        for row in rows:
            print_record(row)
    else:
        table([row | {"time": _short(row["time"])} for row in rows], _COLUMNS[view or "invocations"])
    statistics = answer.get("statistics") or {}
    if form == "table" and statistics:
        say(
            f"{len(rows)} {'row' if len(rows) == 1 else 'rows'} from {statistics.get('rowsRead', '?')} read in {statistics.get('elapsedMs', '?')} ms"
        )
    if answer.get("nextCursor") and form == "table":
        say("There is more: raise --limit.")


def _sql(client: Client, sql: str, params: list[Any], form: str) -> None:
    answer = ask(client, "", "POST", "/v1/sql", json.dumps({"sql": sql, "params": params}).encode())
    rows = [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]
    if form == "json":
        for row in rows:
            jsonl(row)
    elif form == "csv":
        _csv(rows, answer["columns"])
    else:
        table(rows, answer["columns"])
    if answer["truncated"]:
        say(f"There is more: these are the first {len(rows)} rows.")
    if answer["segments"][0] < answer["segments"][1]:
        say(f"This saw the newest {answer['segments'][0]} of {answer['segments'][1]} files of the store.")
    if form == "table":
        say(f"{len(rows)} rows in {answer['elapsedMs']} ms")


def _document(
    text: str,
    *,
    view: str | None,
    calculations: Sequence[str],
    group_by: Sequence[str],
    every: str | None,
    where: Sequence[str],
    having: Sequence[str],
    order: str | None,
    since: str,
    until: str | None,
    limit: int,
    compare: bool,
) -> dict[str, Any]:
    document: dict[str, Any] = {"view": view or "calculations", "since": since, "limit": limit}
    if text:
        document["q"] = text
    if document["view"] == "calculations":
        document["calculations"] = [_calculation(c) for c in calculations or ("count",)]
    if where:
        document["filters"] = [_filter(w, "key") for w in where]
    if having:
        document["having"] = [_filter(h, "calculation") for h in having]
    if order:
        document["orderBy"] = {"value": order.removeprefix("-"), "order": "desc" if order.startswith("-") else "asc"}
    optional = {"until": until, "groupBy": list(group_by), "bucketMs": _milliseconds(every) if every else None, "compare": compare}
    return document | {name: value for name, value in optional.items() if value}


def _calculation(text: str) -> dict[str, str]:
    operator, _, key = text.partition(":")
    return {"operator": operator, "key": key, "alias": text} if key else {"operator": operator, "alias": operator}


def _filter(text: str, name: str) -> dict[str, Any]:
    words = text.split(None, 2)
    if len(words) < 2:
        fail(f"{text!r} should be `FIELD OPERATION VALUE`, for example `status gte 500`.", 2)
    out: dict[str, Any] = {name: words[0], "operation": words[1]}
    if len(words) == 3:
        out["value"] = _value(words[2])
    return out


def _value(text: str) -> Any:
    """A number, true, false or a JSON list as such; everything else is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _milliseconds(text: str) -> int:
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdigit() or not int(number):
        fail(f"--every {text!r} should be a number and a unit: 30s, 1m, 1h, 1d.", 2)
    return int(number) * _UNITS[unit]


def _from_file(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(sys.stdin.read() if str(file) == "-" else file.read_text("utf-8"))
    except (OSError, ValueError) as e:
        fail(f"{file} can't be read as JSON: {e}", 2)
    if not isinstance(document, dict):
        fail(f"{file} holds no JSON object.", 2)
    return document


# ------------------------------------------------------------------------------------------------------------ output


def _calculations(rows: Sequence[Mapping[str, Any]], bucket_ms: int | None) -> None:
    flat = [_flat(row) for row in (_filled(rows, bucket_ms) if bucket_ms else rows)]
    columns = _columns(flat)
    values = list(rows[0].get("values") or {})
    if "time" in rows[0] and values:
        for row, bar in zip(flat, bars([row.get(values[0]) for row in flat]), strict=True):
            row |= {"time": _short(row["time"]), " ": bar}
        columns = [*columns, " "]
    table(flat, columns)


def _filled(rows: Sequence[Mapping[str, Any]], bucket_ms: int) -> list[Mapping[str, Any]]:
    """The rows with empty ones for the buckets in which nothing happened, so that a chart shows time as it passed."""
    if any(row.get("groups") or "time" not in row for row in rows):
        return list(rows)
    by_time = {datetime.fromisoformat(row["time"][:19] + "+00:00"): row for row in rows}
    first, step = min(by_time), timedelta(milliseconds=bucket_ms)
    count = (max(by_time) - first) // step + 1
    met = all(not (at - first) % step for at in by_time) and list(by_time) == sorted(by_time)
    if bucket_ms % 1_000 or count > len(rows) + _MAX_EMPTY or not met:
        return list(rows)
    empty = {"values": dict.fromkeys(rows[0].get("values") or {})}
    return [by_time.get(at) or empty | {"time": at.isoformat()} for at in (first + step * i for i in range(count))]


def _short(time: str) -> str:
    """A time to the second, or to the millisecond where that says more."""
    return time[:19] if time[19:23] in ("", ".000", "+00:") else time[:23]


def bars(values: Sequence[Any], width: int = _WIDTH) -> list[str]:
    """A horizontal bar for each value, the largest `width` characters long; eighths of a character count."""
    numbers = [float(v) if isinstance(v, int | float) and v > 0 else 0.0 for v in values]
    most = max(numbers, default=0.0)
    out = []
    for number in numbers:
        eighths = round(number / most * width * 8) if most else 0
        out.append("█" * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else ""))
    return out


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its groups and values side by side."""
    out: dict[str, Any] = {}
    for name, value in row.items():
        if name in ("groups", "values") and isinstance(value, Mapping):
            out |= value
        else:
            out[name] = value
    return out


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in row)
    return sorted(names, key=lambda name: name != "time")


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    import csv

    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: safe(v) if isinstance(v, str) else v for name, v in row.items()})
