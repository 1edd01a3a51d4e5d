"""Libraries: modules of our own that work on what guests wrote, called like a function: no fiber, no slices, no epochs.

Whatever hostile bytes make such a module do happens inside its own memory; a call with the bytes in and out costs 2 us.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
from ctypes import addressof, c_char
from pathlib import Path

import wasmtime

from otelbridge.errors import SandboxError
from otelbridge.sandbox import wasm
from otelbridge.sandbox.cache import Cache
from otelbridge.sandbox.store import Memory

__all__ = ["Library"]

_MEMORY_BYTES = 16 << 20
_RAW_BYTES = 16  # of an argument or a result of an unchecked call
_TRAP = _RAW_BYTES


class Library:
    """A module without imports, with an engine of its own that knows no clock: it must end by itself.

    Its functions take no arguments and return a number or nothing. Not for several threads at once. SandboxError when
    the file is missing or is no such module.
    """

    def __init__(self, path: Path, cache: Cache) -> None:
        version = wasm.check_version()
        try:
            code = path.read_bytes()
        except FileNotFoundError:
            raise SandboxError(f"{path} is missing. Build it with `python engine_build.py`.") from None
        # No fiber and no pool: its memory is reserved and given back like any other. A module of ours has no start function.
        self._engine = wasmtime.Engine(wasmtime.Config())
        self._module = self._compiled(code, cache, f"library 1 {version} {platform.machine()}\n")
        self._store = wasm.store_new(wasm.raw(self._engine), None, None)
        self._context = wasm.store_context(self._store)
        wasm.store_limiter(self._store, _MEMORY_BYTES, 1_000, 1, 1, 1)
        self._block = (c_char * (_RAW_BYTES + 8 + wasm.INSTANCE_BYTES))()
        self._at = addressof(self._block)
        self._words = memoryview(self._block).cast("B").cast("Q")
        self._externs: list[object] = []  # wasmtime writes there, and reads at each call
        self._instance = self._at + _RAW_BYTES + 8
        error = wasm.instance_new(self._context, wasm.raw(self._module), None, 0, self._instance, self._at + _TRAP)
        if error or self._words[_TRAP // 8]:
            raise SandboxError(f"{path} can't be used: {wasm.take_error(error) if error else 'it traps'}")
        self.memory = Memory(self._context, self.item(b"memory"))
        self.call(self.item(b"_initialize"))

    def _compiled(self, code: bytes, cache: Cache, stamp: str) -> wasmtime.Module:
        key = hashlib.sha256(stamp.encode() + code).hexdigest()
        entry = cache.get(key)
        if entry is not None:
            with contextlib.suppress(wasmtime.WasmtimeError):
                return wasmtime.Module.deserialize_file(self._engine, str(entry.files["module"]))
        module = wasm.compile_module(self._engine, code)
        cache.put(key, {}, {"module": bytes(module.serialize())})
        return module

    def item(self, name: bytes) -> int:
        """An export: its memory, or a function for call()."""
        extern = (c_char * wasm.EXTERN_BYTES)()
        if not wasm.export_get(self._context, self._instance, name, len(name), addressof(extern)):
            raise SandboxError(f"a library has no export {name!r}")
        self._externs.append(extern)
        return addressof(extern) + wasm.EXTERN_ITEM

    def call(self, function: int) -> int:
        """Call a function; its result as an unsigned number of 64 bits. Trap when it does what is not allowed: its memory is as
        it was at that moment, so another call may be wrong."""
        error = wasm.call_now(self._context, function, self._at, 1, self._at + _TRAP)
        words = self._words
        if error or words[_TRAP // 8]:
            trap, words[_TRAP // 8] = words[_TRAP // 8], 0
            raise wasm.take_error(error) if error else wasm.take_trap(trap)
        return words[0]

    def close(self) -> None:
        """Free it. Idempotent."""
        store, self._store = self._store, None
        if store:
            self.memory.close()
            wasm.store_delete(store)
