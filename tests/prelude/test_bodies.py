"""Request, Response, Blob, File and FormData."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.prelude.conftest import Throws

USED = Throws("TypeError", "Body has already been used")
FORM = "((f) => { f.append('a\"b', 'x\\ny'); f.append('f', new File(['data\\r\\n--x'], 'n\"1.txt', { type: 'text/x' })); return f })(new FormData())"
MULTIPART = '\'--B\\r\\nContent-Disposition: form-data; name="a"\\r\\n\\r\\n1\\r\\n--B\\r\\ncontent-disposition: form-data; name="f"; filename="x"\\r\\n\\r\\nyz\\r\\n--B--\''

TABLE: dict[str, tuple[str, Any]] = {
    "text": ("new Response('hé').text()", "hé"),
    "json": ("new Response('{\"a\":[1]}').json()", {"a": [1]}),
    "json that is none": ("new Response('x').json()", Throws("SyntaxError")),
    "bytes": ("(async () => [...(await new Response('ab').bytes())])()", [97, 98]),
    "a buffer of its own": ("(async () => (await new Response(new Uint8Array([1, 2, 3]).subarray(1)).arrayBuffer()).byteLength)()", 2),
    "the worker's array may change later": ("((u, r) => (r = new Response(u), u[0] = 98, r.text()))(new Uint8Array([97]))", "a"),
    "lone surrogates": ("new Response('\\ud800').text()", "\ufffd"),
    "byte order mark": ("new Response('\\ufeffx').text()", "x"),
    "no body": ("(async (r) => [r.body, await r.text(), r.bodyUsed])(new Response())", [None, "", False]),
    "used once": ("(async (r) => { await r.text(); return r.json() })(new Response('1'))", USED),
    "used by a reader": (
        "(async (r) => { await r.body.getReader().read(); return [r.bodyUsed, await r.text()] })(new Response('1'))",
        USED,
    ),
    "locked": ("(async (r) => { r.body.getReader(); return r.text() })(new Response('1'))", Throws("TypeError", "locked")),
    "body after reading": ("(async (r) => { await r.text(); return [r.bodyUsed, r.body.locked] })(new Response('1'))", [True, True]),
    "clone": (
        "(async (r) => { const c = r.clone(); return [await r.text(), await c.text()] })(new Response('x', { headers: { a: 'b' } }))",
        ["x", "x"],
    ),
    "clone of a stream": (
        "(async (r) => { const c = r.clone(); return [await r.text(), await c.text()] })(new Response(new Blob(['xy']).stream()))",
        ["xy", "xy"],
    ),
    "clone of a used body": ("(async (r) => { await r.text(); r.clone() })(new Response('x'))", USED),
    "content types": (
        "['x', new URLSearchParams('a=b'), new Blob(['x'], { type: 'A/b' }), new Uint8Array(1), null, 5].map((b) => new Response(b).headers.get('content-type'))",
        ["text/plain;charset=UTF-8", "application/x-www-form-urlencoded;charset=UTF-8", "a/b", None, None, "text/plain;charset=UTF-8"],
    ),
    "given content type": ("new Response('x', { headers: { 'Content-Type': 'text/html' } }).headers.get('content-type')", "text/html"),
    "object as a body": ("new Response({ a: 1 }).text()", "[object Object]"),
    "symbol as a body": ("new Response(Symbol('s'))", Throws("TypeError")),
    "statuses": (
        "[199, 600, 0, NaN, 'x', 200, '404', 599].map((s) => { try { return new Response(null, { status: s }).status } catch (e) { return e.message } })",
        ["Responses may only be constructed with status codes in the range 200 to 599, inclusive."] * 5 + [200, 404, 599],
    ),
    "body where none may be": ("new Response('x', { status: 204 })", Throws("TypeError", "null body status")),
    "status text": ("[new Response('', { statusText: 'Fine' }).statusText, new Response('').statusText]", ["Fine", ""]),
    "status text that splits": ("new Response('', { statusText: 'a\\nb' })", Throws("TypeError")),
    "ok": ("[200, 299, 300, 500].map((s) => new Response(null, { status: s }).ok)", [True, True, False, False]),
    "Response.json": (
        "(async (r) => [await r.text(), [...r.headers], r.status])(Response.json({ a: 1 }, { status: 201, headers: { b: 'c' } }))",
        ['{"a":1}', [["b", "c"], ["content-type", "application/json"]], 201],
    ),
    "Response.json of nothing": ("Response.json(undefined)", Throws("TypeError")),
    "redirect": (
        "((r) => [r.status, r.headers.get('location'), r.body])(Response.redirect('http://h/é', 301))",
        [301, "http://h/%C3%A9", None],
    ),
    "redirect to nowhere": ("Response.redirect('/x')", Throws("TypeError")),
    "redirect with a wrong status": ("Response.redirect('http://h', 200)", Throws("RangeError")),
    "error response": ("((r) => [r.type, r.status])(Response.error())", ["error", 0]),
    "response from a response": (
        "((a) => { const b = new Response('y', a); return [b.status, b.headers.get('a')] })(new Response('x', { status: 418, headers: { a: 'b' } }))",
        [418, "b"],
    ),
    "request": (
        "((r) => [r.method, r.url, r.redirect, r.headers.get('content-type'), r.signal instanceof AbortSignal, r.bodyUsed])(new Request('HTTP://h/a#b', { method: 'post', body: 'x' }))",
        ["POST", "http://h/a#b", "follow", "text/plain;charset=UTF-8", True, False],
    ),
    "methods": (
        "['get', 'patch', 'PROPFIND', 'x-y'].map((method) => new Request('http://h', { method }).method)",
        ["GET", "PATCH", "PROPFIND", "x-y"],
    ),
    "methods that are none": (
        "['a b', '', 'CONNECT', 'é'].map((method) => { try { return new Request('http://h', { method }).method } catch (e) { return e.name } })",
        ["TypeError"] * 4,
    ),
    "body with GET": ("new Request('http://h', { body: 'x' })", Throws("TypeError", "GET or HEAD")),
    "relative request": ("new Request('/x')", Throws("TypeError", "Invalid URL")),
    "credentials in a request": ("new Request('http://u:p@h')", Throws("TypeError")),
    "redirect mode error": ("new Request('http://h', { redirect: 'error' })", Throws("TypeError", "Invalid redirect value")),
    "request of a request": (
        "(async (a) => { const b = new Request(a, { headers: { x: 'y' } }); return [a.bodyUsed, b.method, [...b.headers], await b.text()] })"
        "(new Request('http://h', { method: 'PUT', body: 'z', headers: { q: '1' } }))",
        [True, "PUT", [["x", "y"]], "z"],
    ),
    "clone of a request": (
        "(async (a) => { const b = a.clone(); return [await a.text(), await b.text(), b.method, b.headers.get('q')] })(new Request('http://h', { method: 'PUT', body: 'z', headers: { q: '1' } }))",
        ["z", "z", "PUT", "1"],
    ),
    "the incoming request": (
        "[request.method, request.url, request.redirect, request.body, request.signal.aborted, String(request)]",
        ["GET", "http://worker.example/path?q=1", "manual", None, False, "[object Request]"],
    ),
    "blob": (
        "(async (b) => [b.size, b.type, await b.text(), await b.slice(-3, -1).text(), b.slice(1, 2, 'T/q').type, b.slice(5, 1).size])(new Blob(['ab', new Uint8Array([99]), new Blob(['de'])], { type: 'X/Y' }))",
        [5, "x/y", "abcde", "cd", "t/q", 0],
    ),
    "blob as a stream": ("new Response(new Blob(['abc']).stream()).text()", "abc"),
    "blob that is none": ("new Blob('x')", Throws("TypeError")),
    "blob of a body": (
        "(async (b) => [b.type, b.size])(await new Response('x', { headers: { 'content-type': 'Text/Plain' } }).blob())",
        ["text/plain", 1],
    ),
    "file": (
        "((f) => [f.name, f.lastModified, f.size, f instanceof Blob, String(f)])(new File(['x'], 'n.txt', { lastModified: 5 }))",
        ["n.txt", 5, 1, True, "[object File]"],
    ),
    "form": (
        "((f) => { f.append('a', '1'); f.append('a', '2'); f.set('b', new Blob(['x'])); f.set('a', '3'); return [[...f.keys()], f.getAll('a'), f.get('b').name, f.get('z')] })(new FormData())",
        [["a", "b"], ["3"], "blob", None],
    ),
    "form with a name for text": ("new FormData().append('a', 'x', 'name')", Throws("TypeError")),
    "form there and back": (
        f"(async (g) => {{ const f = g.get('f'); return [g.get('a\"b'), f.name, f.type, await f.text()] }})(await new Response({FORM}).formData())",
        ["x\r\ny", 'n"1.txt', "text/x", "data\r\n--x"],
    ),
    "multipart": (
        f"(async (g) => [g.get('a'), g.get('f').name, g.get('f').type, await g.get('f').text()])(await new Response({MULTIPART}, {{ headers: {{ 'content-type': 'multipart/form-data; boundary=\"B\"' }} }}).formData())",
        ["1", "x", "text/plain", "yz"],
    ),
    "multipart that breaks off": (
        f"new Response({MULTIPART}.slice(0, -20), {{ headers: {{ 'content-type': 'multipart/form-data; boundary=B' }} }}).formData()",
        Throws("TypeError"),
    ),
    "urlencoded": ("(async () => [...await new Response(new URLSearchParams('a=1&b=%20+')).formData()])()", [["a", "1"], ["b", "  "]]),
    "form of other content": ("new Response('x').formData()", Throws("TypeError", "Unrecognized Content-Type")),
    "foreign receivers": (
        "['text', 'clone'].map((m) => { try { return Response.prototype[m].call({}) } catch (e) { return e.name } })",
        ["TypeError", "TypeError"],
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_bodies(name: str, got: Mapping[str, Any]) -> None:
    """Bodies and the messages around them behave as the fetch standard says, with workerd's messages."""
    assert got[name] == TABLE[name][1]
