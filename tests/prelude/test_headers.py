"""Headers: names, values, order and guards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.prelude.conftest import Throws

TABLE: dict[str, tuple[str, Any]] = {
    "sorted and combined": (
        "((h) => { h.append('A', '3'); return [...h] })(new Headers([['b', '2'], ['a', '1']]))",
        [["a", "1, 3"], ["b", "2"]],
    ),
    "cookies stay apart": (
        "((h) => [[...h], h.getSetCookie(), h.getAll('set-cookie'), h.get('Set-Cookie')])(new Headers([['set-cookie', 'a=1'], ['x', 'y'], ['Set-Cookie', 'b=2']]))",
        [[["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x", "y"]], ["a=1", "b=2"], ["a=1", "b=2"], "a=1, b=2"],
    ),
    "getAll of others": ("new Headers().getAll('a')", Throws("TypeError")),
    "from a record, a map and headers": (
        "[{ A: 1 }, new Map([['a', '1']]), new Headers({ a: '1' })].map((i) => new Headers(i).get('a'))",
        ["1", "1", "1"],
    ),
    "from what is neither": ("new Headers([['a']])", Throws("TypeError")),
    "get, set, has, delete": (
        "((h) => { h.set('A', 'x'); h.delete('B'); return [h.get('a'), h.get('b'), h.has('a'), h.has('b')] })(new Headers([['a', '1'], ['b', '2'], ['a', '3']]))",
        ["x", None, True, False],
    ),
    "blanks around a value": ("new Headers({ a: '\\t x \\r\\n' }).get('a')", "x"),
    "empty value": ("[...new Headers({ a: '' })]", [["a", ""]]),
    "names that are not": (
        "['', 'a b', 'é', 'a:', 'a\\n'].map((n) => { try { return [...new Headers([[n, 'v']])] } catch (e) { return e.message } })",
        ["Invalid header name."] * 5,
    ),
    "values that split a response": (
        "['a\\r\\nb: c', 'a\\nb', 'a\\0', '\\u20ac'].map((v) => { try { return [...new Headers({ a: v })] } catch (e) { return e.message } })",
        ["Invalid header value."] * 4,
    ),
    "forEach": (
        "((out) => { new Headers({ b: '2', a: '1' }).forEach((v, k, h) => out.push([k, v, h instanceof Headers])); return out })([])",
        [["a", "1", True], ["b", "2", True]],
    ),
    "of an incoming request": ("request.headers.set('a', 'b')", Throws("TypeError", "immutable")),
    "of a copied request": ("((r) => { r.headers.set('a', 'b'); return r.headers.get('a') })(new Request(request))", "b"),
    "of a response": (
        "((r) => { r.headers.append('a', 'b'); return [...r.headers] })(new Response('x'))",
        [["a", "b"], ["content-type", "text/plain;charset=UTF-8"]],
    ),
    "tag and class": (
        "[String(new Headers()), Headers.name, Object.keys(Headers.prototype), Object.keys(new Headers({ a: 'b' }))]",
        ["[object Headers]", "Headers", [], []],
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_headers(name: str, got: Mapping[str, Any]) -> None:
    """Headers behave as the fetch standard says, with workerd's messages."""
    assert got[name] == TABLE[name][1]
