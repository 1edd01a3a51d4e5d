"""Source maps: one that esbuild made, any that can be encoded, and what is none."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelbridge.model import sourcemap
from otelbridge.model.sourcemap import SourceMaps, read_map

# esbuild --bundle --format=esm --minify of two TypeScript files
BUNDLE = "function r(e){if(e.lines.length===0)throw new RangeError(`order ${e.id} is empty`);return e.lines.length}\n"
MAP = {
    "version": 3,
    "sources": ["helper.ts", "main.ts"],
    "mappings": "AAEO,SAASA,EAAMC,EAAsB,CAC1C,GAAIA,EAAM,MAAM,SAAW,EACzB,MAAM,IAAI,WAAW,SAASA,EAAM,EAAE,WAAW,EAEnD,OAAOA,EAAM,MAAM,MACrB,"
    "CCLA,IAAOC,EAAQ,CACb,MAAM,MAAMC,EAAqC,CAC/C,IAAMC,EAAe,CAAE,GAAI,EAAG,MAAO,CAAC,CAAE,EACxC,eAAQ,MAAM,IAAI,UAAU,QAAQ,CAAC,EAC9B,IAAI,SAAS,OAAOC,EAAMD,CAAK,CAAC,CAAC,CAC1C,CACF",
    "names": ["total", "order", "main_default", "request", "order", "total"],
}
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def vlq(value: int) -> str:
    """One number in base64 VLQ."""
    value = (-value << 1) | 1 if value < 0 else value << 1
    out = ""
    while True:
        out += _DIGITS[(value & 31) | (32 if value > 31 else 0)]
        value >>= 5
        if not value:
            return out


def encode(lines: list[list[tuple[int, int, int, int]]]) -> str:
    """Mappings of (column, source, line, column) per generated line, all from 0."""
    last = [0, 0, 0]
    out = []
    for line in lines:
        column = 0
        segments = []
        for at, *place in line:
            segments.append(vlq(at - column) + "".join(vlq(new - old) for new, old in zip(place, last, strict=True)))
            column, last = at, place
        out.append(",".join(segments))
    return ";".join(out)


def inline(value: object) -> bytes:
    """A module that ends with this map."""
    data = base64.b64encode(json.dumps(value).encode()).decode()
    return f"{BUNDLE}//# sourceMappingURL=data:application/json;charset=utf-8;base64,{data}\n".encode()


def maps(modules: dict[str, bytes], files: dict[str, bytes] | None = None) -> SourceMaps:
    """Maps that have been read."""
    made = SourceMaps(modules, files or {})
    made.read()
    return made


def test_a_position_in_a_bundle() -> None:
    """The throw expression of a minified bundle is found in its TypeScript source."""
    assert read_map(json.dumps(MAP).encode()).locate(1, BUNDLE.index("new RangeError") + 1) == ("helper.ts", 5, 11)


@pytest.mark.parametrize(
    ("modules", "files"), [({"a.js": inline(MAP)}, {}), ({"a.js": BUNDLE.encode()}, {"a.js.map": json.dumps(MAP).encode()})]
)
def test_a_stack_is_rewritten(modules: dict[str, bytes], files: dict[str, bytes]) -> None:
    """Frames of the mapped module, named or not, move to their sources; all other text stays as it was."""
    column = BUNDLE.index("new RangeError") + 1
    stack = f"    at r (a.js:1:{column})\n    at a.js:1:{column}\n    at b (b.js:1:1)\n    at c (native)\nsee a.js:1:1"
    expected = "    at r (helper.ts:5:11)\n    at helper.ts:5:11\n    at b (b.js:1:1)\n    at c (native)\nsee a.js:1:1"
    assert maps(modules, files).apply(stack) == expected


PLACES = st.tuples(st.integers(0, 2), st.integers(0, 100_000), st.integers(0, 100_000))


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 10_000), PLACES), max_size=8, unique_by=lambda s: s[0]).map(sorted), min_size=1, max_size=6)
)
def test_what_was_encoded_is_found(lines: list[list[tuple[int, tuple[int, int, int]]]]) -> None:
    """Each segment is found at its column and up to the next one."""
    mappings = encode([[(at, *place) for at, place in line] for line in lines])
    found = read_map(json.dumps({"version": 3, "sources": ["a", "b", "c"], "sourceRoot": "src", "mappings": mappings}).encode())
    for number, line in enumerate(lines, 1):
        for i, (at, (source, source_line, column)) in enumerate(line):
            expected = (f"src/{'abc'[source]}", source_line + 1, column + 1)
            assert found.locate(number, at + 1) == expected
            assert found.locate(number, line[i + 1][0] if i + 1 < len(line) else at + 9) == expected


@given(st.binary(max_size=200) | st.text(alphabet=_DIGITS + ",;!", max_size=80).map(lambda m: json.dumps({**MAP, "mappings": m}).encode()))
def test_any_bytes_are_a_map_or_an_error(data: bytes) -> None:
    """Reading never fails in another way, and neither does looking up a position."""
    try:
        found = read_map(data)
    except (ValueError, msgspec.DecodeError):
        return
    for line in (0, 1, 2, 10**9):
        found.locate(line, 1)


@given(st.text(max_size=200) | st.lists(st.sampled_from(["    at ", "a.js:1:43", "(", ")", "\n", " ", ":", "9" * 12])).map("".join))
def test_any_text_is_a_stack(stack: str) -> None:
    """A text without a frame of a mapped module stays what it is."""
    result = maps({"a.js": inline(MAP)}).apply(stack)
    assert "a.js:1:43" in stack or result == stack


@pytest.mark.parametrize(
    "module",
    [
        inline([]),
        inline({**MAP, "version": 2}),
        inline({**MAP, "mappings": "////////"}),
        inline({**MAP, "sources": []}),
        b"//# sourceMappingURL=data:application/json;base64,!!!",
        b"//# sourceMappingURL=a.js.map",
        b"//# sourceMappingURL=data:application/json,{}",
        b"",
    ],
)
def test_what_is_no_map_changes_nothing(module: bytes) -> None:
    """A worker with a broken map runs with the positions of its bundle."""
    assert maps({"a.js": module}).apply("    at r (a.js:1:43)") == "    at r (a.js:1:43)"


def test_maps_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mappings beyond the limit, of all modules together, are not decoded."""
    monkeypatch.setattr(sourcemap, "MAX_MAPPINGS", len(str(MAP["mappings"])) + 10)
    made = maps({"a.js": inline(MAP), "b.js": inline(MAP)})
    assert made.apply("    at r (a.js:1:43)\n    at r (b.js:1:43)") == "    at r (helper.ts:5:11)\n    at r (b.js:1:43)"


def test_names_of_sources_are_text_for_a_stack() -> None:
    """A source's name can't break a line, nor close the parenthesis around its place."""
    made = maps({"a.js": inline({**MAP, "sources": ["x)\n    at forged (y.ts", None], "sourceRoot": "r"})})
    assert made.apply("    at r (a.js:1:43)") == "    at r (r/x    at forged y.ts:5:11)"


def test_a_name_costs_what_is_shown_of_it() -> None:
    """A long root is cut, and before the sources it stands only where one is asked for: a map can name millions of them."""
    made = read_map(json.dumps({**MAP, "sourceRoot": "r" * 1_000_000, "sources": ["a.ts", "b.ts", *[None] * 100_000]}).encode())
    found = made.locate(1, BUNDLE.index("new RangeError") + 1)
    assert found is not None
    assert found[0] == "r" * 512


def test_a_frame_is_one_line() -> None:
    """The name of a module ends with its line, so that a stack of many lines is read once and not once for each of them."""
    assert maps({"a\nat b.js": inline(MAP)}).apply("at a\nat b.js:1:43") == "at a\nat b.js:1:43"
    assert maps({"b.js": inline(MAP)}).apply("at a\nat b.js:1:43") == "at a\nat helper.ts:5:11"
