"""The JavaScript engine, compiled once, and the making of instances and images."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

from otelbridge.errors import SandboxError
from otelbridge.sandbox import binary, image, wasm
from otelbridge.sandbox.binary import Malformed
from otelbridge.sandbox.engine import Engine
from otelbridge.sandbox.image import Split
from otelbridge.sandbox.javascript.image import MOST_PATCHED_PAGES, Image
from otelbridge.sandbox.javascript.instance import JsInstance
from otelbridge.sandbox.pages import Pages, differing
from otelbridge.sandbox.stop import Meter, Stop
from otelbridge.sandbox.store import Memory, OutOfBounds, Store
from otelbridge.sandbox.wasm import Failure, Trap

__all__ = ["ENGINE", "JsRuntime"]

ENGINE = Path(__file__).parent / "engine.wasm"
_START_CPU_NS = 10_000_000_000


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
        self._base_key = engine.key("javascript base", code)
        self._base, self._base_pages = self._stored() or self._boot(parts)

    def _stored(self) -> tuple[Image, Pages] | None:
        """The base image that an earlier start left in the cache: 10 ms instead of 200 for running the prelude."""
        entry = self._engine.cache.get(self._base_key)
        if entry is None:
            return None
        try:
            module = self._engine.load(entry.files["image"])
            pages = Pages.mapped(entry.files["pages"])
        except (Failure, OSError):
            self._engine.cache.drop(self._base_key)
            return None
        return Image(self._engine.template(module), int(entry.meta["size"]), int(entry.meta["state"])), pages

    def _boot(self, parts: Split) -> tuple[Image, Pages]:
        """Run the prelude once and keep the memory it leaves, and its pages: what images of workers differ in from it."""
        first = Image(self._engine.template(self._engine.compile(parts.image)), parts.limits.minimum * binary.PAGE, 0)
        store, instance, view = self._open(first, self._engine.max_memory_bytes)
        try:
            meter, guest = Meter(_START_CPU_NS), _Booting()
            store.call_now(store.function(instance, b"_initialize"), (), 0, guest, meter)
            state = store.call_now(store.function(instance, b"ob_state"), (), 1, guest, meter)
            if store.call_now(store.function(instance, b"ob_init"), (), 1, guest, meter):
                words, _ = view.words(state, 32)
                raise SandboxError(f"The JavaScript prelude failed: {view.read(words[4], words[5]).decode('utf-8', 'replace')}")
            size = view.size
            pages = Pages.of(differing(size, view.read, None))
            template = self._engine.template(self._engine.compile(image.image(size, pages.copies())))
        except (Trap, Failure, Stop, OutOfBounds) as e:
            raise SandboxError(f"The JavaScript engine failed to start: {e}") from e
        finally:
            store.close()
        files: dict[str, bytes | bytearray] = {"image": template.serialize(), "pages": pages.packed()}
        # One base for all processes that start at once: images of workers go with it.
        self._engine.cache.put(self._base_key, {"size": str(size), "state": str(state)}, files, replace=False)
        return self._stored() or (Image(template, size, state), pages)

    def _open(self, base: Image, memory_bytes: int) -> tuple[Store, int, Memory]:
        store = Store(self._engine, memory_bytes=max(memory_bytes, base.size + binary.PAGE), instances=2, tables=1, memories=1, externs=7)
        try:
            owner = store.instantiate_pre(base.template.address)
            extern = store.export(owner, b"memory", wasm.MEMORY)
            instance = store.instantiate(self._code.address, extern, 1)
            memory = store.memory(extern)
            if base.patched and base.pages is not None:
                if memory.size < base.size:
                    store.grow(memory, (base.size - memory.size) // binary.PAGE)
                memory.patch(base.pages)
            return store, instance, memory
        except BaseException:
            store.close()
            raise

    def new(self, *, memory_bytes: int, image: Image | None = None) -> JsInstance:
        """An instance of an image, or of the base. EngineFull when the pool is full."""
        base = image or self._base
        store, instance, memory = self._open(base, memory_bytes)
        made = JsInstance(store, memory, base.state, store.function(instance, b"ob_run"), store.function(instance, b"ob_reserve"))
        made.limit(memory_bytes)
        if base.pages is not None and self._engine.written.works:
            made.restorable(base.size, base.pages, self._base_pages, store.export(instance, b"__stack_pointer", wasm.GLOBAL))
        return made

    # ---------------------------------------------------------------------------------------------------- images

    def make_image(self, instance: JsInstance) -> Image:
        """An image of an idle instance of the base. Only before it served a request: what it knows, all instances of it will know.

        Its globals are not part of it; between runs the engine's only mutable one, the stack pointer, is at its start.
        """
        size = instance.memory_bytes
        pages = Pages.of(differing(size, instance.peek, self._base_pages, instance.written()))
        if len(pages.at) <= MOST_PATCHED_PAGES:
            return Image(self._base.template, size, self._base.state, pages, patched=True)
        module = self._engine.compile(image.image(size, self._base_pages.copies() | pages.copies()))
        return Image(self._engine.template(module), size, self._base.state, pages)

    def files_of(self, image: Image) -> Mapping[str, bytes | bytearray]:
        """A worker's image as it is stored."""
        pages = {"pages": image.pages.packed()} if image.pages is not None else {}
        return pages if image.patched else {**pages, "image": image.template.serialize()}

    def image_of(self, size: int, files: Mapping[str, Path]) -> Image | None:
        """A worker's image of verified files; None when they can't be used."""
        try:
            pages = Pages.mapped(files["pages"])
            template = self._engine.template(self._engine.load(files["image"])) if "image" in files else self._base.template
        except (Failure, OSError):
            return None
        return Image(template, size, self._base.state, pages, patched="image" not in files)

    def key(self, name: str) -> str:
        """The cache key of a worker's image: only what is made from the same engine and the same base can use it."""
        return self._engine.key("javascript image", f"{self._base_key} {self._base_digest} {name}".encode())

    @functools.cached_property
    def _base_digest(self) -> str:
        return hashlib.sha256(self._base_pages.packed()).hexdigest()
