"""Streams, and what workers have beyond the standard's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.prelude.conftest import Throws

READ = "(async (s) => { const out = []; for await (const x of s) out.push(x); return out })"
FROM = "((...items) => new ReadableStream({ start(c) { items.forEach((i) => c.enqueue(i)); c.close() } }))"

TABLE: dict[str, tuple[str, Any]] = {
    "read": (f"{READ}({FROM}(1, 'a'))", [1, "a"]),
    "pull": (f"((n) => {READ}(new ReadableStream({{ pull(c) {{ n < 3 ? c.enqueue(n++) : c.close() }} }})))(0)", [0, 1, 2]),
    "from": (f"{READ}(ReadableStream.from([1, 2]))", [1, 2]),
    "transform": (f"{READ}({FROM}(1, 2).pipeThrough(new TransformStream({{ transform(x, c) {{ c.enqueue(x * 2) }} }})))", [2, 4]),
    "tee": (f"(async ([a, b]) => [await {READ}(a), await {READ}(b)])({FROM}(1, 2).tee())", [[1, 2], [1, 2]]),
    "cancel": ("(async (log) => { await new ReadableStream({ cancel(r) { log.push(r) } }).cancel('why'); return log })([])", ["why"]),
    "error": ("new Response(new ReadableStream({ pull(c) { c.error(new RangeError('broke')) } })).text()", Throws("RangeError", "broke")),
    "thrown": ("new Response(new ReadableStream({ pull() { throw new RangeError('threw') } })).text()", Throws("RangeError", "threw")),
    "write": (
        "(async (log) => { const w = new WritableStream({ write(x) { log.push(x) }, close() { log.push('end') } }).getWriter(); w.write(1); await w.close(); return log })([])",
        [1, "end"],
    ),
    "into the reader's own buffer": (
        "(async (r) => { const a = await r.read(new Uint8Array(2)); const b = await r.read(new Uint8Array(2)); return [[...a.value], [...b.value], (await r.read(new Uint8Array(2))).done] })"
        "(new Response('abc').body.getReader({ mode: 'byob' }))",
        [[97, 98], [99], True],
    ),
    "locked": ("((s) => { s.getReader(); s.getReader() })(new ReadableStream())", Throws("TypeError")),
    "pipe that is aborted": (
        "((c) => { const p = new ReadableStream().pipeTo(new WritableStream(), { signal: c.signal }); c.abort(new RangeError('stop')); return p })(new AbortController())",
        Throws("RangeError", "stop"),
    ),
    "text encoder": (
        f"(async () => [...await new Response({FROM}('é', '\\ud83d', '\\ude00').pipeThrough(new TextEncoderStream())).bytes()])()",
        [195, 169, 240, 159, 152, 128],
    ),
    "text decoder": (f"{READ}({FROM}(new Uint8Array([226]), new Uint8Array([130, 172, 97])).pipeThrough(new TextDecoderStream()))", ["€a"]),
    "identity": (f"new Response({FROM}(new Uint8Array([97])).pipeThrough(new IdentityTransformStream())).text()", "a"),
    "identity of what is no bytes": (f"{READ}({FROM}('text').pipeThrough(new IdentityTransformStream()))", Throws("TypeError")),
    "fixed length": (f"new Response({FROM}(new Uint8Array([97, 98])).pipeThrough(new FixedLengthStream(2))).text()", "ab"),
    "fixed length, too much": (f"{READ}({FROM}(new Uint8Array(3)).pipeThrough(new FixedLengthStream(2)))", Throws("TypeError", "too many")),
    "fixed length, too little": (
        f"{READ}({FROM}(new Uint8Array(1)).pipeThrough(new FixedLengthStream(2)))",
        Throws("TypeError", "expected bytes"),
    ),
    "text in a body": (
        "new Response(new ReadableStream({ start(c) { c.enqueue('text'); c.close() } })).text()",
        Throws("TypeError", "did not return bytes"),
    ),
    "nothing inside shows": (
        "((s) => { s.getReader(); return [JSON.stringify({ s, t: new TransformStream() }), Object.keys(s), String(s)] })(new ReadableStream())",
        ['{"s":{},"t":{}}', [], "[object ReadableStream]"],
    ),
    "classes": (
        "[ReadableStreamDefaultReader, ReadableStreamBYOBReader, WritableStreamDefaultWriter, ByteLengthQueuingStrategy, CountQueuingStrategy].map((c) => c.name)",
        [
            "ReadableStreamDefaultReader",
            "ReadableStreamBYOBReader",
            "WritableStreamDefaultWriter",
            "ByteLengthQueuingStrategy",
            "CountQueuingStrategy",
        ],
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_streams(name: str, got: Mapping[str, Any]) -> None:
    """Streams deliver, transform, break and end as the standard says."""
    assert got[name] == TABLE[name][1]
