"""Completion in the shell: what it knows, and that a real bash puts it where it belongs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import click.testing
import pytest

from otelbridge.cli.commands import cli
from otelbridge.cli.completion import FIELDS, OPERATORS
from otelbridge.logs import fields, request
from tests.cli.conftest import PROGRAM
from tests.cli.peer import Peer

Invoke = Callable[..., click.testing.Result]

KNOWN = {
    "workers": [{"workerId": "alpha"}, {"workerId": "beta"}, {"workerId": "b c"}],
    "keys": [{"key": "level", "type": "string"}, {"key": "user_id", "type": "number", "structured": True}],
    "values": [{"value": 123, "count": 2}, {"value": "be", "count": 1}],
}


def complete(line: str, url: str) -> list[str]:
    """What is offered at the end of this line. A service that takes longer than half a second is not waited for, so it is asked again."""
    environ = {"_OTELBRIDGE_COMPLETE": "bash_complete", "COMP_WORDS": line, "OTELBRIDGE_URL": url}
    for _ in range(5):
        result = click.testing.CliRunner().invoke(cli, [], prog_name="otelbridge", env=environ)
        if result.output:
            break
    return [one.partition(",")[2] for one in result.output.splitlines() if one]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("otelbridge tail a", ["alpha"]),
        ("otelbridge workers rm ", ["alpha", "beta"]),
        ("otelbridge logs worker:b", ["worker:beta", "worker:be"]),
        ("otelbridge logs lev", ["level:"]),
        ("otelbridge logs (lev", ["(level:"]),
        ("otelbridge logs boom level:e", ["level:error"]),
        ("otelbridge logs outcome:exceeded", ["outcome:exceededCpu", "outcome:exceededMemory", "outcome:exceededWallTime"]),
        ("otelbridge logs us", ["user_id="]),
        ("otelbridge logs user_id>=1", ["user_id>=123"]),
        ("otelbridge logs since:1", ["since:15m", "since:1h", "since:1d"]),
        ("otelbridge query -c p9", ["p90:", "p95:", "p99:", "p999:"]),
        ("otelbridge query -c p99:w", ["p99:worker", "p99:wallMs"]),
        ("otelbridge query -b us", ["user_id"]),
        ("otelbridge query -w st", ["status"]),
        ("otelbridge ta", ["tail"]),
    ],
)
def test_ids_names_and_values(peer: Callable[..., Peer], line: str, found: list[str]) -> None:
    """Ids of workers, fields, members of logged objects, operators, and the values of all of these."""
    assert complete(line, peer(KNOWN).url) == found


@pytest.mark.parametrize(
    "text", ["be;reboot", "be&reboot", "be|reboot", "be>file", "be<file", "be\x1b]0;title\x07", "be!1", "be{a,b}", "be$(reboot)"]
)
def test_what_a_shell_would_act_on_is_not_offered(peer: Callable[..., Peer], text: str) -> None:
    """A name or value that a guest logged does not become a command, a file or an escape sequence of the user's shell."""
    known = {"workers": [], "keys": [{"key": text, "structured": True}], "values": [{"value": text}, {"value": "be/st-1.0"}]}
    assert complete("otelbridge logs be", peer(known).url) == []
    assert complete("otelbridge logs user:be", peer(known).url) == ["user:be/st-1.0"]


def test_without_a_service_it_is_silent() -> None:
    """What can only be asked for is left out; what is known anyway stays."""
    url = "http://127.0.0.1:9"
    assert complete("otelbridge tail ", url) == []
    assert complete("otelbridge logs lev", url) == ["level:"]


def test_a_wrong_settings_file_is_no_word_to_offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known anyway is offered, and nothing is said of the file, which the next command complains about."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "otelbridge.toml").write_text("[server]\nprot = 1\n")
    assert complete("otelbridge logs lev", "") == ["level:"]


def test_the_names_are_those_of_the_query_language() -> None:
    """The lists that are spelled out for speed are those that the log store has."""
    assert tuple(fields.FIELDS) == FIELDS
    assert get_args(request.Operator) == OPERATORS


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_printed(invoke: Invoke, shell: str) -> None:
    """Each shell gets its script, with the line that installs it."""
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert "_OTELBRIDGE_COMPLETE" in result.output
    assert f"otelbridge completion {shell}" in result.output


# How bash cuts a line that is completed at its end, and what it does with the answer.
BASH = r"""
eval "$("${PROGRAM[@]}" completion bash)"
otelbridge() { "${PROGRAM[@]}" "$@"; }
compopt() { [[ $* == *nospace* ]] && space=""; return 0; }
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=() space=" "
_otelbridge_completion "$2" otelbridge ""
printf '%s\n' "${COMPREPLY[@]/%/$space}"
"""


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("otelbridge logs lev", ["level:"]),
        ("otelbridge logs level:e", ["error "]),
        ("otelbridge logs worker:", ["alpha ", "beta ", "123 ", "be "]),
        ("otelbridge logs user_id>=1", ["123 "]),
        ("otelbridge tail al", ["alpha "]),
    ],
)
def test_bash_gets_what_follows_its_last_cut(peer: Callable[..., Peer], tmp_path: Path, line: str, offered: list[str]) -> None:
    """Bash cuts at : and =; what stands before the cut is not repeated, and a name is followed by its value, not by a space."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nexec {PROGRAM[0]} -c 'from otelbridge.cli import main; main()' \"$@\"\n")
    program.chmod(0o755)
    script = f"PROGRAM=({program})\n{BASH}"
    environ = {"PATH": os.environ["PATH"], "OTELBRIDGE_URL": peer(KNOWN).url, "PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(["bash", "-c", script, "bash", line, str(program)], env=environ, capture_output=True, text=True, check=False)
    assert (done.stdout.splitlines(), done.stderr) == (offered, "")
