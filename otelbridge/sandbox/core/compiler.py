"""Compiles modules that strangers sent, where a compile bomb can do no harm.

Compiling can't be interrupted, and 9 KB can keep the compiler busy for 6 s, so it happens in a child process that is
killed after a while (rule "compile bomb"; spawned, never forked: rule "fork after an Engine exists"). Starting one
costs 150 ms of CPU. Modules within the bounds of _is_small() take no longer than that at their worst and 1 ms
usually: they are compiled on a thread.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import resource
import sys
from collections.abc import Mapping

import msgspec
import wasmtime

from otelbridge.errors import WorkerCodeError
from otelbridge.sandbox import binary, wasm
from otelbridge.sandbox.cache import Entry
from otelbridge.sandbox.core.plan import Plan, plan
from otelbridge.sandbox.engine import Engine, configure

__all__ = ["MAX_WASM_BYTES", "Compiler", "Job", "child"]

MAX_WASM_BYTES = 64 << 20
CHILDREN = 2  # at a time
CHILD_ADDRESS_SPACE = 6 << 30
_SMALL_BYTES, _SMALL_ARITY, _SMALL_LOCALS = 4096, 16, 1000
_INLINE_BYTES = 64 << 10  # hashing and reading more than this is left to a thread


class Job(msgspec.Struct, frozen=True):
    """What the child is asked. `wasm` in base64."""

    wasm: str
    allowed: dict[str, str]
    max_memory_bytes: int


class _Reply(msgspec.Struct, frozen=True):
    error: str | None = None
    plan: Plan | None = None
    code: str = ""
    image: str = ""


class Compiled(msgspec.Struct, frozen=True):
    """A compiled module; `code` and `image` are serialized."""

    plan: Plan
    code: bytes
    image: bytes


class Compiler:
    """Turns a guest's bytes into a cache entry with the files "code" and "image" and the plan."""

    def __init__(self, engine: Engine, allowed: Mapping[str, str], stamp: str) -> None:
        self._engine = engine
        self._allowed = dict(allowed)
        self._kind = f"guest {stamp}"
        self._children = asyncio.Semaphore(CHILDREN)

    async def compile(self, guest: bytes) -> tuple[Plan, Entry]:
        """The entry of a module, compiled if need be. WorkerCodeError says what is wrong with it."""
        if len(guest) > MAX_WASM_BYTES:
            raise WorkerCodeError(f"The module has {len(guest)} bytes; the most is {MAX_WASM_BYTES}.")
        if not guest.startswith(b"\0asm"):
            raise WorkerCodeError("The module is not WebAssembly: it does not begin with \\0asm.")
        if guest[4:8] != b"\1\0\0\0":
            raise WorkerCodeError("The module is not a core module of version 1; components are not supported.")
        if len(guest) > _INLINE_BYTES:
            key, entry = await asyncio.to_thread(self._find, guest)
        else:
            key, entry = self._find(guest)
        if entry is not None:
            return msgspec.json.decode(entry.meta["plan"], type=Plan), entry
        if _is_small(guest):
            compiled = await asyncio.to_thread(compile_guest, self._engine.compiler, guest, self._allowed, self._engine.max_memory_bytes)
        else:
            async with self._children:
                compiled = await self._in_child(guest)
        return compiled.plan, await asyncio.to_thread(self._store, key, compiled)

    def _find(self, guest: bytes) -> tuple[str, Entry | None]:
        key = self._engine.key(self._kind, guest)
        return key, self._engine.cache.get(key)

    def forget(self, guest: bytes) -> None:
        """Drop an entry that can't be loaded here."""
        self._engine.cache.drop(self._engine.key(self._kind, guest))

    def _store(self, key: str, compiled: Compiled) -> Entry:
        meta = {"plan": msgspec.json.encode(compiled.plan).decode()}
        entry = self._engine.cache.put(key, meta, {"code": compiled.code, "image": compiled.image})
        if entry is None:
            raise WorkerCodeError("The compiled module can't be stored: the cache directory is full or not writable.")
        return entry

    async def _in_child(self, guest: bytes) -> Compiled:
        seconds = self._engine.compile_seconds
        job = msgspec.json.encode(Job(base64.b64encode(guest).decode(), self._allowed, self._engine.max_memory_bytes))
        # The path is handed over, so that the child finds this package however it was found here.
        program = "import json,sys; sys.path[:] = json.loads(sys.argv[1]); from otelbridge.sandbox.core.compiler import child; child()"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            json.dumps(sys.path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(job), seconds)
        except TimeoutError:
            raise WorkerCodeError(f"The module took longer than {seconds:g} s to compile.") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
                process._transport.close()  # type: ignore[attr-defined]  # or its pipes are left to the garbage collector
        try:
            reply = msgspec.json.decode(output, type=_Reply)
        except msgspec.MsgspecError:
            raise WorkerCodeError("The module could not be compiled: the compiler ran out of memory or failed.") from None
        if reply.error is not None or reply.plan is None:
            raise WorkerCodeError(reply.error or "The module could not be compiled.")
        return Compiled(reply.plan, base64.b64decode(reply.code), base64.b64decode(reply.image))


def _is_small(guest: bytes) -> bool:
    """Whether a module can't take long, whatever it holds: measured at most 250 ms, with the GIL released."""
    if len(guest) > _SMALL_BYTES:
        return False
    try:
        module = binary.parse(guest)
        arity = max((signature.count(",") for signature in module.types), default=0)
        return arity < _SMALL_ARITY and binary.count_locals(module) <= _SMALL_LOCALS
    except binary.Malformed:
        return True  # it will be refused before it is compiled


def compile_guest(engine: wasmtime.Engine, guest: bytes, allowed: Mapping[str, str], max_memory_bytes: int) -> Compiled:
    """Validate, take apart, compile. WorkerCodeError says what is wrong with the module."""
    try:
        wasmtime.Module.validate(engine, guest)
        made, split, _ = plan(guest, allowed, max_memory_bytes=max_memory_bytes)
        code = wasmtime.Module(engine, split.code)
        image = wasmtime.Module(engine, split.image)
        return Compiled(made, bytes(code.serialize()), bytes(image.serialize()))
    except wasmtime.WasmtimeError as error:
        raise WorkerCodeError(f"The module is not valid WebAssembly: {wasm.message_of(error)}") from None


def child() -> None:
    """What the child process does: read a job, write a reply."""
    with contextlib.suppress(ValueError, OSError):  # a compiler that wants more memory than this dies here, alone
        resource.setrlimit(resource.RLIMIT_AS, (CHILD_ADDRESS_SPACE, CHILD_ADDRESS_SPACE))
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        made = compile_guest(wasmtime.Engine(configure()), base64.b64decode(job.wasm), job.allowed, job.max_memory_bytes)
        reply = _Reply(None, made.plan, base64.b64encode(made.code).decode(), base64.b64encode(made.image).decode())
    except WorkerCodeError as error:
        reply = _Reply(str(error))
    sys.stdout.buffer.write(msgspec.json.encode(reply))
    sys.stdout.buffer.flush()
