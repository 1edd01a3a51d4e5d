"""Guests of worker ABI 1, as text: what differs between tests is one function body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from otelbridge.model import ring
from otelbridge.sandbox import CoreInstance, CoreModule, Meter

SECOND = 1_000_000_000
Build = Callable[[str | bytes], Awaitable[CoreModule]]
Start = Callable[..., Awaitable[CoreInstance]]
OK = '{"status":200,"body":"ok"}'


def worker(
    fetch: str = "",
    *,
    response: str | bytes = OK,
    memory: str = '(memory (export "memory") 1)',
    imports: str = "",
    more: str = "",
    alloc: str = "(i32.const 32768)",
) -> str:
    """A worker whose fetch runs `fetch` and then returns `response`, which lies at 1024."""
    data = response.encode() if isinstance(response, str) else response
    return f"""(module
      (import "otelbridge" "log" (func $log (param i32 i32 i32)))
      {imports}
      {memory}
      {text(1024, data)}
      {more}
      (func (export "otelbridge_alloc") (param $n i32) (result i32) {alloc})
      (func (export "otelbridge_fetch") (param $p i32) (param $n i32) (result i64)
        (local $i i32) (local $j i64)
        {fetch}
        (i64.or (i64.shl (i64.const 1024) (i64.const 32)) (i64.const {len(data)}))))"""


def text(at: int, data: str | bytes) -> str:
    """A data segment."""
    data = data.encode() if isinstance(data, str) else data
    return f'(data (i32.const {at}) "{"".join(f"{chr(92)}{byte:02x}" for byte in data)}")'


def wasi(name: str, parameters: str, result: str = "(result i32)") -> str:
    """An import from WASI, as $name."""
    return f'(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {parameters}) {result}))'


async def fetch(instance: CoreInstance, *, meter: Meter | None = None, body: bytes = b"") -> tuple[int, list[tuple[str, str]], bytes]:
    """One request."""
    return await instance.fetch("GET", "http://worker/path?q=1", [("x-a", "b")], body, meter or Meter(SECOND))


def lines(instance: CoreInstance) -> list[tuple[str, str]]:
    """The log lines since the last look, as (level, text)."""
    data = instance.read_ring()
    assert ring.check(data)[0] == len(data)
    return [(ring.LEVELS[entry.level], entry.payload.decode("utf-8", "replace")) for entry in ring.walk(data)]
