"""The WebAssembly binary format, as far as modules are taken apart and put together here: sections, types, imports,
exports, memories and data segments. Code is never looked into.

Every read is checked: what is not well-formed raises Malformed, whatever the bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

__all__ = [
    "Data",
    "Export",
    "Import",
    "Limits",
    "Malformed",
    "Module",
    "count_locals",
    "data_section",
    "export",
    "import_memory",
    "join",
    "parse",
    "sections",
]

HEADER = b"\0asm\1\0\0\0"
CUSTOM, TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT, START, ELEMENT, CODE, DATA, DATA_COUNT, TAG = range(14)
KINDS = ("func", "table", "memory", "global", "tag")
PAGE = 65536

_VALUE_TYPES = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128", 0x70: "funcref", 0x6F: "externref"}


class Malformed(ValueError):
    """Bytes that are not a WebAssembly module, or use what this reader (and the sandbox) does not allow."""


class Limits(msgspec.Struct, frozen=True):
    """Of a memory, in pages of 64 KiB."""

    minimum: int
    maximum: int | None


class Import(msgspec.Struct, frozen=True):
    """`type`: for a function its signature, else the kind."""

    module: str
    name: str
    kind: str
    type: str


class Export(msgspec.Struct, frozen=True):
    name: str
    kind: str
    index: int


class Data(msgspec.Struct, frozen=True):
    """A data segment as it stands in the section. `offset`: where it goes in memory 0 when that is a constant."""

    encoded: bytes
    offset: int | None
    content: bytes


class Module(msgspec.Struct, frozen=True):
    """A module's outer shape."""

    sections: list[tuple[int, bytes]]
    types: list[str]  # signatures, such as "(i32, i32) -> (i64)"
    imports: list[Import]
    exports: list[Export]
    functions: list[str]  # the signature of each function, imported ones first
    memories: list[Limits]  # defined ones
    start: int | None
    data: list[Data]


class _Reader:
    __slots__ = ("at", "bytes", "end")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.bytes = data
        self.at = at
        self.end = len(data) if end is None else end

    def u8(self) -> int:
        if self.at >= self.end:
            raise Malformed("unexpected end")
        self.at += 1
        return self.bytes[self.at - 1]

    def u32(self) -> int:
        value = shift = 0
        while shift < 35:
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >= 1 << 32:
                    break
                return value
            shift += 7
        raise Malformed("a number is too long")

    def s33(self) -> int:
        value = shift = 0
        while shift < 35:
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value - (1 << shift) if byte & 0x40 else value
        raise Malformed("a number is too long")

    def take(self, size: int) -> bytes:
        if size > self.end - self.at:
            raise Malformed("unexpected end")
        self.at += size
        return self.bytes[self.at - size : self.at]

    def name(self) -> str:
        try:
            return self.take(self.u32()).decode()
        except UnicodeDecodeError:
            raise Malformed("a name is not UTF-8") from None

    def count(self) -> int:
        """The length of a vector; each of its items has at least one byte."""
        count = self.u32()
        if count > self.end - self.at:
            raise Malformed("a vector is longer than its section")
        return count


def sections(wasm: bytes) -> Iterator[tuple[int, bytes]]:
    """The sections of a module in their order: id and content."""
    if wasm[:8] != HEADER:
        raise Malformed("these are not the bytes of a WebAssembly core module")
    reader = _Reader(wasm, 8)
    while reader.at < reader.end:
        kind = reader.u8()
        yield kind, reader.take(reader.u32())


def parse(wasm: bytes) -> Module:
    """A module's outer shape. Malformed for anything else."""
    parts = list(sections(wasm))
    content: dict[int, bytes] = {}
    for kind, data in parts:
        if kind != CUSTOM:
            if kind in content or kind > TAG:
                raise Malformed(f"unexpected section {kind}")
            content[kind] = data
    types = _types(content.get(TYPE, b"\0"))
    imports, functions = _imports(content.get(IMPORT, b"\0"), types)
    reader = _Reader(content.get(FUNCTION, b"\0"))
    functions += [_at(types, reader.u32()) for _ in range(reader.count())]
    reader = _Reader(content.get(MEMORY, b"\0"))
    memories = [_limits(reader) for _ in range(reader.count())]
    reader = _Reader(content.get(EXPORT, b"\0"))
    exports = [Export(reader.name(), _kind(reader.u8()), reader.u32()) for _ in range(reader.count())]
    start = _Reader(content[START]).u32() if START in content else None
    return Module(parts, types, imports, exports, functions, memories, start, _data(content.get(DATA, b"\0")))


def count_locals(module: Module) -> int:
    """How many locals all functions together declare; a few bytes can declare 50,000."""
    total = 0
    for kind, data in module.sections:
        if kind == CODE:
            outer = _Reader(data)
            for _ in range(outer.count()):
                body = _Reader(outer.take(outer.u32()))
                for _ in range(body.count()):
                    total += body.u32()
                    body.u8()
    return total


def _at(types: list[str], index: int) -> str:
    if index >= len(types):
        raise Malformed("a type index is out of range")
    return types[index]


def _kind(byte: int) -> str:
    if byte >= len(KINDS):
        raise Malformed("unknown kind of import or export")
    return KINDS[byte]


def _types(data: bytes) -> list[str]:
    reader = _Reader(data)
    found = []
    for _ in range(reader.count()):
        if reader.u8() != 0x60:
            raise Malformed("only function types are supported (no GC types)")
        parameters, results = ([_value_type(reader.u8()) for _ in range(reader.count())] for _ in range(2))
        found.append(f"({', '.join(parameters)}) -> ({', '.join(results)})")
    return found


def _value_type(byte: int) -> str:
    if byte not in _VALUE_TYPES:
        raise Malformed(f"unsupported value type 0x{byte:x}")
    return _VALUE_TYPES[byte]


def _imports(data: bytes, types: list[str]) -> tuple[list[Import], list[str]]:
    reader = _Reader(data)
    found, functions = [], []
    for _ in range(reader.count()):
        module, name, kind = reader.name(), reader.name(), _kind(reader.u8())
        type_ = kind
        if kind == "func":
            type_ = _at(types, reader.u32())
            functions.append(type_)
        elif kind == "table":
            _value_type(reader.u8())
            _limits(reader)
        elif kind == "memory":
            _limits(reader)
        else:
            reader.take(2)
        found.append(Import(module, name, kind, type_))
    return found, functions


def _limits(reader: _Reader) -> Limits:
    flags = reader.u8()
    if flags > 1:
        raise Malformed("shared and 64-bit memories are not supported")
    minimum = reader.u32()
    return Limits(minimum, reader.u32() if flags else None)


def _data(section: bytes) -> list[Data]:
    reader = _Reader(section)
    found = []
    for _ in range(reader.count()):
        begin = reader.at
        flags = reader.u32()
        memory = reader.u32() if flags == 2 else 0
        offset = None
        if flags > 2:
            raise Malformed("unknown kind of data segment")
        if flags != 1:  # not a passive one
            if reader.u8() != 0x41:  # i32.const
                raise Malformed("data offsets must be plain constants")
            where = reader.s33() & 0xFFFFFFFF
            if reader.u8() != 0x0B:  # more than the constant: an extended constant expression
                raise Malformed("data offsets must be plain constants")
            offset = where if memory == 0 else None
        content = reader.take(reader.u32())
        found.append(Data(section[begin : reader.at], offset, content))
    return found


# -------------------------------------------------------------------------------------------------------- writing


def uleb(value: int) -> bytes:
    """An unsigned number in LEB128."""
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def _sleb(value: int) -> bytes:
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        if (value == 0 and not byte & 0x40) or (value == -1 and byte & 0x40):
            out.append(byte)
            return bytes(out)
        out.append(byte | 0x80)


def text(name: str) -> bytes:
    """A name: its length, then UTF-8."""
    data = name.encode()
    return uleb(len(data)) + data


def join(parts: Iterable[tuple[int, bytes]]) -> bytes:
    """A module of sections."""
    return HEADER + b"".join(bytes([kind]) + uleb(len(data)) + data for kind, data in parts)


def memory_type(limits: Limits) -> bytes:
    """A memory's type."""
    if limits.maximum is None:
        return b"\0" + uleb(limits.minimum)
    return b"\1" + uleb(limits.minimum) + uleb(limits.maximum)


def import_memory(module: str, name: str, limits: Limits) -> bytes:
    """An item of the import section."""
    return text(module) + text(name) + b"\2" + memory_type(limits)


def export(name: str, kind: str, index: int) -> bytes:
    """An item of the export section."""
    return text(name) + bytes([KINDS.index(kind)]) + uleb(index)


def data_section(segments: Iterable[tuple[int, bytes]]) -> bytes:
    """A data section that writes (offset, content) into memory 0."""
    encoded = [
        b"\0\x41" + _sleb(offset - (1 << 32) if offset >> 31 else offset) + b"\x0b" + uleb(len(content)) + content
        for offset, content in segments
    ]
    return uleb(len(encoded)) + b"".join(encoded)


def add_item(section: bytes, item: bytes) -> bytes:
    """A vector section with one more item at its end."""
    reader = _Reader(section)
    count = reader.u32()
    return uleb(count + 1) + section[reader.at :] + item
