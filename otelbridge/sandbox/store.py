"""Store: one guest's own world in wasmtime, with its instances, memories and the one call that may be under way.

A store belongs to the event loop's thread. Every address handed out by a store dies with it, so they stay in here and
in Memory, whose reads copy (rules "Store-bound objects never leave their owner", "copy the bytes before closing").
Nothing refers to a store but its owner, who closes it (rule "always close; no closures over stores": 8 KiB leak each).
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import addressof, c_char, c_ubyte, memmove
from typing import TYPE_CHECKING

from otelbridge.errors import SandboxError
from otelbridge.sandbox import wasm
from otelbridge.sandbox.pages import PAGE_BYTES, ZERO_PAGE, Pages, WrittenPages
from otelbridge.sandbox.stop import MEMORY_STOP, Meter, Stop
from otelbridge.sandbox.wasm import call_async, future_delete, set_epoch

if TYPE_CHECKING:
    from otelbridge.sandbox.engine import Engine
    from otelbridge.sandbox.turns import Guest

__all__ = ["Memory", "OutOfBounds", "Store"]

ARGUMENTS = 2  # no export of ours or of the guest ABI takes more
# One block of memory per store holds all that wasmtime reads and writes by address: the words of the call under way
# (one at a time), then instances and externs as they are asked for. A ctypes object for each of them cost 1 us.
_RESULT = ARGUMENTS * wasm.VAL_BYTES
_TRAP = _RESULT + wasm.VAL_BYTES
_ERROR = _TRAP + 8
_ITEMS = _ERROR + 8
# The same in words of 8 bytes.
_ARGUMENT, _VAL_WORDS = wasm.VAL_ITEM // 8, wasm.VAL_BYTES // 8
_RESULT_WORD, _TRAP_WORD, _ERROR_WORD = (_RESULT + wasm.VAL_ITEM) // 8, _TRAP // 8, _ERROR // 8
_SLICE_TICKS = 1  # a slice ends at the next tick: 0 to 1 tick long
_LARGE = 64 << 20
_MOST_RESTORED = 2 << 20  # 0.4 ms
_FAR_TICKS = 5_000  # 10 s: for what must end by itself, yet must not hang the process if it does not


class OutOfBounds(Exception):
    """A pointer and length that do not lie inside a guest's memory."""


class Store:
    """A wasmtime store. SandboxError subclass EngineFull when the pool is full; close() is idempotent."""

    __slots__ = (
        "_at",
        "_block",
        "_closing",
        "_context",
        "_end",
        "_engine",
        "_future",
        "_next",
        "_store",
        "_words",
        "_yields",
        "dead",
        "memories",
    )

    def __init__(self, engine: Engine, *, memory_bytes: int, instances: int, tables: int, memories: int, externs: int) -> None:
        """`externs`: how many exports will be asked for in all."""
        engine.take()
        self._engine = engine
        self._future = 0
        self._closing = False
        self._store = wasm.store_new(engine.address, None, None)
        self._context = wasm.store_context(self._store)
        # Rule "always set all five limits of set_limits": without one for tables a single table.grow cost 1.5 GB.
        # Rule "1 GiB memory.fill is not interruptible: small memory limit": the limit also bounds the longest slice, about
        # 0.15 ms for each MiB that a guest fills in one instruction.
        wasm.store_limiter(self._store, memory_bytes, engine.table_elements, instances, tables, memories)
        # Rule "set the epoch deadline before instantiating". Start functions don't run there (image.py makes them
        # exports), so nothing of the guest's runs outside of a slice.
        set_epoch(self._context, _FAR_TICKS)
        # A store that yields refuses synchronous instantiation, so that comes with the first call.
        self._yields = False
        self._block = (c_char * (_ITEMS + instances * wasm.INSTANCE_BYTES + externs * wasm.EXTERN_BYTES))()
        self._at = addressof(self._block)
        self._words = memoryview(self._block).cast("B").cast("Q")
        self._next = self._at + _ITEMS
        self._end = self._at + len(self._block)
        self.memories: list[Memory] = []
        self.dead = False

    # ---------------------------------------------------------------------------------------------- instances

    def _item(self, size: int) -> int:
        item = self._next
        if item + size > self._end:
            raise SandboxError("more exports are asked for than the store has room for")
        self._next = item + size
        return item

    def instantiate_pre(self, pre: int) -> int:
        """Instantiate a module without imports from its InstancePre; the instance's address."""
        instance = self._item(wasm.INSTANCE_BYTES)
        error = wasm.pre_instantiate(pre, self._context, instance, self._at + _TRAP)
        if error or self._words[_TRAP_WORD]:
            self._raise_start(error)
        return instance

    def instantiate(self, module: int, imports: int, count: int) -> int:
        """Instantiate a module. `imports`: the first of `count` externs that export() gave one after another."""
        instance = self._item(wasm.INSTANCE_BYTES)
        error = wasm.instance_new(self._context, module, imports, count, instance, self._at + _TRAP)
        if error or self._words[_TRAP_WORD]:
            self._raise_start(error)
        return instance

    def export(self, instance: int, name: bytes, kind: int) -> int:
        """The address of an extern; its item (a func, for call()) is EXTERN_ITEM bytes further. SandboxError if absent."""
        extern = self._item(wasm.EXTERN_BYTES)
        if not wasm.export_get(self._context, instance, name, len(name), extern) or self._block[extern - self._at] != _KINDS[kind]:
            raise SandboxError(f"an instance has no export {name!r} of the expected kind")
        return extern

    def function(self, instance: int, name: bytes) -> int:
        """The address of an exported function, for call()."""
        return self.export(instance, name, wasm.FUNC) + wasm.EXTERN_ITEM

    def memory(self, extern: int) -> Memory:
        """A view of an exported memory, valid until this store is closed."""
        memory = Memory(self._context, extern + wasm.EXTERN_ITEM)
        self.memories.append(memory)
        return memory

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
        turns, slices = self._engine.turns, meter.slices
        try:
            if not turns.begin(future, guest, meter):
                await turns.rest(future, guest, meter, on_yield, begun=meter.slices > slices)
        except BaseException:
            self.dead = True
            raise
        finally:
            # Rule "delete the future before the Store": also when the task was cancelled in the middle of a slice queue.
            self._end_call(future)
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
            self._end_call(future)
        return self._result(results)

    def _begin(self, function: int, arguments: tuple[int, ...], results: int) -> int:
        if self._future or self.dead or not self._store:
            raise SandboxError("the instance is busy, dead or closed")
        word = _ARGUMENT
        for value in arguments:  # the words before them say KIND_I32, which is 0, and nobody writes there
            self._words[word] = value & 0xFFFFFFFF
            word += _VAL_WORDS
        if not self._yields:
            wasm.yield_at_epoch(self._context, _SLICE_TICKS)
            self._yields = True
        # Rule "near deadline only around async calls": the guest must yield at the next tick.
        set_epoch(self._context, _SLICE_TICKS)
        at = self._at
        self._engine.calls += 1
        future: int = call_async(self._context, function, at, len(arguments), at + _RESULT, results, at + _TRAP, at + _ERROR)
        self._future = future
        return future

    def _end_call(self, future: int) -> None:
        self._future = 0
        future_delete(future)
        engine = self._engine
        engine.calls -= 1
        if not engine.calls:
            engine.stacks.quiet()
        if self._closing:
            self.dead = True
            self.close()

    def _result(self, results: int) -> int:
        words = self._words
        trap, error = words[_TRAP_WORD], words[_ERROR_WORD]
        if trap or error:
            self.dead = True
            words[_TRAP_WORD] = words[_ERROR_WORD] = 0
            raise wasm.take_trap(trap) if trap else wasm.take_error(error)
        if not results:
            return 0
        value: int = words[_RESULT_WORD]
        return value if self._block[_RESULT] == _I64 else value & 0xFFFFFFFF

    def _raise_start(self, error: int | None) -> None:
        # Limits and the pool are what can fail here; both are about how much memory or how many tables are wanted.
        self.dead = True
        if error:
            failure = wasm.take_error(error)
            if "memory" in str(failure) and "limit" in str(failure):
                raise Stop(*MEMORY_STOP) from failure
            raise failure
        trap = self._words[_TRAP_WORD]
        self._words[_TRAP_WORD] = 0
        raise wasm.take_trap(trap)

    # -------------------------------------------------------------------------------------------------- close

    @property
    def closed(self) -> bool:
        return not self._store

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return bool(self._future)

    @property
    def engine(self) -> Engine:
        return self._engine

    def global_i32(self, extern: int) -> int:
        """The value of an exported global, as an unsigned number."""
        wasm.global_get(self._context, extern + wasm.EXTERN_ITEM, self._at + _RESULT)
        return int(self._words[_RESULT_WORD]) & 0xFFFFFFFF

    def grow(self, memory: Memory, pages: int) -> None:
        """Grow one of our own memories by pages of 64 KiB. Stop("exceededMemory") when the limit forbids it."""
        # the result word of a call serves for the size before, which nobody asks for
        error = wasm.memory_grow(self._context, memory.address, pages, self._at + _RESULT)
        if error:
            raise Stop(*MEMORY_STOP) from wasm.take_error(error)

    def close(self) -> None:
        """Free everything. Memory views raise from now on. While a call is under way, as soon as that has ended."""
        if self._future:
            # Freeing the store under a suspended fiber would end the process; its owner deletes the future first.
            self._closing = True
            return
        store, self._store = self._store, None
        if not store:
            return
        self.dead = True
        touched = 0
        for memory in self.memories:
            touched += memory.touched
            memory.close()
        self._engine.give_back(store, touched)


_KINDS = [bytes([kind]) for kind in range(4)]
_I64 = _KINDS[wasm.KIND_I64]


_NOTHING = memoryview(bytearray())


class Memory:
    """A guest's linear memory. Never moves (the pool reserves its whole range), only grows."""

    __slots__ = ("_base", "_context", "_first", "_size", "_view", "address")

    def __init__(self, context: int, address: int) -> None:
        self._context = context
        self.address = address
        self._base: int = wasm.memory_data(context, address) or 0
        self._size: int = wasm.memory_size(context, address)
        self._first = self._size
        self._view = _NOTHING

    @property
    def touched(self) -> int:
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
        pointer &= 0xFFFFFFFF
        end = pointer + (length & 0xFFFFFFFF)
        if end > len(self._view):
            self._look(pointer, length)
        return self._view[pointer:end].tobytes()

    def write(self, pointer: int, data: bytes) -> None:
        """Write into a range."""
        pointer &= 0xFFFFFFFF
        end = pointer + len(data)
        if end > len(self._view):
            self._look(pointer, len(data))
        self._view[pointer:end] = data

    def _look(self, pointer: int, length: int) -> None:
        """See all of the memory as it is now: a slice of a view costs a third of a call by address. OutOfBounds as in locate()."""
        self.locate(pointer, length)
        self._view = memoryview((c_ubyte * self._size).from_address(self._base)).cast("B")

    def words(self, pointer: int, length: int) -> tuple[memoryview, memoryview]:
        """A range as u32 and as u64 words, both writable: 0.04 us per access instead of 0.3 us for a call.

        Drop them before the store is closed; an access after that would crash the process.
        """
        view = memoryview((c_ubyte * length).from_address(self.locate(pointer, length))).cast("B")
        return view.cast("I"), view.cast("Q")

    def patch(self, pages: Pages) -> None:
        """Write these pages. OutOfBounds."""
        for offset, address in pages.at.items():
            memmove(self.locate(offset, PAGE_BYTES), address, PAGE_BYTES)

    def written(self, written: WrittenPages) -> list[tuple[int, int]] | None:
        """Which parts are not as the image that is mapped here, as (offset, end); None when that can't be told."""
        start = self._base
        if not start or not written.works:
            return None
        try:
            ranges = written.ranges(start, self._size)
        except OSError:
            return None
        return [(at - start, end - start) for at, end in ranges] if ranges is not None else None

    def restore(self, delta: Pages, base: Pages, written: WrittenPages) -> bool:
        """Give every page that was written to the content it has in `delta`, else in `base`, else zeros. False, with nothing
        promised, when that is not possible, or so much that a new instance is cheaper."""
        start = self._base
        ranges = self.written(written)
        if ranges is None or sum(end - at for at, end in ranges) > _MOST_RESTORED:
            return False
        ours, common = delta.at, base.at
        for at, end in ranges:
            for page in range(at, end, PAGE_BYTES):
                memmove(start + page, ours.get(page) or common.get(page) or ZERO_PAGE, PAGE_BYTES)
        return True

    def close(self) -> None:
        """Forget the address."""
        self._base = self._size = 0
        self._view = _NOTHING
