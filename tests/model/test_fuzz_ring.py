"""The log ring under any bytes: what is read is checked, what can't be read ends it, and what comes out is always true."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelbridge.model import ring
from otelbridge.model.part import End, Part, WorkerRef, encode, entries, trace_item
from otelbridge.model.part import decode as decode_part
from otelbridge.model.record import records
from otelbridge.model.tolerant import read_json
from otelbridge.model.trace import FetchEvent, TraceLog

pytestmark = pytest.mark.fuzz

SMALL = st.integers(0, 60)
WILD = st.integers(0, 0xFFFFFFFF)
JSONS = st.sampled_from(
    [
        b"[]", b"{}", b"null", b"[1", b'["a"]', b'{"name":1}', b'{"name":"E","message":"m","stack":"s"}', b'{"message":{}}', b"[" * 40, b'"\\ud800"',
        b'["\\u0000"]', b"[1e999]", b'{"attributes":[]}', b'{"channel":5,"message":NaN}', b'{"name":"s","parent":"x"}', b"\xff\xfe", b"[" + b"9" * 400 + b"]",
    ]
)  # fmt: skip
PAYLOADS = st.binary(max_size=60) | JSONS


@st.composite
def forged(draw: st.DrawFn) -> bytes:
    """Entries with headers that are right, slightly wrong or wild."""
    out = b""
    for _ in range(draw(st.integers(0, 6))):
        body = draw(PAYLOADS)
        length = draw(st.just(len(body)) | st.just(len(body)) | SMALL | WILD)
        head = struct.pack(
            "<IBBHQII",
            length,
            draw(st.integers(0, 7)),
            draw(st.integers(0, 6)),
            draw(st.integers(0, 0xFFFF)),
            draw(st.integers(0, 2**64 - 1)),
            draw(SMALL | WILD),
            draw(st.just(0) | SMALL | WILD),
        )
        out += head + body + bytes(draw(st.just(-len(body) % 8) | st.integers(0, 9)))
    return out


RINGS = st.binary(max_size=300) | forged()


@given(RINGS)
def test_walk_and_check_agree(data: bytes) -> None:
    """Both stop at the same entry, inside the data, and what lies before it is read the same way again."""
    size, count = ring.check(data)
    assert 0 <= size <= len(data)
    found = list(ring.walk(data))
    assert len(found) == count
    assert list(ring.walk(data[:size])) == found
    assert all(entry.kind <= ring.SPAN_CLOSE and entry.level < len(ring.LEVELS) for entry in found)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5), st.binary(max_size=50), st.integers(0, 4), st.integers(0, 2**63), st.integers(0, 99), st.binary(max_size=30)
        )
    )
)
def test_what_is_packed_is_read(rows: list[tuple[int, bytes, int, int, int, bytes]]) -> None:
    """The host's own entries come back as they were."""
    data = b"".join(ring.pack(kind, body, level=level, time_ns=at, span=span, extra=extra) for kind, body, level, at, span, extra in rows)
    assert [(e.kind, e.payload, e.level, e.time_ns, e.span, e.extra) for e in ring.walk(data)] == rows
    assert ring.check(data) == (len(data), len(rows))


def part_of(data: bytes, number: int, sequence: int, floor: int) -> Part:
    """A part that holds these ring bytes; every part is the last one here."""
    event = FetchEvent("GET", "http://worker/", {})
    end = End(floor + 9_000, "ok", 0, 0)
    return Part(
        WorkerRef("mine", "1"), "i" * 32, "t" * 32, "s" * 16, None, 1, event, None, 1, number, sequence, floor, floor + 5_000, data, end
    )


@given(st.lists(RINGS, min_size=1, max_size=3))
def test_whatever_a_guest_writes_becomes_true_telemetry(rings: list[bytes]) -> None:
    """Times rise within the invocation, sequences have no gaps, ids are the host's, and everything can be written as JSON."""
    parts = []
    floor, sequence = 1_000_000, 0
    for number, data in enumerate(rings):
        parts.append(decode_part(encode(part_of(data, number, sequence, floor))))
        sequence += ring.check(data)[1]
        floor += 10_000 + sequence
    times, sequences = [], []
    for part in parts:
        assert isinstance(part, Part)
        for entry in entries(part):
            times.append(entry.time_ns)
            sequences.append(entry.sequence)
            if isinstance(entry, TraceLog):
                assert isinstance(entry.message, list)
                assert entry.level in ring.LEVELS
        for record in records(part):
            assert record.worker_id == "mine"
            assert record.invocation_id == "i" * 32
    assert times == sorted(set(times))
    assert all(1_000_000 <= at <= floor for at in times)
    assert sequences == list(range(sequence))
    item = trace_item([part for part in parts if isinstance(part, Part)])
    assert (item.worker_id, item.outcome) == ("mine", "ok")
    text = json.dumps(item.to_json(), allow_nan=False)
    text.encode("utf-8")


@given(st.binary(max_size=100) | JSONS)
def test_tolerant_json(data: bytes) -> None:
    """Any bytes are a value that UTF-8 can carry, or a ValueError."""
    try:
        value = read_json(data)
    except ValueError:
        return
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8")
