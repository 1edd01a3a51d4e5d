"""The house's two rules about imports: they go down only, and each foreign library has one door."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "otelbridge"

# Floors of the rooms and wings of docs' table; a room may import what lies strictly below it, and its own wing.
FLOORS = {
    "errors": 0.0,
    "claim": 0.1,
    "lasting": 0.1,
    "model": 0.1,
    "settings": 0.1,
    "sandbox": 1,
    "spool": 1,
    "tail": 2,
    "loader": 3,
    "otel": 3,
    "logs": 3,
    "sessions": 3.5,
    "processes": 3.6,
    "planes": 3.7,
    "bridge": 4,
    "web": 5,
    "samples": 5.5,
    "cli": 6,
    "__main__": 7,
}
# The package's own front door names what it re-exports from the bridge.
PUBLIC = "bridge"

DOORS = {
    "wasmtime": {"sandbox"},
    "opentelemetry": {"otel"},
    "google.protobuf": {"otel"},
    "grpc": {"otel"},
    "google.rpc": {"otel"},
    "yarl": {"loader", "web"},
    "sqlite3": {"logs"},
    "aiohttp": {"loader", "otel", "web"},
    "aiohttp.web": {"web"},
    "click": {"cli"},
    "rich": {"cli"},
    "cryptography": {"loader"},
    "msgspec": set(FLOORS),
}
# Libraries that are nobody's: a new one needs a door above and a line in docs/dependencies.md.
STANDARD = {"otelbridge", *importlib.import_module("sys").stdlib_module_names}


def files() -> list[Path]:
    """Return the package's Python files."""
    return sorted(PACKAGE.rglob("*.py"))


def room(file: Path) -> str:
    """Return the wing or room that a file belongs to."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of every import of a file, those inside functions and for type checking too."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively"
            for name in node.names:
                yield node.lineno, f"{node.module}.{name.name}"


def module_name(file: Path) -> str:
    """Return the dotted name of a file of the package."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("file", files(), ids=module_name)
def test_imports_go_down_only(file: Path) -> None:
    """No room imports one that lies beside or above it."""
    here = room(file)
    if here == "__init__":
        return
    assert here in FLOORS, f"{here} has no floor in this test's table"
    for line, name in imports(file):
        parts = name.split(".")
        if parts[0] != "otelbridge":
            continue
        target = parts[1] if len(parts) > 1 and parts[1] in FLOORS else PUBLIC
        if name == "otelbridge.__version__":
            continue
        assert target == here or FLOORS[target] < FLOORS[here], (
            f"{file.relative_to(ROOT)}:{line} ({here}) imports {name}, which is not below it"
        )


@pytest.mark.parametrize("file", files(), ids=module_name)
def test_foreign_libraries_have_one_door(file: Path) -> None:
    """A library is imported only by the wings that own it, and no library comes in unnoticed."""
    here = room(file)
    for line, name in imports(file):
        doors = [door for door in DOORS if name == door or name.startswith((f"{door}.", f"{door}_"))]
        where = f"{file.relative_to(ROOT)}:{line}"
        if doors:
            narrowest = max(doors, key=len)
            assert here in DOORS[narrowest], f"{where} ({here}) imports {name}; the door of {narrowest} is {', '.join(DOORS[narrowest])}"
        else:
            assert name.split(".")[0] in STANDARD, f"{where} imports {name}, a library without a door"


@pytest.mark.parametrize("file", files(), ids=module_name)
def test_listed_names_exist(file: Path) -> None:
    """All that a module's __all__ names is there, each name once."""
    module = importlib.import_module(module_name(file))
    names: list[str] = getattr(module, "__all__", [])
    assert len(names) == len(set(names))
    assert not [name for name in names if not hasattr(module, name)]


@pytest.mark.parametrize("file", files(), ids=module_name)
def test_wings_use_only_listed_names(file: Path) -> None:
    """What one wing takes from another is public there: it stands in the module's __all__."""
    for line, name in imports(file):
        source, _, wanted = name.rpartition(".")
        path = ROOT / name.replace(".", "/")
        is_module = path.is_dir() or path.with_suffix(".py").exists()
        if is_module or source.split(".")[0] != "otelbridge" or source.split(".")[1:2] == [room(file)]:
            continue
        listed: list[str] = getattr(importlib.import_module(source), "__all__", [])
        assert wanted in listed, f"{file.relative_to(ROOT)}:{line} imports {wanted}, which {source}.__all__ does not name"
