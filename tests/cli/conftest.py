"""The command line as people use it: click's runner, and real processes where signals and terminals matter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click.testing
import pytest

from otelbridge.cli.commands import cli, main
from tests.cli.peer import Peer

PROGRAM = (sys.executable, "-c", "from otelbridge.cli import main; main()")
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., click.testing.Result]:
    """Run a command in this process, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith(("OTELBRIDGE_", "OTEL_"))]:
        monkeypatch.delenv(name)

    def run(*arguments: str, **options: Any) -> click.testing.Result:
        return click.testing.CliRunner().invoke(cli, arguments, **options)

    return run


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled code, shared by all tests of this process."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def environ(tmp_path: Path, cache: Path) -> dict[str, str]:
    """The environment of a program that this test starts."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTELBRIDGE_", "OTEL_", "NO_COLOR", "FORCE_COLOR"))}
    mine = {
        "OTELBRIDGE_DATA_DIR": str(tmp_path / "data"),
        "OTELBRIDGE_SANDBOX_CACHE_DIR": str(cache),
        "PYTHONPATH": str(ROOT),
        "OTELBRIDGE_SERVER_PROCESSES": "1",  # tests/processes has the others
        "PYTHONUNBUFFERED": "1",
    }
    return clean | mine


@pytest.fixture
def program(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Run the console script to its end, in this process: starting another takes a second each time."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, env: dict[str, str] | None = None) -> Ended:
        with monkeypatch.context() as patch:
            for name in [n for n in os.environ if n not in environ]:
                patch.delenv(name)
            for name, value in (environ | (env or {})).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["otelbridge", *arguments])
            capfd.readouterr()
            try:
                main()
                code = 0
            except SystemExit as e:
                code = e.code if isinstance(e.code, int) else 0 if e.code is None else 1
        return Ended(code, *capfd.readouterr())

    return run


class Ended(NamedTuple):
    """How a command ended and what it wrote."""

    code: int
    stdout: str
    stderr: str


class Served:
    """A running `otelbridge serve`: its URL, what it said, and its process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        self.url = ""
        while not self.url:
            line = self.line()
            if "listens on" in line:
                self.url = line[line.index("http://") :].split()[0]

    def line(self) -> str:
        """The next line it says; fails the test when it ends instead."""
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        assert line, f"it ended: {self.process.wait()}: {''.join(self.said)}"
        self.said.append(line)
        return line

    def wait_for(self, text: str) -> str:
        """Read on until a line with this text."""
        while True:
            line = self.line()
            if text in line:
                return line

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        assert self.process.stderr is not None
        self.said.append(self.process.stderr.read())
        return self.process.wait()


@pytest.fixture
def serve(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start `otelbridge serve` on a free port."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, env: dict[str, str] | None = None) -> Served:
        command = [*PROGRAM, "serve", "--port", "0", *arguments]
        process = subprocess.Popen(command, env=environ | (env or {}), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return Served(process)

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    """Start a server that gives these answers, one per request."""
    peers: list[Peer] = []

    def start(*answers: Any) -> Peer:
        peers.append(Peer(answers))
        return peers[-1]

    yield start
    for one in peers:
        one.close()
