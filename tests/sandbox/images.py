"""Images of JavaScript workers, and requests to instances of them."""

from __future__ import annotations

from otelbridge.loader.messages import frame, frames
from otelbridge.sandbox import Image, JsInstance, JsRuntime, Meter

MIB = 1 << 20
SECOND = 1_000_000_000
REQUEST = frame(["invoke", "fetch", None, None, ["GET", "http://w/", [], None, {}]])
WORKER = """let count = 0;
export default { fetch(request) {
  globalThis.left = (globalThis.left ?? 0) + 1;
  Array.prototype.mark = 'x';
  console.log('a line');
  const big = new Array(%d).fill('an entry');
  return new Response(`${++count} ${globalThis.left} ${Math.random()} ${big.length}`);
} }"""


class Images:
    """Makes images of workers, and instances of them."""

    def __init__(self, runtime: JsRuntime) -> None:
        self.runtime = runtime
        self.made: list[JsInstance] = []

    async def loaded(self, source: str) -> JsInstance:
        """An instance of the base after a worker's module scope."""
        first = self.runtime.new(memory_bytes=64 * MIB)
        first.begin(262_144)
        data = frame(["module", "index.js", "js"], source.encode()) + frame(["load", "index.js", {}])
        assert next(iter(frames(await first.run(data, Meter(5 * SECOND)))))[0][0] == "loaded"
        first.reset_ring()
        return first

    async def image(self, source: str) -> Image:
        """What module scope leaves."""
        first = await self.loaded(source)
        image = self.runtime.make_image(first)
        first.close()
        return image

    def new(self, image: Image) -> JsInstance:
        """An instance, closed at the end of the test."""
        instance = self.runtime.new(memory_bytes=64 * MIB, image=image)
        self.made.append(instance)
        return instance


async def ask(instance: JsInstance, cpu_ns: int = SECOND) -> list[str]:
    """One request; the words of its response."""
    instance.begin(262_144)
    for message, blob in frames(await instance.run(REQUEST, Meter(cpu_ns))):
        if message[0] == "response":
            return blob.decode().split()
    return []
