"""The door to wasmtime: typed functions of its C library, and its errors as Python exceptions.

What the public wrapper does well (configuration, compiling) is used as it is; what runs for every invocation goes
through ctypes here: an empty export call costs 21 us through the wrapper and 0.4 us this way, a fresh store with a
call 40-45 us and 7 us. Nobody outside this wing may import wasmtime.

There is no way here to define a host function in Python, and none is needed: guests import from a shim in wasm. So none
of the hazards of callbacks exists: exceptions that surface in another thread, SIGINT that aborts the process, SystemExit
that is swallowed, epochs that don't count, the wrapper's unlocked slab.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
from collections.abc import Callable
from ctypes import POINTER, c_bool, c_char_p, c_int64, c_size_t, c_uint64, c_void_p
from typing import Any

import msgspec
import wasmtime
from wasmtime import _ffi as ffi

from otelbridge.errors import SandboxError

__all__ = ["Failure", "Frame", "Trap", "check_version", "compile_module", "message_of", "raw", "take_error", "take_trap", "wat"]

# The layouts below belong to one release line; another one could abort the process instead of raising.
VERSION = "50."

EXTERN_BYTES: int = ctypes.sizeof(ffi.wasmtime_extern_t)
EXTERN_ITEM: int = ffi.wasmtime_extern_t.of.offset  # where the func, memory or global starts inside an extern
VAL_BYTES = ctypes.sizeof(ffi.wasmtime_val_t)
VAL_ITEM: int = ffi.wasmtime_val_t.of.offset
INSTANCE_BYTES = ctypes.sizeof(ffi.wasmtime_instance_t)
KIND_I32, KIND_I64 = 0, 1  # of a wasmtime_val_t
FUNC, GLOBAL, TABLE, MEMORY = 0, 1, 2, 3  # of a wasmtime_extern_t

_free = ctypes.CDLL(ffi.dll._name)  # releases the GIL: for what runs guest code or takes long
_held = ctypes.PyDLL(ffi.dll._name)  # keeps it: giving it up and taking it again costs more than these calls


def _function(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    # library[name] makes a private object, so that these prototypes never disturb those of the wrapper
    function = library[name]
    function.restype = result
    function.argtypes = arguments
    return function


store_new = _function(_held, "wasmtime_store_new", c_void_p, c_void_p, c_void_p, c_void_p)
store_context = _function(_held, "wasmtime_store_context", c_void_p, c_void_p)
store_delete = _function(_held, "wasmtime_store_delete", None, c_void_p)
store_delete_free = _function(_free, "wasmtime_store_delete", None, c_void_p)
store_limiter = _function(_held, "wasmtime_store_limiter", None, c_void_p, c_int64, c_int64, c_int64, c_int64, c_int64)
set_epoch = _function(_held, "wasmtime_context_set_epoch_deadline", None, c_void_p, c_uint64)
# The binding declares a result for this one; it is garbage, so none is read.
yield_at_epoch = _function(_held, "wasmtime_context_epoch_deadline_async_yield_and_update", None, c_void_p, c_uint64)
pre_instantiate = _function(_held, "wasmtime_instance_pre_instantiate", c_void_p, c_void_p, c_void_p, c_void_p, c_void_p)
instance_new = _function(_held, "wasmtime_instance_new", c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_void_p)
export_get = _function(_held, "wasmtime_instance_export_get", c_bool, c_void_p, c_void_p, c_char_p, c_size_t, c_void_p)
memory_data = _function(_held, "wasmtime_memory_data", c_void_p, c_void_p, c_void_p)
memory_size = _function(_held, "wasmtime_memory_data_size", c_size_t, c_void_p, c_void_p)
memory_grow = _function(_held, "wasmtime_memory_grow", c_void_p, c_void_p, c_void_p, c_uint64, c_void_p)
global_get = _function(_held, "wasmtime_global_get", None, c_void_p, c_void_p, c_void_p)
call_async = _function(
    _held, "wasmtime_func_call_async", c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p, c_void_p
)
call_now = _function(_held, "wasmtime_func_call_unchecked", c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p)
future_poll = _function(_free, "wasmtime_call_future_poll", c_bool, c_void_p)
future_delete = _function(_held, "wasmtime_call_future_delete", None, c_void_p)
_module_new = _function(_free, "wasmtime_module_new", c_void_p, c_void_p, c_char_p, c_size_t, c_void_p)
increment_epoch = _function(_held, "wasmtime_engine_increment_epoch", None, c_void_p)

_set_flag: dict[str, Callable[..., Any]] = {
    name: _function(_held, f"wasmtime_config_{name}_set", None, c_void_p, c_bool)
    for name in ("gc_support", "concurrency_support", "native_unwind_info")
}
_set_stack = _function(_held, "wasmtime_config_async_stack_size_set", None, c_void_p, c_uint64)


class Frame(msgspec.Struct, frozen=True):
    """One function on the stack of a trap. `offset`: of the instruction in the module's bytes."""

    function: int
    name: str | None
    offset: int


class Trap(Exception):
    """A guest trapped. `code` is the name of the trap code, for example "UNREACHABLE", or None."""

    def __init__(self, code: str | None, message: str, frames: tuple[Frame, ...]) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.frames = frames


class Failure(Exception):
    """wasmtime refused an operation; the message says why."""


def check_version() -> str:
    """wasmtime's version. SandboxError for one whose layouts this module does not know."""
    version = importlib.metadata.version("wasmtime")
    if not version.startswith(VERSION):
        raise SandboxError(f"wasmtime {version} is installed, but the sandbox needs {VERSION}*: install otelbridge's own dependencies.")
    return version


def raw(managed: Any) -> int:
    """The address behind an object of the wrapper."""
    address = ctypes.cast(managed.ptr(), c_void_p).value
    if not address:
        raise SandboxError("wasmtime gave a null pointer")
    return address


def message_of(error: BaseException) -> str:
    """An error's first lines without wasmtime's trailing backtrace, for a person."""
    return str(error).split("\nerror while executing", 1)[0].strip()


def take_error(address: int) -> Failure:
    """A wasmtime_error_t as an exception; frees it."""
    return Failure(message_of(wasmtime.WasmtimeError._from_ptr(ctypes.cast(address, POINTER(ffi.wasmtime_error_t)))))


def take_trap(address: int) -> Trap:
    """A wasm_trap_t as an exception with its code and frames; frees it."""
    trap = wasmtime.Trap._from_ptr(ctypes.cast(address, POINTER(ffi.wasm_trap_t)))
    try:
        code: str | None = trap.trap_code.name if trap.trap_code else None
    except ValueError:  # a code newer than the wrapper's list
        code = None
    frames = tuple(Frame(frame.func_index, frame.func_name, frame.module_offset) for frame in trap.frames)
    return Trap(code, message_of(trap), frames)


def set_flag(config: wasmtime.Config, name: str, on: bool) -> None:
    """A switch of the configuration that the wrapper lacks."""
    _set_flag[name](raw(config), on)


def set_async_stack(config: wasmtime.Config, size: int) -> None:
    """The size of a fiber's stack in bytes."""
    _set_stack(raw(config), size)


def set_pool(config: wasmtime.Config, **limits: int) -> None:
    """Allocate instances from a pool; `limits` are named as in wasmtime_pooling_allocation_config_*_set."""
    pool = ffi.wasmtime_pooling_allocation_config_new()
    try:
        for name, value in limits.items():
            getattr(ffi, f"wasmtime_pooling_allocation_config_{name}_set")(pool, value)
        ffi.wasmtime_pooling_allocation_strategy_set(config.ptr(), pool)
    finally:
        ffi.wasmtime_pooling_allocation_config_delete(pool)


def compile_module(engine: wasmtime.Engine, data: bytes) -> wasmtime.Module:
    """Compile a module. Failure when wasmtime refuses it.

    The wrapper's constructor copies the bytes first, into fresh memory: a quarter of what an image of 4 MB costs.
    """
    module = POINTER(ffi.wasmtime_module_t)()
    error = _module_new(raw(engine), data, len(data), ctypes.addressof(module))
    if error:
        raise take_error(error)
    return wasmtime.Module._from_ptr(module)


def wat(text: str) -> bytes:
    """WebAssembly text as a binary module. Failure for a syntax error."""
    try:
        return bytes(wasmtime.wat2wasm(text))
    except wasmtime.WasmtimeError as error:
        raise Failure(str(error)) from None
