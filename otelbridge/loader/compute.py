"""What the host computes for a guest: cryptography and compression, charged to the invocation like its own CPU time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from otelbridge.loader import webcrypto
from otelbridge.loader.compression import Codecs, CompressionError
from otelbridge.loader.webcrypto import CryptoError
from otelbridge.sandbox import Meter

__all__ = ["KINDS", "Compute", "ComputeError"]

KINDS = frozenset({"subtle", "compress"})
_Work = Callable[[Mapping[str, Any], bytes], tuple[Any, bytes | None]]


class ComputeError(Exception):
    """A computation that fails in the worker, as an error of this name with this message."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


class Compute:
    """The computations of one invocation: one at a time, so that what they cost is known before the next begins."""

    def __init__(self, *, meter: Meter) -> None:
        self._meter = meter
        self._codecs = Codecs()
        self._turn = asyncio.Lock()

    async def perform(self, kind: str, args: Mapping[str, Any], blob: bytes) -> tuple[Any, bytes]:
        """The value and bytes of an operation of KINDS. What takes long runs on a thread, out of the event loop's way."""
        async with self._turn:
            if self._meter.exhausted:
                raise ComputeError("Error", "Worker exceeded CPU time limit.")
            work = self._codecs.perform if kind == "compress" else webcrypto.perform
            try:
                if kind == "subtle" and webcrypto.heavy(args, len(blob)):
                    value, data = await asyncio.to_thread(self._charged, work, args, blob)
                else:
                    value, data = self._charged(work, args, blob)
            except (CryptoError, CompressionError) as e:
                raise ComputeError(e.name, e.message) from e
            return value, data or b""

    def _charged(self, work: _Work, args: Mapping[str, Any], blob: bytes) -> tuple[Any, bytes | None]:
        started = time.thread_time_ns()
        try:
            return work(args, blob)
        finally:
            self._meter.cpu_ns += time.thread_time_ns() - started
