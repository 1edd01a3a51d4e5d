"""What a log line costs by CPU time, from console.log to the bytes the host has copied, by the number of lines."""

from __future__ import annotations

import asyncio

from bench.cpu import load_js, median_async_us, sandbox, serve
from bench.table import OURS, Table

__all__ = ["measure"]

QUICK = True

_LINES = {
    "one string": '"a line of text with about fifty characters in it."',
    "string and number": '"request handled", i',
    "string and object": '"request handled", { i, user: "u-42", path: "/x" }',
}


def measure(table: Table) -> None:
    """The cost of an empty request is taken off."""
    asyncio.run(_measure(table))


async def _measure(table: Table) -> None:
    async with sandbox() as (_, runtime):
        for what, arguments in _LINES.items():
            source = "export default { fetch(r) { const n = globalThis.n; for (let i = 0; i < n; i++) console.log(%s); return new Response() } };"
            for count in (1, 10, 1_000, 10_000):
                if count != 1_000 and (what != "one string" or table.quick):
                    continue
                empty = await load_js(runtime, (source % arguments + "globalThis.n = 0").encode())
                guest = await load_js(runtime, (source % arguments + f"globalThis.n = {count}").encode())
                repeats = max(20_000 // count, 20) if not table.quick else 20
                for _ in table.rounds():
                    bare = await median_async_us(lambda g=empty: serve(g, 4 << 20), min(repeats, 500))  # type: ignore[misc]
                    full = await median_async_us(lambda g=guest: serve(g, 4 << 20), min(repeats, 500))  # type: ignore[misc]
                    row = f"console.log of {what}, {count:,} in a request"
                    table.note(row, OURS, (full - bare) * 1000 / count, unit="ns/line", goal="< 500 ns" if what == "one string" else "")
                empty.close()
                guest.close()
