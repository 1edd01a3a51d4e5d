"""What commands print: tables, records, colours, and what a worker's text may not do to a terminal."""

from __future__ import annotations

import io
import json
import sys
import time
import unicodedata
from collections.abc import Callable
from typing import Any

import click.testing
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelbridge.cli import output
from otelbridge.cli.output import colours, emit, safe, table
from otelbridge.cli.records import line_of


@given(st.text())
def test_no_text_reaches_the_terminal_as_a_command(text: str) -> None:
    """Nothing a worker wrote moves the cursor, hides text or turns its direction."""
    shown = safe(text)
    assert not {unicodedata.category(c) for c in shown.replace("\t", "")} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(shown) & set("\u202a\u202e\u2066\u2069")


def test_a_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns are as wide as their longest cell, numbers stand to the right, missing values are empty."""
    table([{"name": "a", "n": 5}, {"name": "long name", "n": 1234.5}, {"name": "c\nd"}], ["name", "n"])
    assert capsys.readouterr().out.splitlines() == ["NAME            N", "a               5", "long name  1234.5", "c\\x0ad"]


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False)],
)
def test_colours_follow_the_two_variables(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], wanted: bool) -> None:
    """A pipe gets no colours unless FORCE_COLOR is set; NO_COLOR always wins."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert colours() is wanted
    assert ("\x1b[" in line_of({"kind": "log", "level": "error", "text": "x", "time": "2026-01-01T10:20:30.123456789Z"})) is wanted


@pytest.mark.parametrize(
    ("record", "line"),
    [
        ({"kind": "log", "level": "warn", "text": "care\nful", "workerId": "w"}, "10:20:30.123 w   (warn) care\n      ful"),
        (
            {"kind": "exception", "level": "error", "text": "Error: x\n    at f (a.js:1)", "workerId": "w", "exception": {"type": "Error"}},
            "10:20:30.123 w   (error) Error: x\n      at f (a.js:1)",
        ),
        (
            {
                "kind": "log",
                "level": "error",
                "text": "no Error: x",
                "workerId": "w",
                "errorInfo": [None, {"stack": "    at f (a.js:1)\n    at g"}],
            },
            "10:20:30.123 w   (error) no Error: x\n      at f (a.js:1)\n      at g",
        ),
        (
            {"kind": "invocation", "method": "GET", "url": "http://h/", "outcome": "ok", "status": 200, "wallMs": 1.25, "workerId": "w"},
            "10:20:30.123 w GET http://h/ - Ok (200, 1.2 ms)",
        ),
        ({"kind": "invocation", "text": "cron", "outcome": "exceededCpu", "workerId": "w"}, "10:20:30.123 w cron - exceededCpu"),
        ({"kind": "bridge", "level": "error", "text": "a drop"}, "10:20:30.123 otelbridge   (error) a drop"),
    ],
)
def test_records_read_as_lines(record: dict[str, Any], line: str) -> None:
    """Each kind of record has its own shape, with time and worker in front."""
    assert line_of({"time": "2026-01-01T10:20:30.123456789Z"} | record) == line


def test_a_pipe_gets_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Documents are one line when nobody looks, whatever characters they hold."""
    emit({"a": ["ä", "\u2028", "\ud800"]})
    assert json.loads(capsys.readouterr().out) == {"a": ["ä", "\u2028", "?"]}


def test_help_is_quick_to_import(invoke: Callable[..., click.testing.Result]) -> None:
    """--help lists every command and needs none of the heavy wings."""
    result = invoke("--help")
    assert result.exit_code == 0
    for command in ("serve", "run", "workers", "tail", "logs", "query", "exports", "check", "completion"):
        assert f"\n  {command}" in result.output


class Terminal(io.StringIO):
    """A terminal's stderr."""

    def isatty(self) -> bool:
        return True


def test_long_work_says_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a line tells what is waited for, and is gone when that is over; quick work and pipes see nothing."""
    terminal, pipe = Terminal(), io.StringIO()
    monkeypatch.setattr(output, "_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(sys, "stderr", terminal)
    with output.waiting("searching"):
        while "searching" not in terminal.getvalue():
            time.sleep(0.001)
    assert terminal.getvalue().startswith("\rsearching … 0 s ")
    assert terminal.getvalue().endswith("\r\x1b[K")
    monkeypatch.setattr(sys, "stderr", pipe)
    with output.waiting("searching"):
        time.sleep(0.01)
    monkeypatch.setattr(output, "_WAIT_SECONDS", 60.0)
    monkeypatch.setattr(sys, "stderr", quick := Terminal())
    with output.waiting("searching"):
        pass
    assert (pipe.getvalue(), quick.getvalue()) == ("", "")
