"""Engine: the one wasmtime engine of a process, with its pool of instances, its epochs and its compiled modules."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import platform
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import wasmtime

from otelbridge.errors import SandboxError
from otelbridge.sandbox import wasm
from otelbridge.sandbox.cache import Cache
from otelbridge.sandbox.pages import WrittenPages
from otelbridge.sandbox.stacks import Stacks
from otelbridge.sandbox.ticker import Ticker
from otelbridge.sandbox.turns import Turns

__all__ = ["Code", "Engine", "EngineFull", "Template", "configure"]

MIB = 1 << 20
RESERVATION = 4 << 30  # address space per memory: all a 32-bit pointer can reach, so that bounds checks cost nothing
GUARD = 32 * MIB
ADDRESS_SPACE = 127 << 40  # of a process on 64-bit machines: 47 bits, less some room for everything else
ASYNC_STACK = 16 * MIB
WASM_STACK = 15 * MIB
TABLE_ELEMENTS = 20_000
TABLES = 2  # per module
MEMORIES = 2  # per instance: the guest's own, and the shim's with its log lines
INSTANCES = 3  # core instances per sandbox: image, shim, guest
CLOSE_INLINE = 8 * MIB  # freeing 512 MiB of touched memory took 76-214 ms: larger stores are freed by a thread


class EngineFull(SandboxError):
    """All instances the pool can hold are in use. The loader sheds load."""


def configure() -> wasmtime.Config:
    """What decides how code is compiled. The compiling child process uses the same, or its output would not load."""
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.cranelift_opt_level = "speed"
    # Rule "fork after an Engine exists, then parallel compile in the child, hangs".
    config.parallel_compilation = False
    config.memory_reservation = RESERVATION
    config.memory_guard_size = GUARD
    config.memory_may_move = False  # Memory keeps its address
    # Rule "keep max_wasm_stack at its default or below the thread's stack": all guest code, even at start-up, runs on
    # fibers with stacks of their own, so no thread's stack size matters. Larger than the default of 512 KiB, because
    # the JavaScript engine must find out about deep recursion itself (a RangeError) before a trap ends the invocation.
    wasm.set_async_stack(config, ASYNC_STACK)
    config.max_wasm_stack = WASM_STACK
    # What guests may use: what compilers emit today. What is left out needs a heap or threads of the host.
    config.wasm_multi_memory = True  # of the log shim; guests may have one memory
    config.wasm_threads = False
    config.wasm_memory64 = False
    config.wasm_function_references = False
    config.wasm_gc = False
    config.wasm_exceptions = False
    config.wasm_component_model = False
    config.wasm_stack_switching = False
    config.wasm_custom_page_sizes = False
    wasm.set_flag(config, "gc_support", False)
    wasm.set_flag(config, "concurrency_support", False)
    return config


class Code:
    """A compiled module that needs imports; `address` is for Store.instantiate()."""

    __slots__ = ("_module", "address")

    def __init__(self, module: wasmtime.Module) -> None:
        self._module = module
        self.address = wasm.raw(module)


class Template:
    """A module without imports, ready to be instantiated: a memory image. `address` is for Store.instantiate_pre()."""

    __slots__ = ("_linker", "_module", "_pre", "address")

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module) -> None:
        self._module = module
        self._linker = wasmtime.Linker(engine)
        self._pre = self._linker.instantiate_pre(module)
        self.address = wasm.raw(self._pre)

    def serialize(self) -> bytearray:
        """The compiled module, for the cache."""
        return self._module.serialize()


def _free_address_space() -> int:
    """Bytes of addresses that this process can still reserve; where the system does not tell, all of them."""
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        used = 0
    return ADDRESS_SPACE - used


class Engine:
    """See the module's text. One per process (rule "FuncType used with two Engines aborts: one Engine per process").

    `max_instances`: how many sandboxes may exist at once; `max_memory_bytes`: the largest memory limit of one.
    `compile_seconds`: how long an untrusted module may compile. SandboxError when the engine can't be made here.
    """

    def __init__(
        self,
        *,
        cache_dir: Path,
        max_instances: int = 1000,
        max_memory_bytes: int = 512 * MIB,
        tick_ms: float = 2,
        compile_seconds: float = 20,
    ) -> None:
        version = wasm.check_version()
        self._check_address_space(max_instances)
        config = configure()
        wasm.set_pool(
            config,
            total_core_instances=INSTANCES * max_instances,
            total_memories=MEMORIES * max_instances,
            total_tables=TABLES * max_instances,
            total_stacks=max_instances,
            total_gc_heaps=0,
            max_memory_size=max_memory_bytes,
            max_memories_per_module=MEMORIES,
            max_tables_per_module=TABLES,
            table_elements=TABLE_ELEMENTS,
            max_core_instance_size=MIB,
        )
        try:
            self._engine = wasmtime.Engine(config)
        except wasmtime.WasmtimeError as error:
            raise SandboxError(f"The sandbox engine can't start: {wasm.message_of(error)}") from None
        self.address = wasm.raw(self._engine)
        self.max_instances = max_instances
        self.max_memory_bytes = max_memory_bytes
        self.table_elements = TABLE_ELEMENTS
        self.compile_seconds = compile_seconds
        self.cache = Cache(cache_dir)
        self.written = WrittenPages()
        self._ticker = Ticker(self.address, tick_ms=tick_ms)
        self.turns = Turns(self._ticker)
        self.stacks = Stacks(count=max_instances, size=ASYNC_STACK)
        self.calls = 0  # how many guests are inside a call
        self._taken = self._freed = 0
        self._freed_later = 0  # written by the closing thread only: `-=` from two threads would lose counts
        self._closer: ThreadPoolExecutor | None = None
        self._stamp = f"1 {version} {platform.machine()} {RESERVATION} {GUARD} {ASYNC_STACK} {WASM_STACK}"
        self._closed = False

    @staticmethod
    def _check_address_space(max_instances: int) -> None:
        # Rule "watch address-space limits (ulimit -v, containers)": 1000 instances reserve 8 TiB, touch next to nothing.
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        wanted = max_instances * (MEMORIES * (RESERVATION + GUARD) + ASYNC_STACK)
        if limit != resource.RLIM_INFINITY and limit < wanted:
            raise SandboxError(
                f"The address space of this process is limited to {limit >> 30} GiB (ulimit -v), but {max_instances} "
                f"sandbox instances reserve {wanted >> 30} GiB. Lift the limit or set sandbox.max_instances lower."
            )
        # Engines that nobody uses any more may wait for the garbage collector with their reservations: after fifteen of
        # them in one process wasmtime would abort it. Twice, because the reservation has to be one piece.
        if _free_address_space() < 2 * wanted:
            gc.collect()
            if (free := _free_address_space()) < 2 * wanted:
                raise SandboxError(
                    f"This process has {free >> 30} GiB of address space left, but {max_instances} sandbox instances reserve "
                    f"{wanted >> 30} GiB. Close other bridges in it or set sandbox.max_instances lower."
                )

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the epochs, wait for stores that are being freed. Close all instances before. Idempotent."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """aclose() for who has no loop."""
        if self._closed:
            return
        self._closed = True
        closer, self._closer = self._closer, None
        if closer is not None:
            closer.shutdown()
        self._ticker.close()
        self.written.close()

    def settle(self) -> None:
        """Wait until all closed stores are freed, so that `live` is exact."""
        if self._closer is not None:
            self._closer.submit(int).result()

    # -------------------------------------------------------------------------------------------------- modules

    def key(self, kind: str, wasm_bytes: bytes) -> str:
        """The cache key of a module: everything that its compiled form depends on."""
        digest = hashlib.sha256(f"{kind} {self._stamp} {self.max_memory_bytes}\n".encode())
        digest.update(wasm_bytes)
        return digest.hexdigest()

    @property
    def compiler(self) -> wasmtime.Engine:
        """wasmtime's own engine, for compile jobs on another thread: it may be shared, unlike everything made by it."""
        return self._engine

    def compile(self, wasm_bytes: bytes) -> wasmtime.Module:
        """Compile a module of our own, now. Failure when wasmtime refuses it. Untrusted modules: compiler.py."""
        return wasm.compile_module(self._engine, wasm_bytes)

    def load(self, path: Path) -> wasmtime.Module:
        """Map a compiled module that Cache.get() has verified. Failure when it was made on another kind of machine, or
        wants more than the pool gives."""
        try:
            return wasmtime.Module.deserialize_file(self._engine, str(path))
        except wasmtime.WasmtimeError as error:
            raise wasm.Failure(wasm.message_of(error)) from None

    def compile_cached(self, kind: str, wasm_bytes: bytes) -> wasmtime.Module:
        """compile(), but through the cache. What was just compiled is mapped from there too: processes share a file's pages."""
        key = self.key(kind, wasm_bytes)
        entry = self.cache.get(key)
        if entry is not None:
            with contextlib.suppress(wasm.Failure):
                return self.load(entry.files["module"])
        module = self.compile(wasm_bytes)
        entry = self.cache.put(key, {}, {"module": bytes(module.serialize())})
        if entry is not None:
            with contextlib.suppress(wasm.Failure):
                return self.load(entry.files["module"])
        return module

    def code(self, module: wasmtime.Module) -> Code:
        """Prepare a module with imports for instantiation."""
        return Code(module)

    def template(self, module: wasmtime.Module) -> Template:
        """Prepare a module without imports for instantiation."""
        return Template(self._engine, module)

    # ------------------------------------------------------------------------------------------------ instances

    @property
    def live(self) -> int:
        """How many stores exist."""
        return self._taken - self._freed - self._freed_later

    def take(self) -> None:
        """Count a new store. EngineFull when there is no room: asking the pool would only find out later."""
        if self._closed:
            raise SandboxError("the engine is closed")
        if self.live >= self.max_instances:
            raise EngineFull(f"All {self.max_instances} sandbox instances are in use.")
        self._taken += 1

    def give_back(self, store: int, touched: int) -> None:
        """Free a store, at once or, when that would hold up the loop, on a thread of its own."""
        if touched <= CLOSE_INLINE or self._closed:
            wasm.store_delete(store)
            self._freed += 1
            return
        if self._closer is None:
            self._closer = ThreadPoolExecutor(1, thread_name_prefix="otelbridge-free")
        self._closer.submit(self._free, store)

    def _free(self, store: int) -> None:
        # Moving a store to a thread is allowed, sharing it is not (wasmtime-py #322): nobody else has it any more.
        wasm.store_delete_free(store)
        self._freed_later += 1
