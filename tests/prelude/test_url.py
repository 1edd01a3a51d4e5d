"""URL, URLSearchParams and URLPattern follow the WHATWG standard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.prelude.conftest import Throws

INVALID = Throws("TypeError", "Invalid URL string.")


def href(*arguments: str) -> str:
    """An expression: the URL made of these, as text."""
    return f"new URL({', '.join(json.dumps(a) for a in arguments)}).href"


TABLE: dict[str, tuple[str, Any]] = {
    "as it stands": (href("https://api.example.com/v1/items/42?x=1&y=2#top"), "https://api.example.com/v1/items/42?x=1&y=2#top"),
    "an address as it stands": (href("http://127.0.0.1:8787/a?b"), "http://127.0.0.1:8787/a?b"),
    "upper case": (href("HTTPS://EXAMPLE.com/A"), "https://example.com/A"),
    "no path": (href("http://h"), "http://h/"),
    "default port": (href("http://h:80/"), "http://h/"),
    "port with zeros": (href("http://h:0081/"), "http://h:81/"),
    "port too large": (href("http://h:65536/"), INVALID),
    "port with letters": (href("http://h:8a/"), INVALID),
    "blanks and controls around": (href("  http://h/a\t\nb \0"), "http://h/ab"),
    "back slashes": (href("http:\\\\h\\a\\b"), "http://h/a/b"),
    "dot segments": (href("http://h/a/./b/../c/%2e%2E/d/."), "http://h/a/d/"),
    "dots above the root": (href("http://h/../../a"), "http://h/a"),
    "encoded path": (href('http://h/a b"<>`{}^é'), "http://h/a%20b%22%3C%3E%60%7B%7D%5E%C3%A9"),
    "encoded query": (href("http://h/?a b\"<>#'é"), "http://h/?a%20b%22%3C%3E#'%C3%A9"),
    "quote in a special query": (href("http://h/?'"), "http://h/?%27"),
    "lone surrogate": (href("http://h/\ud800"), "http://h/%EF%BF%BD"),
    "bad escapes stay": (href("http://h/%zz%"), "http://h/%zz%"),
    "credentials": (href("http://us er:p@ss:w@h/"), "http://us%20er:p%40ss%3Aw@h/"),
    "empty host": (href("http:///"), INVALID),
    "host behind too many slashes": (href("http:////h/a"), "http://h/a"),
    "forbidden in hosts": ("['a b', 'a<b', 'a^b', 'a|b', 'a%', 'a%00'].map((h) => URL.canParse('http://' + h + '/'))", [False] * 6),
    "escapes in hosts": (href("http://ex%41mple.com/"), "http://example.com/"),
    "hexadecimal address": (href("http://0x7f.1/"), "http://127.0.0.1/"),
    "octal address": (href("http://017700000001/"), "http://127.0.0.1/"),
    "one number": (href("http://4294967295/"), "http://255.255.255.255/"),
    "number too large": (href("http://4294967296/"), INVALID),
    "address with five parts": (href("http://1.2.3.4.5/"), INVALID),
    "address with a bad part": (href("http://1.2.3.09/"), INVALID),
    "address that is out of range": (href("http://256.1.1.1/"), INVALID),
    "host that ends in a number": (href("http://a.1/"), INVALID),
    "ipv6": (href("http://[2001:DB8:0:0:1::1]/"), "http://[2001:db8::1:0:0:1]/"),
    "ipv6 with ipv4": (href("http://[::ffff:1.2.3.4]/"), "http://[::ffff:102:304]/"),
    "ipv6 that is wrong": ("['[::1', '[1::2::3]', '[g::]', '[1:2:3]', '[::1.2.3]'].map((h) => URL.canParse('http://' + h))", [False] * 5),
    "international domain": (href("http://Bücher.日本.example/"), "http://xn--bcher-kva.xn--wgv71a.example/"),
    "wide domain": (href("http://\uff27\uff2f\uff0ecom/"), "http://go.com/"),
    "sharp s": (href("http://faß.de/"), "http://xn--fa-hia.de/"),
    "punycode that decodes to nothing": (href("http://xn--a/"), INVALID),
    "file": (href("file:///C|/a/../.."), "file:///C:/"),
    "file with a host": (href("file://localhost/a"), "file:///a"),
    "opaque path": (href("mailto:a b@c?d#e"), "mailto:a b@c?d#e"),
    "other scheme": (href("foo://H:80/a/../b"), "foo://H:80/b"),
    "other scheme, two slashes in the path": (href("foo:/.//p"), "foo:/.//p"),
    "no scheme": (href("/a"), INVALID),
    "relative": (href("../x/y?z", "http://h/a/b/c"), "http://h/a/x/y?z"),
    "relative query": (href("?q", "http://h/a/b#f"), "http://h/a/b?q"),
    "relative fragment": (href("#f", "http://h/a?b"), "http://h/a?b#f"),
    "relative host": (href("//i/x", "https://h/a"), "https://i/x"),
    "relative to an opaque path": (href("x", "mailto:a"), INVALID),
    "same scheme without slashes": (href("http:x", "http://h/a/b"), "http://h/a/x"),
    "invalid base": (href("http://h/", "nope"), INVALID),
    "parts": (
        "(({ protocol, username, password, host, hostname, port, pathname, search, hash, origin }) => [protocol, username, password, host,"
        " hostname,"
        " port, pathname, search, hash, origin])(new URL('https://u:p@h:8080/a/b?c=d#e'))",
        ["https:", "u", "p", "h:8080", "h", "8080", "/a/b", "?c=d", "#e", "https://h:8080"],
    ),
    "setters": (
        "((u) => { u.protocol = 'http'; u.host = 'i:99'; u.pathname = 'x y'; u.search = 'q=1'; u.hash = 'z'; u.username = 'me';"
        " u.port = '80'; return u.href })"
        "(new URL('https://h/'))",
        "http://me@i/x%20y?q=1#z",
    ),
    "setters that change nothing": (
        "((u) => { u.protocol = 'foo'; u.host = ''; u.port = 'x'; u.hostname = 'a b'; return u.href })(new URL('https://h/'))",
        "https://h/",
    ),
    "setting an invalid href": ("((u) => { u.href = 'x' })(new URL('http://h/'))", INVALID),
    "as text and as JSON": ("[`${new URL('http://h')}`, JSON.stringify({ u: new URL('http://h') })]", ["http://h/", '{"u":"http://h/"}']),
    "parse and canParse": (
        "[URL.parse('x'), URL.parse('http://h').href, URL.canParse('x'), URL.canParse('x', 'http://h')]",
        [None, "http://h/", False, True],
    ),
    "origin of others": ("['file:///a', 'foo://h', 'blob:http://h/x'].map((u) => new URL(u).origin)", ["null", "null", "http://h"]),
    "called without new": ("URL('http://h')", Throws("TypeError")),
    "foreign receiver": ("Object.getOwnPropertyDescriptor(URL.prototype, 'href').get.call({})", Throws("TypeError")),
    "search parameters": (
        "[...new URLSearchParams('?a=1&b=%20+&a=%C3%A9&=x&c')]",
        [["a", "1"], ["b", "  "], ["a", "é"], ["", "x"], ["c", ""]],
    ),
    "parameters that are not UTF-8": ("[...new URLSearchParams('a=%ff&%zz=%E6%97')]", [["a", "\ufffd"], ["%zz", "\ufffd"]]),
    "parameters as text": ("`${new URLSearchParams([['a b', 'é&=+'], ['~', \"*'()\"]])}`", "a+b=%C3%A9%26%3D%2B&%7E=*%27%28%29"),
    "parameters of a record": ("`${new URLSearchParams({ a: 1, b: [2, 3] })}`", "a=1&b=2%2C3"),
    "parameters that are no pairs": ("new URLSearchParams([['a']])", Throws("TypeError")),
    "parameter methods": (
        "((p) => { p.append('a', '3'); p.set('b', 'x'); p.delete('c'); p.sort(); "
        " return [p.get('a'), p.getAll('a'), p.has('a', '3'), p.has('z'), p.size, `${p}`] })"
        "(new URLSearchParams('c=0&b=1&a=2&b=9'))",
        ["2", ["2", "3"], True, False, 3, "a=2&a=3&b=x"],
    ),
    "parameters of a url": (
        "((u) => { const p = u.searchParams; p.append('y', '2 3'); const a = u.search; u.search = '?z=1';"
        " const b = [...p]; p.delete('z'); return [a, b, u.href] })"
        "(new URL('http://h/?x=1'))",
        ["?x=1&y=2+3", [["z", "1"]], "http://h/"],
    ),
    "parameters after a new href": (
        "((u) => { const p = u.searchParams; u.href = 'http://i/?w=1'; p.append('v', '2'); return u.href })(new URL('http://h/?x=1'))",
        "http://i/?w=1&v=2",
    ),
    "removal while iterating": (
        "((p) => { const seen = []; for (const [k] of p) { seen.push(k); p.delete(k) } return seen })(new URLSearchParams('a&b&c'))",
        ["a", "c"],
    ),
    "names of the iterators": (
        "[new URLSearchParams().entries(), new Headers().keys(), new FormData().values()].map((i) => Object.prototype.toString.call(i))",
        ["[object URLSearchParams Iterator]", "[object Headers Iterator]", "[object FormData Iterator]"],
    ),
    "pattern": ("new URLPattern({ pathname: '/users/:id' }).exec('http://h/users/12').pathname.groups", {"id": "12"}),
    "pattern with a base": ("['/a/b', '/c'].map((p) => new URLPattern('/a/*', 'http://h').test('http://h' + p))", [True, False]),
    "pattern that is none": ("new URLPattern({ pathname: '/(' })", Throws("TypeError")),
}


@pytest.mark.parametrize("name", TABLE)
def test_url(name: str, got: Mapping[str, Any]) -> None:
    """A URL, its parameters or a pattern behave as the standard says."""
    assert got[name] == TABLE[name][1]
