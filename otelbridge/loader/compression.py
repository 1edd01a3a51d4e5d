"""CompressionStream and DecompressionStream of one invocation, for the host operation "compress" of prelude/47-compression.js.

Work comes in pieces: at most 64 KiB in and 256 KiB out for each step, so that a step takes a few milliseconds and a
compressed bomb meets the worker's own memory limit, not ours.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

__all__ = ["Codecs", "CompressionError"]

MAX_CODECS = 32  # open at once; zlib takes 256 KiB for each
MAX_INPUT = 1 << 16
MAX_OUTPUT = 1 << 18
_WINDOW = {"gzip": 31, "deflate": 15, "deflate-raw": -15}


class CompressionError(Exception):
    """A step that fails in the worker, as an error of this name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


class _Compressor:
    """Output of compression is never much larger than its input, so it needs no limit of its own."""

    def __init__(self, window: int) -> None:
        self._zlib = zlib.compressobj(wbits=window)
        self.done = False

    def push(self, data: bytes) -> tuple[bool, bytes]:
        return False, self._zlib.compress(data)

    def more(self) -> tuple[bool, bytes]:
        return False, b""

    def finish(self) -> tuple[bool, bytes]:
        self.done = True
        return False, self._zlib.flush()


class _Decompressor:
    def __init__(self, window: int) -> None:
        self._zlib = zlib.decompressobj(wbits=window)
        self._finishing = self.done = False

    def push(self, data: bytes) -> tuple[bool, bytes]:
        if self._zlib.eof and data:
            raise CompressionError("TypeError", "Trailing bytes after end of compressed data.")
        return self._step(data)

    def more(self) -> tuple[bool, bytes]:
        return self._step(self._zlib.unconsumed_tail)

    def finish(self) -> tuple[bool, bytes]:
        self._finishing = True
        return self._step(self._zlib.unconsumed_tail)

    def _step(self, data: bytes) -> tuple[bool, bytes]:
        try:
            out = self._zlib.decompress(data, MAX_OUTPUT)
        except zlib.error as e:
            raise CompressionError("TypeError", "Decompression failed.") from e
        if self._zlib.unused_data:
            raise CompressionError("TypeError", "Trailing bytes after end of compressed data.")
        # zlib may hold output back without input left: a full buffer means that there may be more.
        more = bool(self._zlib.unconsumed_tail) or len(out) == MAX_OUTPUT
        self.done = self._finishing and not more
        if self.done and not self._zlib.eof:
            raise CompressionError("TypeError", "Called close() on a decompression stream with incomplete data.")
        return more, out


class Codecs:
    """The open streams of one invocation, by the numbers the guest gave them."""

    def __init__(self) -> None:
        self._open: dict[int, _Compressor | _Decompressor] = {}

    def perform(self, args: Mapping[str, Any], blob: bytes) -> tuple[Any, bytes | None]:
        """One step. A stream is gone after an error and when it has been finished."""
        step, number = args.get("step"), args.get("id")
        if type(number) is not int:
            raise CompressionError("TypeError", "A stream has a number.")
        if step == "open":
            return self._begin(number, args.get("format"), args.get("mode"))
        codec = self._open.get(number)
        if step == "drop":
            self._open.pop(number, None)
            return None, None
        if codec is None or len(blob) > MAX_INPUT:
            raise CompressionError("TypeError", "There is no such stream, or the piece is too large.")
        try:
            if step == "push":
                return codec.push(blob)
            if step not in ("more", "finish"):
                raise CompressionError("TypeError", "A stream has no such step.")
            answer = codec.finish() if step == "finish" else codec.more()
        except CompressionError:
            del self._open[number]
            raise
        if codec.done:
            del self._open[number]
        return answer

    def _begin(self, number: int, format: Any, mode: Any) -> tuple[Any, bytes | None]:
        window = _WINDOW.get(format) if isinstance(format, str) else None
        if window is None or mode not in ("compress", "decompress") or number in self._open:
            raise CompressionError("TypeError", "There is no such compression.")
        if len(self._open) >= MAX_CODECS:
            raise CompressionError("Error", "Too many compression streams are open at once.")
        self._open[number] = _Compressor(window) if mode == "compress" else _Decompressor(window)
        return None, None
