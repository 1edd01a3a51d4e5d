"""The JavaScript engine, compiled once, and the images that instances start from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from otelbridge.errors import SandboxError
from otelbridge.sandbox import binary, image, wasm
from otelbridge.sandbox.binary import Malformed
from otelbridge.sandbox.engine import Engine, Template
from otelbridge.sandbox.image import Split
from otelbridge.sandbox.javascript.instance import JsInstance
from otelbridge.sandbox.pages import differing
from otelbridge.sandbox.stop import Meter, Stop
from otelbridge.sandbox.store import Memory, OutOfBounds, Store
from otelbridge.sandbox.wasm import Failure, Trap

__all__ = ["ENGINE", "Image", "JsRuntime"]

ENGINE = Path(__file__).parent / "engine.wasm"
_START_CPU_NS = 10_000_000_000


class Image:
    """A memory image; `size` in bytes, `state`: where the state struct is in it. `delta`: the pages, by offset, in which it
    differs from the `base` of all images, for restoring used instances; the base itself has neither."""

    __slots__ = ("base", "delta", "size", "state", "template")

    def __init__(
        self, template: Template, size: int, state: int, delta: Mapping[int, bytes] | None = None, base: Mapping[int, bytes] | None = None
    ) -> None:
        self.template = template
        self.size = size
        self.state = state
        self.delta = delta
        self.base = base


class _Booting:
    """Runs the engine's start, before there is a clock or an instance."""

    def before_slice(self) -> None:
        """Nothing looks at the clock yet."""

    def pause_s(self) -> float:
        """Nothing sleeps."""
        return 0.0


class JsRuntime:
    """Starts the engine once and keeps its memory as the base of every worker. SandboxError when that fails."""

    def __init__(self, engine: Engine, path: Path = ENGINE) -> None:
        self._engine = engine
        try:
            code = path.read_bytes()
        except FileNotFoundError:
            raise SandboxError(f"The JavaScript engine is missing: {path}. Build it with `python engine_build.py`.") from None
        try:
            parts = image.split(binary.parse(code))
        except Malformed as e:
            raise SandboxError(f"The JavaScript engine {path} is damaged: {e}.") from None
        self._code = engine.code(engine.compile_cached("javascript", parts.code))
        self._base = self._stored(code) or self._boot(parts, code)
        self._base_pages: dict[int, bytes] | None = None

    def _stored(self, code: bytes) -> Image | None:
        """The base image that an earlier start left in the cache: 10 ms instead of 200 for running the prelude."""
        entry = self._engine.cache.get(self._engine.key("javascript image", code))
        if entry is None:
            return None
        try:
            module = self._engine.load(entry.files["image"])
        except Failure:
            return None
        return Image(self._engine.template(module), int(entry.meta["size"]), int(entry.meta["state"]))

    def _boot(self, parts: Split, code: bytes) -> Image:
        """Run the prelude once and keep the memory it leaves."""
        first = self._image(parts.image, parts.limits.minimum * binary.PAGE, 0)
        store, instance, view = self._open(first, self._engine.max_memory_bytes)
        try:
            meter, guest = Meter(_START_CPU_NS), _Booting()
            store.call_now(store.function(instance, b"_initialize"), (), 0, guest, meter)
            state = store.call_now(store.function(instance, b"ob_state"), (), 1, guest, meter)
            if store.call_now(store.function(instance, b"ob_init"), (), 1, guest, meter):
                words, _ = view.words(state, 32)
                raise SandboxError(f"The JavaScript prelude failed: {view.read(words[4], words[5]).decode('utf-8', 'replace')}")
            size = view.size
            module = self._engine.compile(image.image(size, view.read))
        except (Trap, Failure, Stop, OutOfBounds) as e:
            raise SandboxError(f"The JavaScript engine failed to start: {e}") from e
        finally:
            store.close()
        meta = {"size": str(size), "state": str(state)}
        self._engine.cache.put(self._engine.key("javascript image", code), meta, {"image": bytes(module.serialize())})
        return self._stored(code) or Image(self._engine.template(module), size, state)

    def _image(self, module: bytes, size: int, state: int) -> Image:
        return Image(self._engine.template(self._engine.compile(module)), size, state)

    def _open(self, base: Image, memory_bytes: int) -> tuple[Store, int, Memory]:
        store = Store(self._engine, memory_bytes=max(memory_bytes, base.size + binary.PAGE), instances=2, tables=1, memories=1, externs=7)
        try:
            owner = store.instantiate_pre(base.template.address)
            extern = store.export(owner, b"memory", wasm.MEMORY)
            instance = store.instantiate(self._code.address, extern, 1)
            return store, instance, store.memory(extern)
        except BaseException:
            store.close()
            raise

    def new(self, *, memory_bytes: int, image: Image | None = None) -> JsInstance:
        """An instance of an image, or of the base. EngineFull when the pool is full."""
        base = image or self._base
        store, instance, memory = self._open(base, memory_bytes)
        made = JsInstance(store, memory, base.state, store.function(instance, b"ob_run"), store.function(instance, b"ob_reserve"))
        made.limit(memory_bytes)
        if image is not None and image.delta is not None and image.base is not None:
            made.restorable(image.size, image.delta, image.base, store.export(instance, b"__stack_pointer", wasm.GLOBAL))
        return made

    def make_image(self, instance: JsInstance) -> Image:
        """An image of an idle instance. Only before it served a request: what it knows, all instances of it will know.

        Its globals are not part of it; between runs the engine's only mutable one, the stack pointer, is at its start.
        """
        size = instance.memory_bytes
        made = self._image(image.image(size, instance.peek), size, self._base.state)
        if self._engine.written.works:
            made.base = self._pages_of_base()
            made.delta = differing(size, instance.peek, made.base)
        return made

    def _pages_of_base(self) -> dict[int, bytes]:
        """What is in the base image, by pages: 1.5 MB, made when the first image of a worker needs it."""
        if self._base_pages is None:
            store, _, memory = self._open(self._base, self._engine.max_memory_bytes)
            self._base_pages = differing(memory.size, memory.read, {})
            store.close()
        return self._base_pages
