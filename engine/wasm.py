"""Reads the imports and exports of a wasm module, so that a wrong one never gets as far as the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import BuildError

__all__ = ["exports_of", "imports_of", "verify"]

_KINDS = ("func", "table", "memory", "global", "tag")
_IMPORT_SECTION = 2
_EXPORT_SECTION = 7

# The engine's ABI: what the sandbox calls, and the stack pointer it resets after a trap.
EXPORTS = {
    "memory": "memory",
    "__stack_pointer": "global",
    "_initialize": "func",
    "ob_state": "func",
    "ob_init": "func",
    "ob_reserve": "func",
    "ob_run": "func",
}
# What otel/encoder.py calls.
ENCODER_EXPORTS = {
    "memory": "memory",
    "_initialize": "func",
    "input": "func",
    "output": "func",
    "left": "func",
    "results": "func",
    "counts": "func",
    "logs": "func",
    "spans": "func",
}


def verify(module: bytes, exports: dict[str, str]) -> None:
    """Refuse a module that imports anything or lacks one of `exports` (name to kind)."""
    if imports := imports_of(module):
        raise BuildError("verify", f"the module must import nothing, yet imports {', '.join(imports)}")
    found = exports_of(module)
    wrong = [f"{name} ({kind})" for name, kind in exports.items() if found.get(name) != kind]
    if wrong:
        raise BuildError("verify", f"the module does not export {', '.join(wrong)}; it exports {', '.join(found)}")


def imports_of(module: bytes) -> list[str]:
    """Return the imports as 'module.name'."""
    names = []
    with _damage_as_error():
        reader = _section(module, _IMPORT_SECTION)
        for _ in range(reader.number()):
            names.append(f"{reader.text()}.{reader.text()}")
            reader.skip_import_type()
    return names


def exports_of(module: bytes) -> dict[str, str]:
    """Return the exports by name, with their kind: func, table, memory, global or tag."""
    found = {}
    with _damage_as_error():
        reader = _section(module, _EXPORT_SECTION)
        for _ in range(reader.number()):
            name = reader.text()
            found[name] = _KINDS[reader.byte()]
            reader.number()
    return found


def _section(module: bytes, wanted: int) -> _Reader:
    """Return a reader of a section's content; one that a module leaves out reads as an empty list."""
    if module[:8] != b"\0asm\1\0\0\0":
        raise BuildError("verify", "this is not a core wasm module")
    reader = _Reader(module, 8)
    while reader.at < len(module):
        number = reader.byte()
        content = reader.bytes(reader.number())
        if number == wanted:
            return _Reader(content)
    return _Reader(b"\0")


@contextmanager
def _damage_as_error() -> Iterator[None]:
    try:
        yield
    except (IndexError, UnicodeDecodeError) as error:
        raise BuildError("verify", "the wasm module is damaged") from error


class _Reader:
    """Reads wasm's binary format from `at` on; IndexError at the end."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self.at = at

    def byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def bytes(self, size: int) -> bytes:
        if self.at + size > len(self._data):
            raise IndexError
        self.at += size
        return self._data[self.at - size : self.at]

    def text(self) -> str:
        return self.bytes(self.number()).decode()

    def skip_import_type(self) -> None:
        kind = _KINDS[self.byte()]
        if kind == "global":
            self.bytes(2)
        elif kind in ("func", "tag"):
            if kind == "tag":
                self.byte()
            self.number()
        else:
            if kind == "table":
                self.byte()
            bounded = self.byte() & 1
            self.number()
            if bounded:
                self.number()
