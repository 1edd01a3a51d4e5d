"""Libraries: modules of our own, called like functions."""

from __future__ import annotations

from pathlib import Path

import pytest

from otelbridge.errors import SandboxError
from otelbridge.sandbox import Cache, Library, Trap, wat

DOUBLER = """(module (memory (export "memory") 1)
  (func (export "_initialize") (i32.store (i32.const 8) (i32.const 7)))
  (func (export "double") (result i64) (i64.mul (i64.load (i32.const 0)) (i64.const 2)))
  (func (export "fail") (result i32) unreachable))"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """Return the file of a module that doubles the number at the start of its memory."""
    path = tmp_path / "doubler.wasm"
    path.write_bytes(wat(DOUBLER))
    return path


def doubled(library: Library, number: int) -> int:
    """Return what the module makes of a number."""
    library.memory.write(0, number.to_bytes(8, "little"))
    return library.call(library.item(b"double"))


def test_it_is_initialised_and_works_on_its_memory(module: Path, tmp_path: Path) -> None:
    """The start function has run, and a call sees what was written and gives all 64 bits back."""
    library = Library(module, Cache(tmp_path / "cache"))
    assert library.memory.read(8, 1) == b"\7"
    assert doubled(library, 21) == 42
    assert doubled(library, (1 << 63) - 1) == (1 << 64) - 2
    library.close()
    library.close()


def test_it_is_compiled_once(module: Path, tmp_path: Path) -> None:
    """A second one comes from the cache, and a damaged cache is compiled anew."""
    cache = Cache(tmp_path / "cache")
    Library(module, cache)
    [kept] = (tmp_path / "cache").glob("*/module")
    stamp = kept.stat().st_mtime_ns
    assert doubled(Library(module, cache), 2) == 4
    assert kept.stat().st_mtime_ns == stamp
    kept.write_bytes(kept.read_bytes()[:-1])
    assert doubled(Library(module, cache), 3) == 6
    assert kept.stat().st_mtime_ns != stamp


def test_a_trap_is_an_exception(module: Path, tmp_path: Path) -> None:
    """What is not allowed raises with the trap's name, and ends neither the process nor the module."""
    library = Library(module, Cache(tmp_path / "cache"))
    with pytest.raises(Trap) as caught:
        library.call(library.item(b"fail"))
    assert caught.value.code == "UNREACHABLE"
    assert doubled(library, 1) == 2


def test_what_is_missing_is_named(module: Path, tmp_path: Path) -> None:
    """An absent export and an absent file are told apart, each by its name."""
    cache = Cache(tmp_path / "cache")
    with pytest.raises(SandboxError, match="halve"):
        Library(module, cache).item(b"halve")
    with pytest.raises(SandboxError, match=r"absent\.wasm is missing"):
        Library(tmp_path / "absent.wasm", cache)
    importing = tmp_path / "importing.wasm"
    importing.write_bytes(wat('(module (import "a" "b" (func)))'))
    with pytest.raises(SandboxError, match=r"importing\.wasm can't be used"):
        Library(importing, cache)
