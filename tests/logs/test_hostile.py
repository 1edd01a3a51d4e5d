"""What guests write and users ask, at its worst: nothing breaks, nothing leaks into SQL, FTS5, JSON paths or LIKE."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from otelbridge.logs.pages import Span, page
from otelbridge.logs.reader import Budget
from otelbridge.logs.request import read_request
from otelbridge.logs.tree import And
from otelbridge.model import ring
from tests.logs.samples import START_NS, Filled, line, part, stored

INJECTIONS = [
    "'",
    "''",
    "' OR 1=1 --",
    "'; DROP TABLE records; --",
    '"; DROP TABLE records; --',
    "x') UNION SELECT 1 --",
    "\\'; --",
    "%' AND 1=1 --",
    '" OR tags : "w1',
    "text : x",
    "a NEAR b",
    "a* ^b {text tags} : c",
    "$.a'); --",
    '$."a"',
    "w1",
    "l4",
    "\ue000w1",
    "{0}",
    "%s%n",
    "?1",
    ":x",
    "@x",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_injections_find_themselves_alone(text: str) -> None:
    """Text that would be SQL, FTS5, a path or a pattern is only text: as a value, a name, a word, a needle, a worker."""
    items = [
        part(line(text), line({text: text}), invocation=1, worker="w-evil"),
        part(line("harmless tags text"), line({"zz": "yy"}), invocation=2, worker="w-good"),
    ]

    def found(**request: Any) -> set[str | None]:
        wanted = read_request(request, START_NS)
        records, _ = page(segments.all, wanted.tree, Span(), Budget(60), limit=100, after=None, ascending=False)
        return {record.worker_id for record in records}

    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    with stored(items) as segments:
        assert found(q=f"{quoted}={quoted}") == {"w-evil"}
        assert found(filters=[{"key": f"fields.{text}", "operation": "eq", "value": text}]) == {"w-evil"}
        assert found(filters=[{"key": "text", "operation": "includes", "value": text}]) == {"w-evil"}
        assert found(filters=[{"key": "text", "operation": "in", "value": [text]}]) == {"w-evil"}
        assert found(needle={"value": text, "matchCase": True}) == {"w-evil"}
        assert "w-good" not in found(q=quoted)
        assert found(q=f"worker:{quoted}") == set()
        assert found(q=f"invocation:{quoted}") == set()
        assert found(q=f"outcome:{quoted} OR path:{quoted} OR version:{quoted}") == set()
        for key in ("worker", "trace", "outcome", "url"):
            assert found(filters=[{"key": key, "operation": "starts_with", "value": text}]) == set()
        assert len(page(segments.all, And(()), Span(), Budget(60), limit=100, after=None, ascending=False)[0]) == 6


async def test_lookups_take_any_text(data_dir: Path) -> None:
    """Completion of names and values is asked with what a user types: any of it."""
    async with Filled(data_dir) as filled:
        await filled.put(part(*[line({text: text}) for text in INJECTIONS]))
        for text in INJECTIONS:
            assert text in {key.key for key in await filled.store.keys(text)}
            assert [(one.value, one.count) for one in await filled.store.values(f"fields.{text}", text)] == [(text, 1)]
            await filled.store.values("worker", text)


NAMES = [
    'a"b',
    "a\\b",
    "a.b",
    ".",
    "..",
    "",
    " ",
    "\n",
    "\u0000",
    "\u2028",
    "é",
    "e\u0301",
    "🔥",
    "$",
    "$.a",
    "a[0]",
    "#",
    "'",
    "x" * 5_000,
    "\ufffd",
]
VALUES: list[Any] = [
    "",
    "\u0000",
    "\ufffd",
    "🔥",
    'q"',
    "\\",
    0,
    -0.0,
    2**63,
    -(2**63) - 1,
    2**64,
    10**400,
    1e308,
    5e-324,
    True,
    None,
    [],
    {},
    [[1]],
    "null",
]


def test_hostile_members_come_back_as_they_were() -> None:
    """Odd names and values are stored and found; NUL is U+FFFD; a number of 400 digits keeps them."""
    objects = [{name: value} for name in NAMES for value in VALUES]
    with stored([part(*[line(one) for one in objects])]) as segments:
        records, _ = page(segments.all, And(()), Span(), Budget(60), limit=1_000, after=None, ascending=True)
        texts = [json.dumps(one, ensure_ascii=False).replace("\\u0000", "\ufffd") for one in objects]
        assert [record.fields for record in records[: len(objects)]] == [json.loads(text) for text in texts]
        for name in NAMES:
            quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
            wanted = read_request({"q": f"{quoted}=🔥"}, START_NS)
            found, _ = page(segments.all, wanted.tree, Span(), Budget(60), limit=100, after=None, ascending=False)
            assert [record.text for record in found] == [
                msgspec.json.encode({name.replace("\0", "\ufffd"): "🔥"}).decode() for _ in range(len(found))
            ]
            assert len(found) == (2 if name in ("\u0000", "\ufffd") else 1)


def test_deep_and_broken_json() -> None:
    """JSON too deep to be read stands as text; deep JSON is cut; bytes that are no UTF-8 are read with replacements."""
    deep = b'[{"a":' * 20_000 + b"1" + b"}]" * 20_000
    half = b"[" * 400 + b"]" * 400
    raw = [deep, half, b"\xff\xfe\xfd", b'["\\ud800x"]', b'{"a":', b"", b"[]", b'[{"\\ud800":1}]']
    item = part(*[ring.pack(ring.LOG, payload, extra=b"[nonsense") for payload in raw])
    with stored([item]) as segments:
        records, _ = page(segments.all, And(()), Span(), Budget(60), limit=100, after=None, ascending=True)
        assert len(records) == len(raw) + 1
        msgspec.json.encode(records)
        assert records[2].text == "\ufffd\ufffd\ufffd"
        assert records[3].text == "\ufffdx"
        assert records[6].message == []
        assert records[7].fields == {"\ufffd": 1}


def test_a_guest_cannot_look_like_another() -> None:
    """Members named like fields are members alone: a guest's line never answers for another worker or level."""
    lie = {"worker": "victim", "workerId": "victim", "level": "error", "kind": "bridge", "outcome": "exception", "invocationId": "0" * 32}
    with stored([part(line(lie), line("worker victim l4 k3 w2"), worker="guest")]) as segments:
        for q in ("worker:victim", "level:error", "kind:bridge", "outcome:exception", f"invocation:{'0' * 32}"):
            wanted = read_request({"q": q}, START_NS)
            assert page(segments.all, wanted.tree, Span(), Budget(60), limit=9, after=None, ascending=False)[0] == []


def test_a_flood_of_names_is_bounded() -> None:
    """A guest that invents names fills the catalogue for completion up to its bound, and no further."""
    batches = [[part(line({f"n{batch}_{i}": 1 for i in range(900)}), invocation=batch)] for batch in range(13)]
    with stored(*batches) as segments:
        assert segments.all[-1].writer().execute("SELECT count(*) FROM names").fetchone()[0] == 10_000
        assert segments.rejected == 0


def test_times_at_the_ends_of_the_clock() -> None:
    """Parts with times of zero and of a far future are stored, found and shown."""
    items = [part(line("old"), invocation=1, start_ns=0), part(line("far"), invocation=2, start_ns=8_999_999_999_000_000_000)]
    with stored(items) as segments:
        records, _ = page(segments.all, And(()), Span(), Budget(60), limit=10, after=None, ascending=True)
        assert [record.text for record in records if record.kind == "log"] == ["old", "far"]
        msgspec.json.encode(records)
