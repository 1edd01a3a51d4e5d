"""structuredClone()."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.prelude.conftest import Throws

REFUSED = Throws("DataCloneError")

TABLE: dict[str, tuple[str, Any]] = {
    "plain": ("structuredClone({ a: [1, , 'x'], b: null, c: { d: true } })", {"a": [1, None, "x"], "b": None, "c": {"d": True}}),
    "cycles and shared parts": (
        "((o) => { o.self = o; o.a = o.b = {}; const c = structuredClone(o); return [c.self === c, c.a === c.b, c !== o] })({})",
        [True, True, True],
    ),
    "map and set": (
        "((c) => [c instanceof Map, [...c][0][0], [...[...c][0][1]]])(structuredClone(new Map([[{ k: 1 }, new Set([1, 2])]])))",
        [True, {"k": 1}, [1, 2]],
    ),
    "dates and patterns": ("[structuredClone(new Date(5)).getTime(), String(structuredClone(/a\\/b/gi))]", [5, "/a\\/b/gi"]),
    "boxes": (
        "[Object('s'), Object(5), Object(true), Object(7n)].map((b) => typeof structuredClone(b) + String(structuredClone(b)))",
        ["objects", "object5", "objecttrue", "object7"],
    ),
    "arrays of numbers": (
        "((c) => [[...c], c.byteOffset, c.buffer.byteLength, c.constructor.name])(structuredClone(new Uint16Array([1, 2, 3]).subarray(1)))",
        [[2, 3], 2, 6, "Uint16Array"],
    ),
    "views of one buffer": (
        "((b) => { const [x, y] = structuredClone([new Uint8Array(b), new DataView(b)]); return x.buffer === y.buffer })(new ArrayBuffer(4))",
        True,
    ),
    "errors": (
        "((c) => [c instanceof RangeError, c.name, c.message, c.cause, typeof c.stack, c.extra])(structuredClone(Object.assign(new RangeError('m', { cause: { a: 1 } }), { extra: 1 })))",
        [True, "RangeError", "m", {"a": 1}, "string", None],
    ),
    "exceptions of the platform": (
        "((c) => [c.name, c.message])(structuredClone(new DOMException('m', 'AbortError')))",
        ["AbortError", "m"],
    ),
    "instances lose their class": (
        "((c) => [c.constructor === Object, c])(structuredClone(new (class A { x = 1; get y() { return 2 } })()))",
        [True, {"x": 1}],
    ),
    "getters are read": ("structuredClone({ get a() { return 5 } })", {"a": 5}),
    "blobs": ("(async (c) => [await c.text(), c.type])(structuredClone(new Blob(['x'], { type: 'a/b' })))", ["x", "a/b"]),
    "transfer": (
        "((b) => { const c = structuredClone({ b }, { transfer: [b] }); return [b.byteLength, c.b.byteLength] })(new ArrayBuffer(8))",
        [0, 8],
    ),
    "transfer of what can't be": ("structuredClone(1, { transfer: [{}] })", REFUSED),
    "transfer twice": ("((b) => structuredClone(b, { transfer: [b, b] }))(new ArrayBuffer(1))", REFUSED),
    "function": ("structuredClone(() => 1)", REFUSED),
    "symbol": ("structuredClone({ s: Symbol('x') })", REFUSED),
    "promise": ("structuredClone(Promise.resolve())", REFUSED),
    "weak map": ("structuredClone(new WeakMap())", REFUSED),
    "headers": ("structuredClone({ h: new Headers() })", REFUSED),
    "response": ("structuredClone(new Response('x'))", REFUSED),
    "signal": ("structuredClone(new AbortController().signal)", REFUSED),
    "no argument": ("structuredClone()", Throws("TypeError")),
    "members named like the prototype": (
        "((c) => [Object.getPrototypeOf(c) === Object.prototype, Object.keys(c)])(structuredClone(JSON.parse('{\"__proto__\": 1}')))",
        [True, ["__proto__"]],
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_clone(name: str, got: Mapping[str, Any]) -> None:
    """A clone shares nothing with the original, or is refused."""
    assert got[name] == TABLE[name][1]
