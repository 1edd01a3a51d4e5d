"""Records of the logs API and of the live tail, as lines for people. The shape is wrangler's: a call, then its lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import click

from otelbridge.cli.output import colours, safe, style

__all__ = ["line_of", "print_record", "stacks", "text_of"]

_COLOURS = {"debug": "bright_black", "log": None, "info": "cyan", "warn": "yellow", "error": "red"}
_LEFT = ("canceled", "responseStreamDisconnected")


def print_record(record: Mapping[str, Any]) -> None:
    """One record for a person to read."""
    click.echo(line_of(record), color=colours())


def line_of(record: Mapping[str, Any]) -> str:
    """The record's text, coloured by level or outcome, with its time and worker in front."""
    time = style(str(record.get("time", ""))[11:23], "bright_black")
    worker = style(safe(str(record.get("workerId") or "otelbridge")), "magenta")
    kind = record.get("kind")
    if kind == "invocation":
        return f"{time} {worker} {_call(record)}"
    level = str(record.get("level", "log"))
    first, *rest = str(record.get("text", "")).split("\n")
    rest = [line.strip() if kind == "exception" else line for line in rest] + stacks(record.get("errorInfo"))
    coloured = [style(safe(line), _COLOURS.get(level)) for line in (f"({level}) {first}", *rest)]
    return f"{time} {worker}   " + "\n      ".join(coloured)


def stacks(error_info: Iterable[Any] | None) -> list[str]:
    """The lines of the stacks of errors that were logged: the text has only their names and messages."""
    infos = [info for info in error_info or () if isinstance(info, dict)]
    return [line.strip() for info in infos for line in str(info.get("stack") or "").split("\n") if line.strip()]


def _call(record: Mapping[str, Any]) -> str:
    outcome = str(record.get("outcome", "unknown"))
    status = record.get("status")
    good = outcome == "ok" and (not isinstance(status, int) or status < 500)
    colour = "green" if good else "yellow" if outcome in _LEFT else "red"
    what = f"{record.get('method', '')} {record.get('url', '')}".strip() or str(record.get("text", ""))
    how = "Ok" if outcome == "ok" else outcome
    details = [str(status)] if status is not None else []
    if isinstance(record.get("wallMs"), int | float):
        details.append(f"{record['wallMs']:.1f} ms")
    return f"{style(safe(what), None, bold=True)} - {style(safe(how), colour)}" + (f" ({', '.join(details)})" if details else "")


def text_of(argument: Any) -> str:
    """An argument of console.log() as text, as records have it."""
    return argument if isinstance(argument, str) else json.dumps(argument, ensure_ascii=False, separators=(",", ":"))
