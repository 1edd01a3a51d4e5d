"""Store: one guest's own world in wasmtime, with its instances, memories and the one call that may be under way.

A store belongs to the event loop's thread. Every address handed out by a store dies with it, so they stay in here and
in Memory, whose reads copy (rules "Store-bound objects never leave their owner", "copy the bytes before closing").
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import addressof, c_uint32, c_uint64, c_void_p, memmove, string_at
from typing import TYPE_CHECKING

from otelbridge.errors import SandboxError
from otelbridge.sandbox import wasm
from otelbridge.sandbox.stop import MEMORY_STOP, Meter, Stop

if TYPE_CHECKING:
    from otelbridge.sandbox.engine import Engine
    from otelbridge.sandbox.turns import Guest

__all__ = ["Memory", "OutOfBounds", "Store"]

ARGUMENTS = 2  # no export of ours or of the guest ABI takes more
_BLOCK_BYTES = (ARGUMENTS + 1) * wasm.VAL_BYTES + 16
_RESULT = ARGUMENTS * wasm.VAL_BYTES
_TRAP = _RESULT + wasm.VAL_BYTES
_ERROR = _TRAP + 8
_SLICE_TICKS = 1  # a slice ends at the next tick: 0 to 1 tick long
_LARGE = 64 << 20
_FAR_TICKS = 5_000  # 10 s: for what must end by itself, yet must not hang the process if it does not


class OutOfBounds(Exception):
    """A pointer and length that do not lie inside a guest's memory."""


class Store:
    """A wasmtime store. SandboxError subclass EngineFull when the pool is full; close() is idempotent."""

    __slots__ = ("_block", "_context", "_engine", "_future", "_keep", "_store", "_yields", "dead", "memories")

    def __init__(self, engine: Engine, *, memory_bytes: int, instances: int, tables: int, memories: int) -> None:
        engine.take()
        self._engine = engine
        self._future = 0
        self._store = wasm.store_new(engine.address, None, None)
        self._context = wasm.store_context(self._store)
        # Rule "always set all five limits of set_limits": without one for tables a single table.grow cost 1.5 GB.
        wasm.store_limiter(self._store, memory_bytes, engine.table_elements, instances, tables, memories)
        # Rule "set the epoch deadline before instantiating". Start functions don't run there (binary.py makes them
        # exports), so nothing of the guest's runs outside of a slice.
        wasm.set_epoch(self._context, _FAR_TICKS)
        # A store that yields refuses synchronous instantiation, so that comes with the first call.
        self._yields = False
        # arguments, result, trap and error of the call under way; one call at a time, so one block is enough
        self._block = ctypes.create_string_buffer(_BLOCK_BYTES)
        self._keep: list[object] = []
        self.memories: list[Memory] = []
        self.dead = False

    # ---------------------------------------------------------------------------------------------- instances

    def instantiate_pre(self, pre: int) -> int:
        """Instantiate a module without imports from its InstancePre; the instance's address."""
        instance = ctypes.create_string_buffer(wasm.INSTANCE_BYTES)
        self._keep.append(instance)
        block = addressof(self._block)
        error = wasm.pre_instantiate(pre, self._context, addressof(instance), block + _TRAP)
        if error or self._trap():
            self._raise_start(error)
        return addressof(instance)

    def instantiate(self, module: int, imports: list[int]) -> int:
        """Instantiate a module with externs (addresses from export()) in the order of its imports."""
        size = wasm.EXTERN_BYTES
        externs = ctypes.create_string_buffer(max(1, len(imports)) * size)
        for i, extern in enumerate(imports):
            memmove(addressof(externs) + i * size, extern, size)
        instance = ctypes.create_string_buffer(wasm.INSTANCE_BYTES)
        self._keep.append(instance)
        block = addressof(self._block)
        error = wasm.instance_new(self._context, module, addressof(externs), len(imports), addressof(instance), block + _TRAP)
        if error or self._trap():
            self._raise_start(error)
        return addressof(instance)

    def export(self, instance: int, name: bytes, kind: int) -> int:
        """The address of an extern; its item (a func, for call()) is EXTERN_ITEM bytes further. SandboxError if absent."""
        extern = ctypes.create_string_buffer(wasm.EXTERN_BYTES)
        if not wasm.export_get(self._context, instance, name, len(name), addressof(extern)) or extern.raw[0] != kind:
            raise SandboxError(f"an instance has no export {name!r} of the expected kind")
        self._keep.append(extern)
        return addressof(extern)

    def function(self, instance: int, name: bytes) -> int:
        """The address of an exported function, for call()."""
        return self.export(instance, name, wasm.FUNC) + wasm.EXTERN_ITEM

    def memory(self, extern: int) -> Memory:
        """A view of an exported memory, valid until this store is closed."""
        memory = Memory(self._context, extern + wasm.EXTERN_ITEM)
        self.memories.append(memory)
        return memory

    def global_i32(self, instance: int, name: bytes) -> int:
        """The value of an exported i32 global."""
        value = ctypes.create_string_buffer(wasm.VAL_BYTES)
        wasm.global_get(self._context, self.export(instance, name, wasm.GLOBAL) + wasm.EXTERN_ITEM, addressof(value))
        return c_uint32.from_buffer(value, wasm.VAL_ITEM).value

    # -------------------------------------------------------------------------------------------------- calls

    async def call(
        self,
        function: int,
        arguments: tuple[int, ...],
        results: int,
        guest: Guest,
        meter: Meter,
        on_yield: Callable[[], None] | None = None,
    ) -> int:
        """Call an export with i32 arguments in slices; its result as an unsigned 64-bit number, 0 without one.

        Raises Trap, Failure and Stop; after any exception the store is dead. Cancelling is safe at any point.
        """
        future = self._begin(function, arguments, results)
        try:
            await self._engine.turns.run(future, guest, meter, on_yield)
        except BaseException:
            self.dead = True
            raise
        finally:
            # Rule "delete the future before the Store": also when the task was cancelled in the middle of a slice queue.
            self._future = 0
            wasm.future_delete(future)
        return self._result(results)

    def call_now(self, function: int, arguments: tuple[int, ...], results: int, guest: Guest, meter: Meter) -> int:
        """The same at once, without a loop: for start-up. The meter must have a limit."""
        future = self._begin(function, arguments, results)
        try:
            self._engine.turns.run_now(future, guest, meter)
        except BaseException:
            self.dead = True
            raise
        finally:
            self._future = 0
            wasm.future_delete(future)
        return self._result(results)

    def _begin(self, function: int, arguments: tuple[int, ...], results: int) -> int:
        if self._future or self.dead or not self._store:
            raise SandboxError("the instance is busy, dead or closed")
        block = self._block
        at = wasm.VAL_ITEM
        for value in arguments:
            c_uint64.from_buffer(block, at).value = value & 0xFFFFFFFF  # the kind before it is 0: i32
            at += wasm.VAL_BYTES
        # Rule "near deadline only around async calls": the guest must yield at the next tick.
        if not self._yields:
            wasm.yield_at_epoch(self._context, _SLICE_TICKS)
            self._yields = True
        wasm.set_epoch(self._context, _SLICE_TICKS)
        address = addressof(block)
        self._future = wasm.call_async(
            self._context, function, address, len(arguments), address + _RESULT, results, address + _TRAP, address + _ERROR
        )
        return self._future

    def _result(self, results: int) -> int:
        block = self._block
        if block.raw[_TRAP:] != _NOTHING:
            self.dead = True
            if trap := self._trap():
                c_void_p.from_buffer(block, _TRAP).value = None
                raise wasm.take_trap(trap)
            error = c_void_p.from_buffer(block, _ERROR).value
            c_void_p.from_buffer(block, _ERROR).value = None
            raise wasm.take_error(error or 0)
        if not results:
            return 0
        value: int = c_uint64.from_buffer(block, _RESULT + wasm.VAL_ITEM).value
        if block.raw[_RESULT] == wasm.KIND_I32:
            value &= 0xFFFFFFFF
        return value

    def _trap(self) -> int | None:
        return c_void_p.from_buffer(self._block, _TRAP).value

    def _raise_start(self, error: int | None) -> None:
        # Limits and the pool are what can fail here; both are about how much memory or how many tables are wanted.
        self.dead = True
        if error:
            failure = wasm.take_error(error)
            if "memory" in str(failure) and "limit" in str(failure):
                raise Stop(*MEMORY_STOP) from failure
            raise failure
        trap = self._trap() or 0
        c_void_p.from_buffer(self._block, _TRAP).value = None
        raise wasm.take_trap(trap)

    # -------------------------------------------------------------------------------------------------- close

    @property
    def closed(self) -> bool:
        return not self._store

    @property
    def engine(self) -> Engine:
        return self._engine

    def grow(self, memory: Memory, pages: int) -> None:
        """Grow one of our own memories by pages of 64 KiB. Stop("exceededMemory") when the limit forbids it."""
        before = ctypes.create_string_buffer(8)
        error = wasm.memory_grow(self._context, memory.address, pages, addressof(before))
        if error:
            raise Stop(*MEMORY_STOP) from wasm.take_error(error)

    def close(self) -> None:
        """Free everything. Memory views raise from now on."""
        store, self._store = self._store, None
        if not store:
            return
        self.dead = True
        if self._future:  # only when a coroutine was dropped without being closed
            wasm.future_delete(self._future)
            self._future = 0
        size = 0
        for memory in self.memories:
            size += memory.grown
            memory.close()
        self._engine.give_back(store, size)


_NOTHING = bytes(16)


class Memory:
    """A guest's linear memory. Never moves (the pool reserves its whole range), only grows."""

    __slots__ = ("_base", "_context", "_first", "_size", "address")

    def __init__(self, context: int, address: int) -> None:
        self._context = context
        self.address = address
        self._base: int = wasm.memory_data(context, address) or 0
        self._size: int = wasm.memory_size(context, address)
        self._first = self._size

    @property
    def grown(self) -> int:
        """About how many bytes a guest may have touched: what it grew by, and all of a memory that began large."""
        return self.size - (self._first if self._first <= _LARGE else 0)

    @property
    def size(self) -> int:
        """Its size in bytes, now."""
        if self._base:
            self._size = wasm.memory_size(self._context, self.address)
        return self._size

    def locate(self, pointer: int, length: int) -> int:
        """The host's address of a range of the memory. OutOfBounds unless all of it lies inside.

        Rule "mask to u32, check ptr + len <= size, then read": a guest's numbers may be negative, huge or both.
        """
        end = (pointer & 0xFFFFFFFF) + (length & 0xFFFFFFFF)
        if end > self._size and end > self.size:
            raise OutOfBounds(f"{length & 0xFFFFFFFF} bytes at 0x{pointer & 0xFFFFFFFF:x} are not inside the memory of {self._size} bytes")
        if not self._base:
            raise SandboxError("the memory's store is closed")
        return self._base + (pointer & 0xFFFFFFFF)

    def read(self, pointer: int, length: int) -> bytes:
        """A copy of a range."""
        return string_at(self.locate(pointer, length), length & 0xFFFFFFFF)

    def write(self, pointer: int, data: bytes) -> None:
        """Write into a range."""
        memmove(self.locate(pointer, len(data)), data, len(data))

    def words(self, pointer: int, length: int) -> tuple[memoryview, memoryview]:
        """A range as u32 and as u64 words, both writable: 0.04 us per access instead of 0.3 us for a call.

        Drop them before the store is closed; an access after that would crash the process.
        """
        view = memoryview((ctypes.c_ubyte * length).from_address(self.locate(pointer, length))).cast("B")
        return view.cast("I"), view.cast("Q")

    def close(self) -> None:
        """Forget the address."""
        self._base = self._size = 0
