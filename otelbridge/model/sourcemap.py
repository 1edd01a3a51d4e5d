"""Source maps: positions in a bundled module become positions in the sources it was made of. Pure.

Revision 3 of the format (ECMA-426), without sections. A map is its tenant's own text: whatever is wrong with it, or too
large, leaves the positions as they are.
"""

from __future__ import annotations

import base64
import binascii
import re
from array import array
from bisect import bisect_right
from collections.abc import Mapping

import msgspec

__all__ = ["MAX_MAPPINGS", "SourceMap", "SourceMaps", "read_map"]

MAX_MAPPINGS = 2 << 20  # characters; a megabyte takes half a second to decode
_MAX_NAME = 512
_INLINE = re.compile(
    rb"^[ \t]*//[#@] sourceMappingURL=data:application/json[^,\s]{0,100}?(;base64)?,([A-Za-z0-9+/=_-]+)[ \t\r\n]*\Z", re.MULTILINE
)
_FRAME = re.compile(
    r"(?P<before>^[ ]*at (?:.* \()?)(?P<module>[^\s():][^():\n]*):(?P<line>[0-9]{1,9}):(?P<column>[0-9]{1,9})(?P<after>\)?)$", re.MULTILINE
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f()]")
_DIGITS = [-1] * 256
for _i, _c in enumerate(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"):
    _DIGITS[_c] = _i
_COMMA, _SEMICOLON = ord(","), ord(";")


class _File(msgspec.Struct):
    """The members of a map's JSON that count."""

    version: int
    mappings: str
    sources: list[str | None]
    source_root: str | None = msgspec.field(default=None, name="sourceRoot")


class SourceMap:
    """One decoded map. Segments lie in columns, sorted; `lines` holds where each generated line's segments begin."""

    __slots__ = ("_columns", "_lines", "_root", "_source_columns", "_source_lines", "_sources", "_which", "size")

    def __init__(self, file: _File) -> None:
        # Put before a name when that is asked for: a map of 64 MB can have a long root and millions of sources.
        self._root = (file.source_root or "")[:_MAX_NAME]
        if self._root and not self._root.endswith("/"):
            self._root += "/"
        self._sources = file.sources
        self._lines = array("I", [0])
        self._columns, self._which = array("I"), array("i")
        self._source_lines, self._source_columns = array("i"), array("i")
        self.size = len(file.mappings)
        self._decode(file.mappings)

    def _decode(self, mappings: str) -> None:
        """Base64 VLQ: per segment up to five numbers, each relative to the same one before."""
        column = source = line = source_column = 0
        fields: list[int] = []
        value = shift = 0

        def segment() -> None:
            nonlocal column, source, line, source_column
            if not fields:
                return
            column += fields[0]
            if column < 0 or column > 0x7FFFFFFF:
                raise ValueError("a column is out of range")
            known = len(fields) >= 4
            if known:
                source, line, source_column = source + fields[1], line + fields[2], source_column + fields[3]
                if not 0 <= source < len(self._sources) or not 0 <= line < 0x7FFFFFFF or not 0 <= source_column < 0x7FFFFFFF:
                    raise ValueError("a segment points outside of the sources")
            self._columns.append(column)
            self._which.append(source if known else -1)
            self._source_lines.append(line)
            self._source_columns.append(source_column)
            fields.clear()

        for code in mappings.encode("ascii"):
            if code == _COMMA:
                segment()
            elif code == _SEMICOLON:
                segment()
                self._lines.append(len(self._columns))
                column = 0
            else:
                digit = _DIGITS[code]
                if digit < 0 or shift > 30:
                    raise ValueError("the mappings are not base64 VLQ")
                value |= (digit & 31) << shift
                if digit & 32:
                    shift += 5
                    continue
                fields.append(-(value >> 1) if value & 1 else value >> 1)
                value = shift = 0
        segment()
        self._lines.append(len(self._columns))

    def locate(self, line: int, column: int) -> tuple[str, int, int] | None:
        """(source, line, column) of a generated position; all lines and columns count from 1. None where nothing is known."""
        if not 1 <= line < len(self._lines):
            return None
        start, end = self._lines[line - 1], self._lines[line]
        at = bisect_right(self._columns, column - 1, start, end) - 1
        if at < start or self._which[at] < 0:
            return None
        name = (self._sources[self._which[at]] or "unknown")[:_MAX_NAME]
        return _CONTROL.sub("", self._root + name)[:_MAX_NAME], self._source_lines[at] + 1, self._source_columns[at] + 1


def read_map(data: bytes, limit: int = MAX_MAPPINGS) -> SourceMap:
    """Decode a map with mappings of so many characters at most. ValueError, msgspec.DecodeError for what is none."""
    file = msgspec.json.decode(data.removeprefix(b")]}'").lstrip(), type=_File)
    if file.version != 3:
        raise ValueError(f"version {file.version} is not 3")
    if len(file.mappings) > limit:
        raise ValueError(f"its mappings have {len(file.mappings)} characters; the limit is {limit}")
    return SourceMap(file)


class SourceMaps:
    """The maps of a worker's modules: none until they are read, which takes long enough to want a thread."""

    __slots__ = ("_found", "_maps")

    def __init__(self, modules: Mapping[str, bytes], files: Mapping[str, bytes]) -> None:
        """`modules`: JavaScript by name; a module's map is in its last line, or else the file `<name>.map`."""
        found = {name: _inline(source) or files.get(name + ".map") for name, source in modules.items()}
        self._found = {name: data for name, data in found.items() if data is not None}
        self._maps: dict[str, SourceMap] = {}

    def __bool__(self) -> bool:
        return bool(self._maps)

    @property
    def waiting(self) -> bool:
        """Whether there are maps that read() has not seen."""
        return bool(self._found)

    def read(self) -> None:
        """Decode the maps, as far as they are maps and their mappings have MAX_MAPPINGS together."""
        found, self._found = self._found, {}
        left = MAX_MAPPINGS
        for name, data in found.items():
            try:
                self._maps[name] = made = read_map(data, left)
            except (ValueError, msgspec.DecodeError, RecursionError):
                continue
            left -= made.size

    def apply(self, stack: str) -> str:
        """The stack with the positions that are known."""
        return _FRAME.sub(self._frame, stack)

    def _frame(self, found: re.Match[str]) -> str:
        known = self._maps.get(found["module"])
        place = known.locate(int(found["line"]), int(found["column"])) if known is not None else None
        if place is None:
            return found.group()
        return f"{found['before']}{place[0]}:{place[1]}:{place[2]}{found['after']}"


def _inline(source: bytes) -> bytes | None:
    """The map in the comment that ends a module."""
    end = source.rstrip()
    start = end.rfind(b"\n") + 1
    found = _INLINE.match(end[start:]) if end.startswith((b"//# source", b"//@ source"), start) else None
    if found is None or len(found[2]) > 8 * MAX_MAPPINGS:
        return None
    try:
        return base64.b64decode(found[2], validate=True) if found[1] else None
    except (binascii.Error, ValueError):
        return None
