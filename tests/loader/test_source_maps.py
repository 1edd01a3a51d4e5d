"""Source maps from end to end: what the record and the caller get of a bundled worker's errors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from otelbridge import Bridge, Request, Settings, TailWorker, TraceItem, WorkerCode, WorkerError
from tests.model.test_sourcemap import MAP, inline

# What esbuild made of the two files in MAP.
BUNDLE = (
    "function r(e){if(e.lines.length===0)throw new RangeError(`order ${e.id} is empty`);return e.lines.length}"
    'var s={async fetch(e){let n={id:7,lines:[]};return console.error(new TypeError("logged")),new Response(String(r(n)))}};export{s as default};\n'
)


class Seen(TailWorker):
    """Keeps the trace items."""

    items: list[TraceItem]

    async def tail(self, events: Sequence[TraceItem]) -> None:
        self.items = [*events]


@pytest.mark.parametrize(
    "modules",
    [
        {"index.js": BUNDLE + inline(MAP).decode().splitlines()[-1] + "\n"},
        {"index.js": BUNDLE, "index.js.map": json.dumps(MAP)},
        {"index.js": BUNDLE, "index.js.map": {"json": MAP}},
    ],
    ids=["inline", "text", "json"],
)
async def test_stacks_name_the_sources(tmp_path: Path, modules: dict[str, Any]) -> None:
    """The exception, the logged error and the caller's error stand in the files that the bundle was made of."""
    seen = Seen()
    settings = Settings(environ={"OTELBRIDGE_DATA_DIR": str(tmp_path), "OTELBRIDGE_STORE_ENABLED": "0"})
    async with Bridge(settings) as bridge:
        worker = bridge.loader.load(WorkerCode(main_module="index.js", modules=modules, tails=[seen]))
        with pytest.raises(WorkerError, match="order 7 is empty") as raised:
            await worker.get_entrypoint().fetch(Request("GET", "http://worker/"))
        await bridge.drain()
    item = seen.items[0]
    expected = "    at r (helper.ts:5:11)\n    at fetch (main.ts:7:32)"
    assert raised.value.stack == expected
    assert [e.stack for e in item.exceptions] == [expected]
    assert item.logs[0].error_info is not None
    assert item.logs[0].error_info[0]["stack"] == "    at fetch (main.ts:6:19)"
