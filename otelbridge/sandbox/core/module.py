"""Core-module guests: compile one, make instances of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from otelbridge.errors import SandboxError, WorkerCodeError
from otelbridge.sandbox import wasm
from otelbridge.sandbox.core.compiler import Compiler
from otelbridge.sandbox.core.instance import CoreInstance
from otelbridge.sandbox.core.plan import Plan, signatures
from otelbridge.sandbox.core.program import Parts
from otelbridge.sandbox.engine import Code, Engine, Template
from otelbridge.sandbox.wasm import Failure

__all__ = ["CoreModule", "CoreRuntime"]

SHIM = Path(__file__).parent / "shim.wat"
MIB = 1 << 20


class CoreModule:
    """A compiled module; `kind` is "worker" (ABI 1) or "command" (WASI)."""

    __slots__ = ("_parts", "kind")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.kind = parts.plan.kind

    def new(self, *, memory_bytes: int, env: Mapping[str, str], log_budget: int) -> CoreInstance:
        """An instance; call start() before its first request. EngineFull when the pool is full."""
        if self._parts.plan.memory_bytes > memory_bytes:
            raise WorkerCodeError(
                f"The module's memory starts with {self._parts.plan.memory_bytes / MIB:g} MiB, but its limit is {memory_bytes / MIB:g} MiB."
            )
        for name, value in env.items():
            if not name or "=" in name or "\0" in name or "\0" in value:
                raise WorkerCodeError(f"The environment variable {name!r} can't be passed on: it holds NUL, or its name '='.")
        return CoreInstance(self._parts, memory_bytes=memory_bytes, env=env, log_budget=log_budget)


class CoreRuntime:
    """Compiles guests and holds what they share: the shim."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        try:
            text = SHIM.read_text()
            shim = wasm.wat(text)
            self._shim = engine.code(engine.compile_cached("shim", shim))
        except (OSError, Failure) as error:
            raise SandboxError(f"The shim for core modules can't be used: {error}") from None
        self._compiler = Compiler(engine, signatures(shim), hashlib.sha256(shim).hexdigest()[:16])

    async def compile(self, guest: bytes) -> CoreModule:
        """A module ready to be instantiated. WorkerCodeError says what is wrong with it."""
        plan, entry = await self._compiler.compile(guest)
        try:
            return self._load(plan, entry.files)
        except Failure:
            # Compiled on another kind of machine (a shared or copied cache directory): once more, here.
            self._compiler.forget(guest)
        plan, entry = await self._compiler.compile(guest)
        try:
            return self._load(plan, entry.files)
        except Failure as failure:
            raise WorkerCodeError(f"The module can't be used: {failure}") from None

    def _load(self, plan: Plan, files: Mapping[str, Path]) -> CoreModule:
        code: Code = self._engine.code(self._engine.load(files["code"]))
        image: Template = self._engine.template(self._engine.load(files["image"]))
        return CoreModule(Parts(self._engine, self._shim, code, image, plan))
