"""The compiled encoder: the same bytes as Python's, for whatever a guest wrote."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otelbridge.errors import SandboxError
from otelbridge.model import ring
from otelbridge.model.count import count
from otelbridge.model.part import ColdStart, End, Part, WorkerRef
from otelbridge.model.trace import Dropped, FetchEvent, Subrequest
from otelbridge.otel import encoder as module
from otelbridge.otel import wire
from otelbridge.otel.encoder import Encoder
from otelbridge.otel.log_rows import log_rows
from otelbridge.otel.shape import TRUNCATED, Shape
from otelbridge.otel.span_rows import SpanRow, span_rows
from otelbridge.sandbox import Cache, wat
from tests.otel.strategies import JSON, TEXT, hex_ids, invocations

_PLAIN = Shape()


def part(*entries: bytes, first_sequence: int = 0) -> Part:
    """Return a part with these entries in its ring."""
    return Part(
        worker=WorkerRef("w", "v"), invocation_id="0" * 31 + "a", trace_id="b" * 32, span_id="c" * 16, parent_span_id=None, trace_flags=1,
        event=FetchEvent("GET", "http://w/", {}), entrypoint=None, start_ns=5, number=0, first_sequence=first_sequence, floor_ns=5, time_ns=900,
        ring=b"".join(entries),
    )  # fmt: skip


def by_python(one: Part, *, shape: Shape = _PLAIN, lowest: int = 0) -> tuple[bytes, int, int]:
    """Return what log_rows.py and wire.py make of a part."""
    rows = list(log_rows(one, shape=shape, lowest=lowest))
    return wire.records(wire.log_records(one, rows)), len(rows), sum(row.extra is not None and TRUNCATED in row.extra for row in rows)


def logs(encoder: Encoder, one: Part, **limits: Any) -> tuple[bytes, int, int]:
    """Return what the encoder makes of a part."""
    (made,) = encoder.log_records([one], **limits)
    return made.data, made.count, made.truncated


def spans(rows: Sequence[SpanRow]) -> tuple[bytes, int]:
    """Return what wire.py makes of the spans of an invocation."""
    return wire.records(wire.spans(rows)), len(rows)


def left(encoder: Encoder, *parts: Part) -> list[int]:
    """Return how many entries of parts the module leaves to Python, of those of which it leaves some."""
    found: list[int] = []

    def complete(*arguments: Any) -> Any:
        found.append(arguments[4].stop - arguments[4].start)
        return Encoder._complete(encoder, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "_complete", complete)
        patch.setattr(module, "_by_python", None)
        encoder.log_records(parts)
    return found


ODD: list[dict[str, Any]] = [
    {"floor_ns": 1 << 63, "first_sequence": -1}, {"time_ns": -1}, {"floor_ns": -7}, {"first_sequence": -1}, {"trace_id": ""}, {"trace_id": "é" + "b" * 31}, {"span_id": "z" * 16},
    {"trace_id": "b" * 30, "invocation_id": "c" * 34}, {"invocation_id": ""}, {"invocation_id": "ü\ud800" * 100}, {"trace_flags": 257},
    {"trace_id": "b" * 31, "span_id": "/" + "c" * 16}, {"invocation_id": "i" * 600_000},
]  # fmt: skip


@st.composite
def parts_of_many(draw: st.DrawFn) -> list[Part]:
    """Parts of several invocations, and among them some as no loader writes them."""
    found = [one for some in draw(st.lists(invocations(), max_size=4)) for one in some]
    return [msgspec.structs.replace(one, **draw(st.sampled_from([{}, {}, {}, *ODD[:-1]]))) for one in found]


@pytest.mark.fuzz
@given(
    parts=parts_of_many(),
    shape=st.just(_PLAIN) | st.builds(Shape, st.integers(0, 200), st.integers(0, 8), st.integers(0, 40), st.integers(0, 10)),
    lowest=st.sampled_from([0, 9, 13]),
)
def test_it_writes_what_python_writes(encoder: Encoder, parts: list[Part], shape: Shape, lowest: int) -> None:
    """Under any limits, of however many parts at once, the records of each are the same bytes, with the same counts."""
    made = encoder.log_records(parts, shape=shape, lowest=lowest)
    assert [(one.data, one.count, one.truncated) for one in made] == [by_python(one, shape=shape, lowest=lowest) for one in parts]
    assert encoder.counts(parts) == [count(one) for one in parts]


@pytest.mark.fuzz
@given(
    many=st.lists(invocations(), max_size=5),
    shape=st.just(_PLAIN) | st.builds(Shape, attributes=st.integers(1, 8), attribute_bytes=st.integers(0, 40)),
)
def test_it_writes_the_spans_that_python_writes(encoder: Encoder, many: list[list[Part]], shape: Shape) -> None:
    """The spans of however many invocations at once are the same bytes."""
    rows = [span_rows(parts, shape=shape) for parts in many]
    assert [(one.data, one.count) for one in encoder.spans(rows)] == [spans(one) for one in rows]


@pytest.mark.fuzz
@given(data=st.data())
def test_it_writes_any_span(encoder: Encoder, data: st.DataObject) -> None:
    """Rows with any text, number and attribute are the same bytes, and need no Python unless they hold what JSON can't."""
    text = st.text(max_size=200) | TEXT
    row = data.draw(
        st.builds(
            SpanRow, hex_ids(16), hex_ids(8), st.just("") | hex_ids(8), text, st.integers(1, 3), st.integers(0, (1 << 63) - 1),
            st.integers(0, (1 << 63) - 1), st.dictionaries(text, JSON | text, max_size=5), st.integers(0, 300), st.sampled_from([0, 2]), text,
            st.booleans(),
        )
    )  # fmt: skip
    assert encoder.spans([[row, row]])[0].data == wire.records(wire.spans([row, row]))


def usual(number: int) -> Part:
    """Return a part as a loader writes it."""
    lines = [ring.pack(ring.LOG, b'["line",{"n":%d}]' % i, level=1, time_ns=6 + i) for i in range(number % 5)]
    return msgspec.structs.replace(part(*lines), invocation_id=f"{number:032x}", end=End(900, "ok", 1, 2, 200))


@pytest.mark.parametrize("change", ODD, ids=lambda change: ",".join(change))
def test_what_no_loader_writes_is_encoded_all_the_same(encoder: Encoder, change: dict[str, Any]) -> None:
    """Times and numbers beyond 63 bits, and ids that are none, give what Python makes of them, and so do those at their side."""
    odd = msgspec.structs.replace(part(ring.pack(ring.LOG, b"[1]", time_ns=6)), **change)
    parts = [usual(i) if i != 11 else odd for i in range(20)]
    assert logs(encoder, odd) == by_python(odd)
    assert [(one.data, one.count, one.truncated) for one in encoder.log_records(parts)] == [by_python(one) for one in parts]


@pytest.mark.parametrize("text", ["\ud800", "x" * 600_000], ids=["surrogate", "long"])
def test_an_odd_invocation_costs_only_itself(encoder: Encoder, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """When the spans of one invocation of many can't be told in JSON, or have no room, Python makes those and no others."""
    rows = [span_rows([usual(i)]) for i in range(20)]
    rows[7][0].attributes["odd"] = text
    expected = [spans(one) for one in rows]
    by_wire, asked = wire.spans, []

    def counted(found: Sequence[SpanRow]) -> Any:
        asked.append(found)
        return by_wire(found)

    monkeypatch.setattr(wire, "spans", counted)
    assert [(one.data, one.count) for one in encoder.spans(rows)] == expected
    assert asked == [rows[7]]


def test_more_than_fit_at_once(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that are too many for one call, or too large together, need no Python."""
    many = [usual(i) for i in range(3000)]
    large = [part(*[ring.pack(ring.LOG, b'["%s"]' % (b"y" * 1000), time_ns=6) for _ in range(100)]) for _ in range(20)]
    rows = [span_rows([one]) for one in many]
    expected = [by_python(one) for one in many + large], [spans(one) for one in rows], [count(one) for one in many + large]
    for name in ("_by_python", "count", "wire"):
        monkeypatch.setattr(module, name, None)
    found = encoder.log_records(many) + encoder.log_records(large)
    assert [(one.data, one.count, one.truncated) for one in found] == expected[0]
    assert [(one.data, one.count) for one in encoder.spans(rows)] == expected[1]
    assert encoder.counts(many) + encoder.counts(large) == expected[2]


_SPACES = st.sampled_from(["", " ", "\n\t", "\r"])
_NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?", fullmatch=True),
)
_ESCAPES = st.sampled_from(
    [r"\n", r"\"", r"\\", r"\/", r"\b", r"\u0000", r"\u00e9", r"\ud83d\ude00", r"\ud83d", r"\ude00", r"\u12", r"\x", "é", "😀", "\x7f"]
)
_STRINGS = st.lists(_ESCAPES | st.text(max_size=3), max_size=3).map(lambda parts: '"' + "".join(parts) + '"')


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """JSON as people, programs and fools write it: spaces, odd numbers and escapes, equal names, missing and surplus characters."""
    inner = st.recursive(
        _NUMBERS
        | _STRINGS
        | st.sampled_from(["null", "true", "false", "nul", "-", "01", "1.", ".5", "1e", "", "NaN", "-0", "-0.0", "1e999"]),
        lambda value: (
            st.lists(value, max_size=3).map(lambda v: "[" + " , ".join(v) + "]")
            | st.lists(st.tuples(st.sampled_from(['"a"', '"b"', '"\\u0061"', "a"]) | _STRINGS, value), max_size=3).map(
                lambda pairs: "{" + ",".join(f"{k} : {v}" for k, v in pairs) + "}"
            )
        ),
        max_leaves=6,
    )
    values = draw(st.lists(inner, max_size=3))
    text = (
        draw(_SPACES)
        + "["
        + draw(_SPACES).join([",".join(values), "]"])
        + draw(_SPACES)
        + draw(st.sampled_from(["", "", "", "]", "\0", "x"]))
    )
    return text.encode("utf-8", "surrogatepass")[: draw(st.sampled_from([10_000, 10_000, 5]))]


@pytest.mark.fuzz
@given(payload=written() | st.binary(max_size=12).map(lambda raw: b'["' + raw + b'"]'), kind=st.sampled_from([ring.LOG, ring.TEXT]))
@example(payload=b'["\xed\xa0\x80"]', kind=ring.LOG)
@example(payload=b"[1]\0", kind=ring.LOG)
@example(payload=b"[9007199254740993.0,0.30000000000000004,5e-324,1.7976931348623157e308]", kind=ring.LOG)
def test_it_reads_json_as_python_does(encoder: Encoder, payload: bytes, kind: int) -> None:
    """Whatever stands in a payload, valid or not, becomes the same value."""
    one = part(ring.pack(kind, payload, level=1, time_ns=6))
    assert logs(encoder, one) == by_python(one)


@pytest.mark.fuzz
@given(
    raw=st.binary(max_size=120),
    heads=st.lists(st.tuples(*[st.integers(0, (1 << bits) - 1) for bits in (32, 8, 8, 16, 64, 32, 32)]), max_size=3),
)
def test_it_bears_any_ring(encoder: Encoder, raw: bytes, heads: list[tuple[int, ...]]) -> None:
    """Bytes that are no ring, and headers with any numbers, are read as far as Python reads them."""
    header = struct.Struct("<IBBHQII")
    for data in (
        raw,
        *(header.pack(*head) + raw for head in heads),
        *(header.pack(head[0] % 64, head[1] % 7, head[2] % 6, *head[3:6], head[6] % 8) + raw for head in heads),
    ):
        one = part(data)
        assert encoder.counts([one]) == [count(one)]
        assert logs(encoder, one) == by_python(one)


@pytest.mark.fuzz
@given(value=JSON, times=st.integers(1, 300))
def test_long_values_keep_their_lengths(encoder: Encoder, value: Any, times: int) -> None:
    """Values of any length, where the lengths before them take more than one byte, are the same bytes."""
    for wrapped in ([value] * times, {f"k{i}": value for i in range(times)}, "x" * times * 60):
        one = part(ring.pack(ring.LOG, json.dumps([wrapped, value]).encode(), level=4, time_ns=6), first_sequence=times * 1000)
        assert logs(encoder, one) == by_python(one)


@pytest.mark.parametrize("depth", [1, 20, 24, 25, 40, 2000])
def test_values_nested_at_any_depth_are_the_same(encoder: Encoder, depth: int) -> None:
    """Where nesting becomes too deep for OTLP, for the module or for Python, the record is Python's."""
    one = part(
        ring.pack(ring.LOG, b"[" * depth + b"]" * depth, time_ns=6), ring.pack(ring.LOG, b'{"a":' * depth + b"1" + b"}" * depth, time_ns=6)
    )
    assert logs(encoder, one) == by_python(one)


def test_usual_lines_are_not_left_to_python(encoder: Encoder) -> None:
    """Console calls with texts, numbers, objects and arrays, and plain texts, need no Python; exceptions do."""
    values = [["text"], ["n", 1, -2.5, 1e300, True, None], [{"a": {"b": [1, "ü😀"]}, "c": 0.1}], [], ["x" * 5000], [12345678901234567]]
    entries = [ring.pack(ring.LOG, msgspec.json.encode(one), level=1, time_ns=6) for one in values]
    entries.append(ring.pack(ring.TEXT, b"a line of stdout", level=1, time_ns=6))
    assert left(encoder, part(*entries)) == []
    thrown = ring.pack(ring.EXCEPTION, b'{"name":"Error","message":"m"}', time_ns=6)
    assert left(encoder, part(*entries, thrown), part(*entries), part(thrown, *entries, thrown)) == [1, 2]


def test_usual_spans_need_no_python(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an invocation's own span nor those of its cold start, its subrequests and the guest's are left to Python."""
    event = FetchEvent("GET", "http://h:81/ü?q=1", {"user-agent": "x"}, "10.0.0.1")
    ring_bytes = ring.pack(ring.SPAN_OPEN, b'{"name":"s"}', span=1) + ring.pack(
        ring.SPAN_CLOSE, b'{"attributes":{"a":[1,{"b":"c"}]}}', span=1
    )
    end = End(
        900,
        "exception",
        1_234_567,
        7_654_321,
        500,
        ColdStart(1, 8, 4),
        1 << 20,
        True,
        Dropped(1),
        (Subrequest("d" * 16, "fetch", "GET", "http://x/", 6, 7, 404),),
    )
    rows = span_rows([msgspec.structs.replace(part(ring_bytes), event=event, end=end, parent_span_id="e" * 16)])
    expected = wire.records(wire.spans(rows))
    monkeypatch.setattr(wire, "spans", None)
    assert len(rows) == 5
    assert encoder.spans([rows])[0].data == expected


def test_a_ring_that_does_not_fit_is_pythons(encoder: Encoder) -> None:
    """A ring that is larger than the module's memory, or whose records are, is encoded all the same."""
    line = ring.pack(ring.LOG, json.dumps(["y" * 1000]).encode(), level=1, time_ns=6)
    small = ring.pack(ring.LOG, b"[0]", level=1, time_ns=6)
    for one in (part(line * 600), part(small * 16_000)):
        assert logs(encoder, one) == by_python(one)


def test_after_a_trap_python_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A module that traps is not asked again; the same records and spans come from Python, and the log says so once."""
    broken = tmp_path / "broken.wasm"
    broken.write_bytes(wat(
        """(module (memory (export "memory") 16)
             (func (export "_initialize")) (func (export "logs") (result i32) unreachable) (func (export "counts") (result i32) unreachable)
             (func (export "spans") (result i32) unreachable)
             (func (export "input") (result i32) (i32.const 0)) (func (export "output") (result i32) (i32.const 0))
             (func (export "results") (result i32) (i32.const 0)) (func (export "left") (result i32) (i32.const 0)))"""
    ))  # fmt: skip
    monkeypatch.setattr(module, "MODULE", broken)
    made = Encoder(Cache(tmp_path / "cache"))
    parts = [usual(i) for i in range(5)]
    rows = [span_rows([one]) for one in parts]
    for _ in range(2):
        assert [one.data for one in made.log_records(parts)] == [by_python(one)[0] for one in parts]
        assert made.counts(parts) == [count(one) for one in parts]
    assert Encoder(Cache(tmp_path / "cache")).counts(parts) == [count(one) for one in parts]
    assert [one.data for one in Encoder(Cache(tmp_path / "cache")).spans(rows)] == [spans(one)[0] for one in rows]
    assert [r.getMessage() for r in caplog.records] == 3 * ["export: the compiled encoder has failed; Python goes on in its place"]


def test_a_missing_module_says_how_to_build_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without encoder.wasm the error names the command that makes it."""
    monkeypatch.setattr(module, "MODULE", tmp_path / "absent.wasm")
    with pytest.raises(SandboxError, match=r"engine_build\.py"):
        Encoder(Cache(tmp_path / "cache"))


@pytest.mark.fuzz
@given(st.lists(st.binary(max_size=300), max_size=5))
def test_each_undoes_records(found: list[bytes]) -> None:
    """Records that were put together are found again, each with its length."""
    data = wire.records(found)
    assert wire.each(data) == [wire.records([one]) for one in found]
