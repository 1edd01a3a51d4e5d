"""console.* of ordinary data has a way of its own through the engine: what it records must be what JSON.stringify gives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelbridge import Request
from tests.prelude.conftest import Run

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEYS = st.sampled_from(["a", "b", "path", "1", "0", "toJSON", "é", "with space", 'quo"te', "__proto__", "length", "constructor"]) | st.text(
    max_size=8
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(
        [
            "plain",
            "exactly8",
            "sixteen letters.",
            'a "quote" in it',
            "back\\slash",
            "line\nbreak",
            "tab\t",
            "\x7f",
            "\x00",
            "ä",
            "日本",
            "😀",
        ]
    )
)
DATA = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=12)

SOURCE = """
const SPECIAL = [
  () => ({ a: undefined, b: () => 1, c: Symbol('x'), [Symbol('k')]: 1, d: 1 }),
  () => [undefined, () => 1, Symbol('x'), 1],
  () => [1, , 3],
  () => Object.assign([1, 2], { extra: 1 }),
  () => ({ get a() { return 7 } }),
  () => ({ toJSON() { return 'mine' } }),
  () => Object.defineProperty({ a: 1 }, 'toJSON', { value: () => 'hidden', enumerable: false }),
  () => Object.defineProperty({ a: 1 }, 'b', { value: 2, enumerable: false }),
  () => ({ nested: { toJSON: () => ({ x: 1 }) } }),
  () => ({ when: new Date(0), set: new Set([1]), map: new Map(), re: /x/, err: new Error('e') }),
  () => ({ n: NaN, i: Infinity, z: -0, big: 1e21, small: 1e-7, f: 0.1 }),
  () => ({ s: new String('boxed'), n: new Number(3), b: new Boolean(false) }),
  () => ({ bytes: new Uint8Array([1, 2]) }),
  () => ({ f: Object.assign(() => 1, { toJSON: () => 'function' }) }),
  () => { const o = { a: 1, b: 2 }; delete o.a; o.c = 3; return o },
  () => ({ b: 1, 2: 'two', a: 2, 1: 'one' }),
  () => { let o = { v: 1 }; for (let i = 0; i < 40; i++) o = { o }; return o },
  () => ({ rope: 'left'.repeat(40) + String(1).repeat(60), lone: '\\ud800' }),
  () => ({ rope: ['a'.repeat(300), 'b'.repeat(300)].join('') + 'c' }),
  () => Object.create(null, { a: { value: 1, enumerable: true } }),
  () => new Proxy({ a: 1 }, {}),
];
const TAMPERED = [
  [() => { Object.prototype.toJSON = function () { return 'tampered' } }, () => { delete Object.prototype.toJSON }],
  [() => { Array.prototype.toJSON = function () { return 'tampered' } }, () => { delete Array.prototype.toJSON }],
  [() => { Object.defineProperty(Object.prototype, 'toJSON', { get() { return () => 'getter' }, configurable: true }) }, () => { delete Object.prototype.toJSON }],
];
export default { async fetch(request) {
  const values = request.method === 'POST' ? await request.json() : SPECIAL.map((make) => make());
  const wanted = values.map((v) => JSON.stringify(v) ?? 'null');
  for (const value of values) console.log(value);
  const tampered = [];
  if (request.method === 'GET') {
    for (const [tamper, undo] of TAMPERED) for (const value of [{ a: [1] }, [{ b: 1 }], { c: 's' }]) {
      tamper();
      console.log(value);
      const text = JSON.stringify(value);
      undo();
      tampered.push(text);
    }
  }
  return new Response('[' + [...wanted, ...tampered].join(',') + ']');
} }"""


async def ask(run: Run, values: Any = None) -> tuple[list[Any], list[Any]]:
    """Have values logged; what was recorded, and what JSON.stringify made of them."""
    body = None if values is None else json.dumps(values).encode()
    wanted, items = await run(SOURCE, Request("GET" if values is None else "POST", "http://w/", [], body))
    return [log["message"][0] for log in items[0]["logs"]], wanted


async def test_special_values(run: Run) -> None:
    """What JSON leaves out, orders, calls or refuses; and prototypes that a worker gave a toJSON."""
    recorded, wanted = await ask(run)
    assert [*map(text, recorded)] == [*map(text, wanted)]


def text(value: Any) -> str:
    """A value as text in which the order of members counts; a lone surrogate can't leave the bridge."""
    return json.dumps(value).replace("\\ud800", "\\ufffd")


async def test_any_data(run: Run) -> None:
    """Any JSON document is recorded as JSON.stringify writes it, with its members in the same order."""
    examples: list[Any] = []

    @settings(max_examples=300, database=None, deadline=None)
    @given(DATA)
    def collect(value: Any) -> None:
        if isinstance(value, dict | list):
            examples.append(value)

    collect()
    for start in range(0, len(examples), 40):
        recorded, wanted = await ask(run, examples[start : start + 40])
        assert [*map(text, recorded)] == [*map(text, wanted)]
