"""What the commands print: data to stdout, talk to stderr; pretty on a terminal, JSON lines in a pipe."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

__all__ = ["colour", "emit", "fail", "print_record", "table"]

_COLOURS = {"debug": "bright_black", "info": "cyan", "warn": "yellow", "error": "red"}
_CONTROL = {c: f"\\x{c:02x}" for c in [*range(0x20), *range(0x7F, 0xA0)] if c not in (9,)}


def fail(message: str, code: int = 1) -> NoReturn:
    """One line on stderr and an exit code."""
    click.echo(f"otelbridge: {message}", err=True)
    sys.exit(code)


def colour(text: str, name: str | None) -> str:
    """The text in a colour, where colours are wanted. Escape sequences that a worker wrote are made visible."""
    text = text.translate(_CONTROL)
    wanted = os.environ.get("FORCE_COLOR") or (sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    return click.style(text, fg=name) if wanted and name else text


def emit(value: Any) -> None:
    """A document: indented on a terminal, one line in a pipe."""
    click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False))


def table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """Rows: aligned on a terminal, JSON lines in a pipe."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    widths = [max([len(c), *(len(str(r.get(c, ""))) for r in rows)]) for c in columns]
    click.echo("  ".join(c.ljust(w) for c, w in zip(columns, widths, strict=True)))
    for row in rows:
        click.echo("  ".join(str(row.get(c, "")).translate(_CONTROL).ljust(w) for c, w in zip(columns, widths, strict=True)))


def print_record(record: dict[str, Any], form: str | None = None) -> None:
    """One record of the logs API."""
    if form == "json" or (form is None and not sys.stdout.isatty()):
        click.echo(json.dumps(record, ensure_ascii=False))
        return
    if record["kind"] == "invocation":
        what = f"{record.get('method', '')} {record.get('url', '')}".strip()
        good = record.get("outcome") == "ok"
        click.echo(colour(f"{record['time'][11:23]} {record.get('workerId', '')} {what} - {record.get('outcome')}", "green" if good else "red"))
        return
    level = record.get("level", "log")
    text = record.get("text", "")
    click.echo(colour(f"{record['time'][11:23]} {record.get('workerId', '')}   ({level}) {text}", _COLOURS.get(level)))
