"""One version of a worker: its checked code, ready to make instances of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from otelbridge.errors import WorkerCodeError, WorkerError, WorkerLoadError
from otelbridge.loader.instances import Lease
from otelbridge.loader.messages import BadMessage, frame, frames
from otelbridge.loader.operations import Bindings
from otelbridge.loader.recorder import pack_exception
from otelbridge.loader.values import pack
from otelbridge.model.code import MAX_ENV_BYTES, Limits, Module, WorkerCode, check_code, lower, version_of
from otelbridge.model.part import ColdStart, WorkerRef
from otelbridge.model.sourcemap import SourceMaps
from otelbridge.sandbox import CoreModule, CoreRuntime, Image, JsRuntime, Meter, SharedImages, Stop
from otelbridge.tail import BridgeTail

__all__ = ["LoadFailed", "Runtimes", "Version"]

NEVER_READY = "Top-level await in module is unsettled."  # workerd's words
NO_FETCH = "It has no handler for requests, so each will fail or pass it by. Did you mean to export one, as in `export default { fetch(request) { … } }`?"
MAX_CONNECTIONS = 100  # of one worker to the network; all workers together have 1,000
_VALUE_TYPES = (str, int, float, bool, bytes, bytearray, memoryview, list, tuple, dict, set, frozenset, type(None))


class Runtimes(msgspec.Struct, frozen=True):
    """What instances are made from. `images`: of registered workers, when there are other processes to share them with."""

    javascript: JsRuntime
    core: CoreRuntime
    images: SharedImages | None = None


class LoadFailed(Exception):
    """A load that failed: the error for callers, and what it left behind for the record."""

    def __init__(self, error: WorkerError, entries: bytes, cpu_ns: int, cold: ColdStart) -> None:
        super().__init__(str(error))
        self.error = error
        self.entries = entries
        self.cpu_ns = cpu_ns
        self.cold = cold


class Version:
    """See the module's text. As an `Owner` it counts its instances. `registration`: which one of the worker's it is, if any."""

    def __init__(
        self,
        worker_id: str,
        code: WorkerCode,
        *,
        defaults: Limits,
        maxima: Limits,
        max_live: int,
        registration: str | None = None,
    ) -> None:
        self.code = code
        self.registration = registration
        self.modules: dict[str, Module] = check_code(code)
        self.code_bytes = sum(len(m.content) for m in self.modules.values())
        self.services: dict[str, Any] = {}
        self.env_tree = self._pack_env(code.env)
        env = msgspec.json.encode(self.env_tree)
        if len(env) > MAX_ENV_BYTES:
            raise WorkerCodeError(f"Dynamic Worker env size ({len(env)} bytes) exceeds the maximum allowed size of {MAX_ENV_BYTES} bytes.")
        self.limits = resolve(code.limits, defaults, maxima)
        self.memory_bytes = (self.limits.memory_mb or 1) << 20
        self.worker = WorkerRef(worker_id, version_of(code, self.modules, env), self.memory_bytes, dict(code.tags))
        self.is_core = self.modules[code.main_module].type == "wasm"
        sources = {name: m.content for name, m in self.modules.items() if m.type in ("js", "cjs")}
        self._map_files = {n: m.content for n, m in self.modules.items() if n.endswith(".map") and n[:-4] in sources}
        self.maps = SourceMaps(sources, self._map_files)
        self.idle: list[Lease] = []
        self.live = self.waiting = 0
        self.max_live = max_live
        self.retired = False
        self.bindings: Bindings | None = None  # made by the first call
        self.bridged = any(isinstance(tail, BridgeTail) for tail in code.tails)
        self.tailed = any(not isinstance(tail, BridgeTail) for tail in code.tails)
        self.connections = asyncio.Semaphore(MAX_CONNECTIONS)
        self.warnings: list[str] = []  # of the last load that worked
        self._core: CoreModule | None = None
        self._image: Image | None = None
        self._imaging = asyncio.Lock()

    def _pack_env(self, env: Mapping[str, Any]) -> Any:
        def bind(service: Any) -> str:
            name = f"{len(self.services)}"
            self.services[name] = service
            return name

        tree: dict[str, Any] = {}
        for name, value in env.items():
            if getattr(value, "is_worker_loader", False):
                raise WorkerLoadError(
                    "DataCloneError", 'Could not serialize object of type "WorkerLoader". This type does not support serialization.'
                )
            try:
                tree[name] = pack(value, bind)
            except WorkerCodeError as e:
                raise WorkerCodeError(f"env.{name}: {e}") from e
        return {"$": "o", "v": [[k, v] for k, v in tree.items()]} if "$" in tree else tree

    async def make(self, runtimes: Runtimes) -> Lease:
        """A new instance with this version loaded. LoadFailed when its code fails."""
        start_ns = time.time_ns()
        meter = Meter(cpu_limit_ns=(self.limits.cpu_ms or 1) * 1_000_000)
        if self.maps.waiting:
            await asyncio.to_thread(self.maps.read)
        if self.is_core:
            return await self._make_core(runtimes.core, meter, start_ns)
        if self.code.isolation == "invocation":
            return await self._make_from_image(runtimes, meter, start_ns)
        instance = runtimes.javascript.new(memory_bytes=self.memory_bytes)
        entries = await self._load(instance, meter, start_ns)
        return Lease(instance, owner=self, load_entries=entries, load_cpu_ns=meter.cpu_ns, cold=ColdStart(start_ns, time.time_ns(), 0))

    async def _make_from_image(self, runtimes: Runtimes, meter: Meter, start_ns: int) -> Lease:
        """Isolation "invocation": module scope runs once, its memory is the image of every instance after it."""
        entries = b""
        cold: ColdStart | None = None
        image = self._image
        if image is None:
            async with self._imaging:  # who comes meanwhile waits: module scope may take many slices, and storing a thread's time
                image = self._image
                if image is None:
                    image, entries = await self._find_image(runtimes, meter, start_ns)
                    self._image = image
            cold = ColdStart(start_ns, time.time_ns(), 0)
        instance = runtimes.javascript.new(memory_bytes=self.memory_bytes, image=image)
        return Lease(instance, owner=self, load_entries=entries, load_cpu_ns=meter.cpu_ns, cold=cold)

    async def _find_image(self, runtimes: Runtimes, meter: Meter, start_ns: int) -> tuple[Image, bytes]:
        """The image, and what module scope logged if it ran here: in a service of several processes, one of them runs it."""
        images = runtimes.images
        if images is None or self.registration is None:
            return await self._make_image(runtimes.javascript, meter, start_ns)
        of = self.registration, self.worker.version
        image = await asyncio.to_thread(images.get, *of)
        if image is not None:
            return image, b""
        image, entries = await self._make_image(runtimes.javascript, meter, start_ns)
        return await asyncio.to_thread(images.put, *of, image), entries

    async def _make_image(self, runtime: JsRuntime, meter: Meter, start_ns: int) -> tuple[Image, bytes]:
        first = runtime.new(memory_bytes=self.memory_bytes)
        try:
            entries = await self._load(first, meter, start_ns)
            # Before any request: an image of a used instance would carry that request's state into all later ones.
            first.reset_ring()
            return runtime.make_image(first), entries
        finally:
            first.close()

    async def _load(self, instance: Any, meter: Meter, start_ns: int) -> bytes:
        """Evaluate the modules; the ring entries of what module scope logged."""
        instance.begin(self.limits.log_bytes)
        parts = [frame(["module", name, m.type], m.content) for name, m in self.modules.items() if name not in self._map_files]
        parts.append(frame(["load", self.code.main_module, self.env_tree]))
        failure: WorkerError | None = None
        entries = b""
        try:
            answers = list(frames(await instance.run(b"".join(parts), meter)))
            kinds = [message[0] for message, _ in answers]
            if "failed" in kinds:
                message = answers[kinds.index("failed")][0]
                failure = WorkerLoadError(
                    str(message[1]), str(message[2]), stack=self.maps.apply(message[3]) if isinstance(message[3], str) else None
                )
            elif "loaded" in kinds:
                message = answers[kinds.index("loaded")][0]
                self.warnings = [NO_FETCH] if len(message) > 2 and message[2] is False else []
            else:
                failure = WorkerLoadError("Error", NEVER_READY)
                entries = pack_exception("Error", NEVER_READY, None)
        except Stop as stop:
            # A trap's stack is that of the engine: of no use to the worker's author.
            failure = WorkerLoadError(stop.name, stop.message, outcome=stop.outcome)
            entries = pack_exception(stop.name, stop.message, None)
        except BadMessage as e:
            failure = WorkerLoadError("Error", f"The worker sent a message that can't be read: {e}.")
            entries = pack_exception(failure.name, failure.message, None)
        except BaseException:
            instance.close()
            raise
        entries = instance.read_ring() + entries
        if failure is not None:
            instance.close()
            raise LoadFailed(_startup_error(failure), entries, meter.cpu_ns, ColdStart(start_ns, time.time_ns(), 0))
        return bytes(entries)

    async def _make_core(self, runtime: CoreRuntime, meter: Meter, start_ns: int) -> Lease:
        compile_ns = 0
        try:
            if self._core is None:
                before = time.monotonic_ns()
                self._core = await runtime.compile(self.modules[self.code.main_module].content)
                compile_ns = time.monotonic_ns() - before
            env = {
                k: v if isinstance(v, str) else msgspec.json.encode(v).decode()
                for k, v in self.code.env.items()
                if isinstance(v, _VALUE_TYPES)
            }
            instance = self._core.new(memory_bytes=self.memory_bytes, env=env, log_budget=self.limits.log_bytes or 0)
        except WorkerCodeError as e:
            cold = ColdStart(start_ns, time.time_ns(), compile_ns)
            raise LoadFailed(
                WorkerLoadError("CompileError", str(e)), pack_exception("CompileError", str(e), None), meter.cpu_ns, cold
            ) from e
        try:
            await instance.start(meter)
        except Stop as stop:
            entries = bytes(instance.read_ring()) + pack_exception(stop.name, stop.message, stop.stack)
            instance.close()
            failure = WorkerLoadError(stop.name, stop.message, stack=stop.stack, outcome=stop.outcome)
            raise LoadFailed(_startup_error(failure), entries, meter.cpu_ns, ColdStart(start_ns, time.time_ns(), compile_ns)) from stop
        except BaseException:
            instance.close()
            raise
        cold = ColdStart(start_ns, time.time_ns(), compile_ns)
        return Lease(instance, owner=self, load_entries=bytes(instance.read_ring()), load_cpu_ns=meter.cpu_ns, cold=cold)


def resolve(limits: Limits | None, defaults: Limits, maxima: Limits) -> Limits:
    """The limits that hold: what the code asks for, else the defaults, never more than the maxima."""
    wanted = {
        name: getattr(limits, name) if limits is not None and getattr(limits, name) is not None else getattr(defaults, name)
        for name in Limits.__struct_fields__
    }
    return lower(Limits(**wanted), maxima)


def _startup_error(error: WorkerError) -> WorkerLoadError:
    """What callers get: workerd's words around the worker's own."""
    where = "".join(f"\n{line.strip().join(('  ', ''))}" for line in (error.stack or "").splitlines())
    return WorkerLoadError(
        "Error", f"Failed to start Worker:\nUncaught {error.name}: {error.message}{where}", stack=error.stack, outcome=error.outcome
    )
