"""TextEncoder, TextDecoder and base64 follow the standards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.prelude.conftest import Throws

PARTS = "((d) => [d.decode(new Uint8Array({0}), {{ stream: true }}), d.decode(new Uint8Array({1}), {{ stream: true }}), d.decode()])"

TABLE: dict[str, tuple[str, Any]] = {
    "encode": ("[...new TextEncoder().encode('aé€😀')]", [97, 195, 169, 226, 130, 172, 240, 159, 152, 128]),
    "encode a lone surrogate": ("[...new TextEncoder().encode('\\ud800')]", [239, 191, 189]),
    "encode nothing": ("new TextEncoder().encode().length", 0),
    "encode into too little room": (
        "((b) => [new TextEncoder().encodeInto('aé€', b), [...b]])(new Uint8Array(5))",
        [{"read": 2, "written": 3}, [97, 195, 169, 0, 0]],
    ),
    "encode into a buffer": ("new TextEncoder().encodeInto('a', new ArrayBuffer(1))", Throws("TypeError")),
    "decode": ("new TextDecoder().decode(new Uint8Array([226, 130, 172]))", "€"),
    "decode a view in the middle of a buffer": ("new TextDecoder().decode(new Uint8Array([1, 97, 98, 2]).subarray(1, 3))", "ab"),
    "decode a DataView": ("new TextDecoder().decode(new DataView(new Uint8Array([97, 98, 99]).buffer, 1))", "bc"),
    "decode text": ("new TextDecoder().decode('a')", Throws("TypeError")),
    "byte order mark": (
        "((b) => [new TextDecoder().decode(b).length, new TextDecoder('utf-8', { ignoreBOM: true }).decode(b).length])(new Uint8Array([239, 187, 191, 97]))",
        [1, 2],
    ),
    "bytes that are not UTF-8": (
        "new TextDecoder().decode(new Uint8Array([255, 97, 226, 130, 237, 160, 128]))",
        "\ufffda\ufffd\ufffd\ufffd\ufffd",
    ),
    "fatal": ("new TextDecoder('utf8', { fatal: true }).decode(new Uint8Array([255]))", Throws("TypeError")),
    "in pieces": (PARTS.format("[226, 130]", "[172, 97]") + "(new TextDecoder())", ["", "€a", ""]),
    "in pieces, cut off": (PARTS.format("[97, 240]", "[159, 152]") + "(new TextDecoder())", ["a", "", "\ufffd"]),
    "in pieces, two bytes of UTF-16": (PARTS.format("[97]", "[0, 61, 216]") + "(new TextDecoder('utf-16le'))", ["", "a", "\ufffd"]),
    "big-endian UTF-16": ("new TextDecoder('utf-16be').decode(new Uint8Array([32, 172]))", "€"),
    "windows-1252": ("new TextDecoder('latin1').decode(new Uint8Array([128, 233, 129]))", "€é\x81"),
    "labels": (
        "['UTF8', ' utf-8 ', 'ascii', 'UCS-2'].map((l) => new TextDecoder(l).encoding)",
        ["utf-8", "utf-8", "windows-1252", "utf-16le"],
    ),
    "unknown label": ("new TextDecoder('koi8-r')", Throws("RangeError")),
    "base64": ("[btoa('hé'), atob('aOk='), atob(' aO k= '), btoa(''), atob('')]", ["aOk=", "hé", "hé", "", ""]),
    "base64 of wide text": ("btoa('€')", Throws("InvalidCharacterError")),
    "text that is not base64": (
        "['YQ=', 'Y', '====', 'a-b_'].map((s) => { try { return atob(s) } catch (e) { return e.name } })",
        ["InvalidCharacterError"] * 4,
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_encoding(name: str, got: Mapping[str, Any]) -> None:
    """Text becomes bytes and bytes become text as the standards say."""
    assert got[name] == TABLE[name][1]
