"""Reads what a core module is: which kind of worker, what it imports and exports, and whether that is allowed.

Worker ABI 1 has `otelbridge_fetch`; a WASI command has `_start`. What is wrong is said in words that name it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from otelbridge.errors import WorkerCodeError
from otelbridge.sandbox import binary, image
from otelbridge.sandbox.binary import Malformed, Module
from otelbridge.sandbox.image import Split

__all__ = ["COMMAND", "WORKER", "Plan", "plan", "signatures"]

WORKER, COMMAND = "worker", "command"
MIB = 1 << 20

ALLOC, FETCH, INITIALIZE, MAIN = "otelbridge_alloc", "otelbridge_fetch", "_initialize", "_start"
_EXPORTS = {ALLOC: "(i32) -> (i32)", FETCH: "(i32, i32) -> (i64)", INITIALIZE: "() -> ()", MAIN: "() -> ()"}


class Plan(msgspec.Struct, frozen=True):
    """What the host must know to run a module. `imports`: names of the shim's exports, in the module's order."""

    kind: str
    imports: list[str]
    memory_bytes: int  # what it starts with
    start: str | None  # the export that stands for its start section
    initialize: bool
    shift: int  # how many bytes further back its code lies than in the tenant's own bytes


def signatures(shim: bytes) -> dict[str, str]:
    """The functions a guest may import, as "module.name", with their types: the shim's exports."""
    module = binary.parse(shim)
    return {item.name: module.functions[item.index] for item in module.exports if item.kind == "func"}


def plan(wasm: bytes, allowed: Mapping[str, str], *, max_memory_bytes: int) -> tuple[Plan, Split, Module]:
    """Take a valid module apart. WorkerCodeError says what is missing, of the wrong type, unknown or too large."""
    try:
        module = binary.parse(wasm)
    except Malformed as error:
        raise WorkerCodeError(f"The module can't be used: {error}.") from None
    faults = [fault for item in module.imports if (fault := _import_fault(item, allowed))]
    kind, missing = _kind(module)
    faults += missing
    if faults:
        raise WorkerCodeError("The module does not fit the worker ABI: " + "; ".join(faults[:20]) + ".")
    try:
        split = image.split(module)
    except Malformed as error:
        raise WorkerCodeError(f"The module can't be used: {error}.") from None
    memory_bytes = split.limits.minimum * binary.PAGE
    if memory_bytes > max_memory_bytes:
        raise WorkerCodeError(f"The module's memory starts with {memory_bytes // MIB} MiB; the most is {max_memory_bytes // MIB} MiB.")
    return (
        Plan(
            kind=kind,
            imports=[f"{item.module}.{item.name}" for item in module.imports],
            memory_bytes=memory_bytes,
            start=split.start,
            initialize=any(item.name == INITIALIZE for item in module.exports),
            shift=split.shift,
        ),
        split,
        module,
    )


def _import_fault(item: binary.Import, allowed: Mapping[str, str]) -> str | None:
    name = f"{item.module}.{item.name}"
    shown = f"{item.module!r} {item.name!r}"
    if item.kind != "func" or name not in allowed:
        return f"unknown import {shown} ({item.kind})"
    if item.type != allowed[name]:
        return f"the import {shown} must have the type {allowed[name]}, not {item.type}"
    return None


def _kind(module: Module) -> tuple[str, list[str]]:
    """The kind of worker, and what its exports lack."""
    exports = {item.name: item for item in module.exports}
    kind = COMMAND if MAIN in exports and FETCH not in exports else WORKER
    wanted = [MAIN] if kind == COMMAND else [ALLOC, FETCH]
    faults = []
    memory = exports.get("memory")
    if memory is None or memory.kind != "memory":
        faults.append("the export 'memory' is missing" if memory is None else "the export 'memory' must be a memory")
    for name in [*wanted, INITIALIZE]:
        item = exports.get(name)
        if item is None:
            if name != INITIALIZE:
                faults.append(f"the export {name!r} {_EXPORTS[name]} is missing")
        elif item.kind != "func":
            faults.append(f"the export {name!r} must be a function")
        elif item.index >= len(module.functions) or module.functions[item.index] != _EXPORTS[name]:
            faults.append(f"the export {name!r} must have the type {_EXPORTS[name]}, not {module.functions[item.index]}")
    return kind, faults
