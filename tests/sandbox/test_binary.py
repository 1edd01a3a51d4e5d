"""The reader and writer of the wasm format, and how modules are split."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelbridge.sandbox import binary, image, wasm
from otelbridge.sandbox.binary import Limits, Malformed
from otelbridge.sandbox.pages import Pages, differing
from tests.sandbox.guests import worker

WHOLE = wasm.wat(worker(more='(func $s) (start $s) (data $passive "abc") (table 3 funcref) (elem (i32.const 0) $s)'))


def test_shape() -> None:
    """Imports, exports, types, memories, data and the start function are read as they are."""
    module = binary.parse(WHOLE)
    assert [(item.module, item.name, item.kind, item.type) for item in module.imports] == [
        ("otelbridge", "log", "func", "(i32, i32, i32) -> ()")
    ]
    assert [(item.name, item.kind) for item in module.exports] == [
        ("memory", "memory"),
        ("otelbridge_alloc", "func"),
        ("otelbridge_fetch", "func"),
    ]
    assert module.functions[module.exports[2].index] == "(i32, i32) -> (i64)"
    assert module.memories == [Limits(1, None)]
    assert module.start == 1
    assert [(data.offset, data.content) for data in module.data] == [(1024, b'{"status":200,"body":"ok"}'), (None, b"abc")]


def test_split_and_join() -> None:
    """Joining the sections of a module gives the same module; splitting it gives two that wasmtime accepts."""
    module = binary.parse(WHOLE)
    assert binary.join(module.sections) == WHOLE
    parts = image.split(module)
    code = binary.parse(parts.code)
    assert (code.imports[-1].kind, code.memories, code.start) == ("memory", [], None)
    assert [item.name for item in code.exports][-1] == parts.start == "otelbridge:start"
    assert [data.content for data in code.data] == [b"", b"abc"]
    picture = binary.parse(parts.image)
    assert [(data.offset, data.content) for data in picture.data] == [(1024, b'{"status":200,"body":"ok"}')]


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_any_changed_byte(place: int, value: int) -> None:
    """A module with any byte changed is read or refused as Malformed, and so is splitting it."""
    data = WHOLE[:place] + bytes([value]) + WHOLE[place + 1 :]
    with contextlib.suppress(Malformed):
        image.split(binary.parse(data))


@given(st.integers(0, len(WHOLE)))
def test_any_cut(length: int) -> None:
    """A module cut anywhere is refused, or stops exactly between two sections."""
    with contextlib.suppress(Malformed):
        binary.parse(WHOLE[:length])


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Any bytes behind the magic number are read or refused."""
    with contextlib.suppress(Malformed):
        binary.count_locals(binary.parse(binary.HEADER + data))


@given(st.lists(st.tuples(st.integers(0, 16), st.binary(min_size=1, max_size=9000)), max_size=4))
def test_image_keeps_memory(writes: list[tuple[int, bytes]]) -> None:
    """An image's segments put together are the memory it was made of, whatever is zero in it."""
    memory = bytearray(2 * binary.PAGE)
    for page, data in writes:
        memory[page * 7000 : page * 7000 + len(data)] = data
    pages = Pages.of(differing(len(memory), lambda at, length: bytes(memory[at : at + length]), None))
    module = binary.parse(image.image(len(memory), pages.copies()))
    copy = bytearray(len(memory))
    for segment in module.data:
        copy[segment.offset : (segment.offset or 0) + len(segment.content)] = segment.content
    assert copy == memory
    assert module.memories == [Limits(2, None)]


@pytest.mark.parametrize("value", [0, 1, 63, 64, 127, 128, 1 << 31, (1 << 32) - 1])
def test_offsets(value: int) -> None:
    """Offsets of data survive writing and reading, also those that are negative to wasm."""
    section = binary.data_section([(value, b"x")])
    module = binary.parse(binary.join([(binary.MEMORY, b"\1\0\1"), (binary.DATA, section)]))
    assert [data.offset for data in module.data] == [value]


def test_taken_name() -> None:
    """A module that exports the name we give to start functions gets another one."""
    module = binary.parse(wasm.wat('(module (memory 1) (func $s (export "otelbridge:start")) (start $s))'))
    assert image.split(module).start == "otelbridge:start1"


def test_only_code_between_memory_and_nothing() -> None:
    """A module without imports, exports or data is split, too."""
    parts = image.split(binary.parse(wasm.wat("(module (memory 1 2) (func $s) (start $s))")))
    code = binary.parse(parts.code)
    assert [item.name for item in code.exports] == [parts.start]
    assert parts.limits == Limits(1, 2)
