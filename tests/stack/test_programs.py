"""How programs are found, built and missed; no Go needed."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from stack import programs
from stack.processes import Ports
from stack.programs import PROGRAMS, MissingTool, build

MODULES = Path(programs.__file__).parent / "programs"


def test_without_go_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a machine without Go the message names it and its version, and nothing is created."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("STACK_CACHE", str(tmp_path / "cache"))
    with pytest.raises(MissingTool, match=r"Go 1\.\d+ or later is needed"):
        build("victorialogs")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_dependency_is_pinned(name: str) -> None:
    """Each program has a module with a checksum for whatever is downloaded."""
    files = {file.name for file in (MODULES / name).iterdir()}
    assert "go.sum" in files
    assert files & {"go.mod", "builder.yaml"}
    assert all(step in PROGRAMS for step in PROGRAMS[name].steps)


def test_ports_that_are_taken_are_named() -> None:
    """free() gives ports that differ; taken() names one that somebody listens on."""
    ports = Ports.free()
    assert ports.taken() == []
    with socket.create_server(("127.0.0.1", ports.victorialogs)):
        assert ports.taken() == [f"victorialogs {ports.victorialogs}"]
