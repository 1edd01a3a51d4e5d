"""What the commands print: data to stdout, talk to stderr; pretty on a terminal, JSON lines in a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, TextIO

import click

__all__ = ["colours", "emit", "fail", "is_pretty", "jsonl", "safe", "say", "style", "table", "waiting"]

# What a terminal would obey: a worker's text must not move the cursor, set the title or hide other lines.
_CONTROL = {c: f"\\x{c:02x}" for c in (*range(0x20), *range(0x7F, 0xA0))} | {0x09: "\t", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_CONTROL |= {c: f"\\u{c:04x}" for c in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000))}
_WAIT_SECONDS = 1.0


def fail(message: str, code: int = 1) -> NoReturn:
    """The error on stderr, and the exit code. The message says what to do next; its lines stay lines, indented below the first."""
    lines = "\n  ".join(safe(line) for line in message.split("\n"))
    click.echo(f"{style('error:', 'red', sys.stderr)} {lines}", err=True)
    sys.exit(code)


def say(message: str) -> None:
    """A line of talk, on stderr."""
    click.echo(message, err=True)


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say on a terminal's stderr that work goes on, and for how long already, once it takes more than a second."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    started = time.monotonic()
    shown = False

    def show() -> None:
        nonlocal shown
        while not done.wait(_WAIT_SECONDS):
            shown = True
            click.echo(f"\r{what} … {time.monotonic() - started:.0f} s ", nl=False, err=True)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if shown:
            click.echo("\r\x1b[K", nl=False, err=True)


def safe(text: str) -> str:
    """Text as it may go to a terminal: control characters made visible."""
    return text.translate(_CONTROL)


def colours(stream: TextIO | None = None) -> bool:
    """Whether to colour what goes to a stream: NO_COLOR says no, FORCE_COLOR yes, else only a terminal gets colours."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream or sys.stdout).isatty()


def style(text: str, colour: str | None, stream: TextIO | None = None, *, bold: bool = False) -> str:
    """Text in a colour, where there are colours."""
    return click.style(text, fg=colour, bold=bold or None) if colours(stream) else text


def is_pretty(form: str | None = None) -> bool:
    """Whether to print for people: as asked, else when stdout is a terminal."""
    return sys.stdout.isatty() if form is None else form == "pretty"


def jsonl(value: Any) -> None:
    """A value as one line of JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace").decode(), color=True)


def emit(value: Any) -> None:
    """A document: indented for people, one line in a pipe."""
    if not is_pretty():
        jsonl(value)
        return
    click.echo(safe_json(json.dumps(value, indent=2, ensure_ascii=False)))


def safe_json(text: str) -> str:
    """Indented JSON for a terminal; its line breaks stay."""
    return "\n".join(safe(line) for line in text.split("\n"))


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, headings: Sequence[str] | None = None) -> None:
    """Rows in aligned columns; numbers to the right. A missing value is empty."""
    rows = list(rows)
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    numeric = [all(isinstance(row.get(column), int | float | None) for row in rows) for column in columns]
    titles = [heading.upper() for heading in (headings or columns)]
    widths = [max(len(title), *(len(row[i]) for row in cells), 0) for i, title in enumerate(titles)]

    def line(values: Sequence[str]) -> str:
        padded = (v.rjust(w) if n else v.ljust(w) for v, w, n in zip(values, widths, numeric, strict=True))
        return "  ".join(padded).rstrip()

    click.echo(style(line(titles), None, bold=True), color=colours())
    for row in cells:
        click.echo(line(row))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return safe(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
