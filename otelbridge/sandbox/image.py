"""Split snapshots: a module's code without its memory, and memories without code.

The code is compiled once and imports its memory. A memory image is a module of data segments only: wasmtime maps it
copy-on-write, so an instance costs the pages it writes. Building one takes 2 ms, rewriting the whole engine 350 ms.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from otelbridge.sandbox import binary
from otelbridge.sandbox.binary import Limits, Malformed, Module

__all__ = ["Split", "image", "split"]

ENV, MEMORY = "env", "memory"  # how the code imports its memory
START = "otelbridge:start"  # the export that stands for a start section


class Split(msgspec.Struct, frozen=True):
    """A module taken apart. `shift`: how many bytes further back the code lies than in the original."""

    code: bytes
    image: bytes
    limits: Limits
    start: str | None  # the export that runs the start function
    shift: int


def split(module: Module) -> Split:
    """Take a module apart: code that imports `env.memory` last, and an image with its initial memory.

    A start section becomes an export, so that it runs in slices like everything else of the guest's ("infinite start
    function"); nothing runs while the module is instantiated. Malformed unless it has exactly one memory, its own,
    and data that lies inside.
    """
    if len(module.memories) != 1 or any(item.kind == "memory" for item in module.imports):
        raise Malformed("the module must define exactly one memory")
    limits = module.memories[0]
    segments = []
    for i, data in enumerate(module.data):
        if data.offset is not None:
            if data.offset + len(data.content) > limits.minimum * binary.PAGE:
                raise Malformed(f"data segment {i} does not fit into the memory")
            segments.append((data.offset, data.content))
    start = None
    if module.start is not None:
        taken = {item.name for item in module.exports}
        start = next(name for i in range(len(taken) + 1) if (name := f"{START}{i or ''}") not in taken)
    parts = _code_sections(module, limits, start)
    code_at = _place(module.sections)
    return Split(
        binary.join(parts),
        _image_module(limits, segments),
        limits,
        start,
        _place(parts) - code_at if code_at else 0,
    )


def _code_sections(module: Module, limits: Limits, start: str | None) -> list[tuple[int, bytes]]:
    imported = False
    exported = start is None
    memory = binary.import_memory(ENV, MEMORY, limits)
    out: list[tuple[int, bytes]] = []
    for kind, data in module.sections:
        if kind != binary.CUSTOM:
            order = _ORDER.index(kind)
            if not imported and order >= _ORDER.index(binary.IMPORT):
                imported = True
                if kind == binary.IMPORT:
                    out.append((kind, binary.add_item(data, memory)))
                    continue
                out.append((binary.IMPORT, b"\1" + memory))
            if not exported and order >= _ORDER.index(binary.EXPORT):
                exported = True
                item = binary.export(start or "", "func", module.start or 0)
                if kind == binary.EXPORT:
                    out.append((kind, binary.add_item(data, item)))
                    continue
                out.append((binary.EXPORT, b"\1" + item))
            if kind in (binary.MEMORY, binary.START):
                continue
            if kind == binary.DATA:
                # Active segments moved to the image; empty ones keep the numbers that memory.init and data.drop use.
                items = [b"\0\x41\0\x0b\0" if item.offset is not None else item.encoded for item in module.data]
                data = binary.uleb(len(items)) + b"".join(items)
        out.append((kind, data))
    return out


# The order that the format prescribes; it is not that of the numbers.
_ORDER = [
    binary.TYPE,
    binary.IMPORT,
    binary.FUNCTION,
    binary.TABLE,
    binary.MEMORY,
    binary.TAG,
    binary.GLOBAL,
    binary.EXPORT,
    binary.START,
    binary.ELEMENT,
    binary.DATA_COUNT,
    binary.CODE,
    binary.DATA,
]


def _place(parts: list[tuple[int, bytes]]) -> int:
    """Where the content of the code section begins, 0 without one."""
    at = 8
    for kind, data in parts:
        at += 1 + len(binary.uleb(len(data)))
        if kind == binary.CODE:
            return at
        at += len(data)
    return 0


def image(size: int, pages: Mapping[int, bytes]) -> bytes:
    """A module that exports `memory`, of `size` bytes (whole pages of 64 KiB), with pages of 4 KiB by their offsets; all else is zero."""
    segments = []
    begin = end = 0
    pieces: list[bytes] = []  # of the run of pages that began at `begin`
    for at in sorted(pages):
        if at != end and pieces:
            segments.append((begin, b"".join(pieces)))
            pieces = []
        if not pieces:
            begin = at
        pieces.append(pages[at])
        end = at + len(pages[at])
    if pieces:
        segments.append((begin, b"".join(pieces)))
    return _image_module(Limits(size // binary.PAGE, None), segments)


def _image_module(limits: Limits, segments: list[tuple[int, bytes]]) -> bytes:
    return binary.join(
        [
            (binary.MEMORY, b"\1" + binary.memory_type(limits)),
            (binary.EXPORT, b"\1" + binary.export(MEMORY, "memory", 0)),
            (binary.DATA, binary.data_section(segments)),
        ]
    )
