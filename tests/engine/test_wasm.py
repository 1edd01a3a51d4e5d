"""Reading a module's imports and exports, checked against modules assembled from text."""

from __future__ import annotations

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from engine import wasm
from engine.errors import BuildError

MODULE = wasmtime.wat2wasm("""(module
  (import "a" "func" (func (param i32)))
  (import "a" "table" (table 1 2 funcref))
  (import "b" "memory" (memory 1))
  (import "b" "global" (global (mut i64)))
  (import "c" "last" (func))
  (memory (export "memory") 1)
  (global (export "top") (mut i32) (i32.const 5))
  (func (export "run") (result i32) i32.const 1))""")
CLOSED = bytes(wasmtime.wat2wasm('(module (memory (export "memory") 1) (func (export "run")))'))


def test_imports_of_every_kind_are_read() -> None:
    """Functions, tables, memories and globals are listed in order by module and name."""
    assert wasm.imports_of(bytes(MODULE)) == ["a.func", "a.table", "b.memory", "b.global", "c.last"]


def test_exports_carry_their_kind() -> None:
    """An export is found by its name and says what it is."""
    assert wasm.exports_of(bytes(MODULE)) == {"memory": "memory", "top": "global", "run": "func"}


def test_empty_module_has_neither() -> None:
    """A module without sections imports and exports nothing."""
    empty = bytes(wasmtime.wat2wasm("(module)"))
    assert (wasm.imports_of(empty), wasm.exports_of(empty)) == ([], {})


def test_verify_refuses_an_import() -> None:
    """A module that imports anything is refused by the name of the import."""
    with pytest.raises(BuildError, match=r"'verify'.*imports a\.func, a\.table"):
        wasm.verify(bytes(MODULE), {})


@pytest.mark.parametrize("missing", [{"stop": "func"}, {"run": "global"}])
def test_verify_names_what_is_missing(missing: dict[str, str]) -> None:
    """A missing export, or one of another kind, is named."""
    with pytest.raises(BuildError, match=next(iter(missing))):
        wasm.verify(CLOSED, missing)


def test_verify_accepts_what_it_asks_for() -> None:
    """A module without imports and with all exports passes."""
    wasm.verify(CLOSED, {"memory": "memory", "run": "func"})


@given(st.integers(min_value=0, max_value=CLOSED.index(b"run") + 4))
def test_cut_modules_are_refused(size: int) -> None:
    """A module cut off before the end of its exports is refused, wherever the cut is."""
    with pytest.raises(BuildError, match="'verify'"):
        wasm.verify(CLOSED[:size], {"memory": "memory", "run": "func"})


@given(st.sampled_from([2, 7]), st.binary(max_size=100), st.integers(min_value=0, max_value=255))
def test_garbage_is_refused(section: int, data: bytes, size: int) -> None:
    """Whatever an import or export section holds, and whatever length it claims, the answer is a build error."""
    with pytest.raises(BuildError, match="'verify'"):
        wasm.verify(b"\0asm\1\0\0\0" + bytes([section, size & 0x7F]) + data, {"run": "func"})
