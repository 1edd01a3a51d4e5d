"""The guest protocol under any bytes: messages, values, and worker code, each an answer or the error that it says."""

from __future__ import annotations

import contextlib
import json
import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otelbridge.errors import WorkerCodeError, WorkerError
from otelbridge.loader.messages import BadMessage, frame, frames
from otelbridge.loader.values import decode, pack, unpack
from otelbridge.model.code import check_code
from otelbridge.web.code import code_from_json
from otelbridge.web.problem import Problem

pytestmark = pytest.mark.fuzz

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["$", "v", "a", "__proto__"]) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)
TAGS = st.builds(lambda kind, value: {"$": kind, "v": value}, st.sampled_from(list("unidbmsoefx")) | LEAVES, TREES)


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_not(data: bytes) -> None:
    """Bytes of a guest are lists that begin with their kind, or BadMessage."""
    try:
        for message, blob in frames(data):
            assert isinstance(message[0], str)
            assert isinstance(blob, bytes)
    except BadMessage:
        pass


@given(
    st.lists(st.tuples(st.lists(LEAVES, max_size=4).map(lambda rest: ["kind", *rest]), st.binary(max_size=40)), max_size=5),
    st.integers(0, 400),
    st.binary(max_size=4),
)
def test_damaged_messages(messages: list[tuple[list[Any], bytes]], at: int, damage: bytes) -> None:
    """Messages with bytes changed in the middle are read up to the damage, or refused."""
    data = bytearray(b"".join(frame(message, blob) for message, blob in messages))
    data[at : at + len(damage)] = damage[: max(len(data) - at, 0)]
    with contextlib.suppress(BadMessage):
        assert all(isinstance(message, list) for message, _ in frames(bytes(data)))


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF), st.binary(max_size=64))
def test_forged_lengths(text: int, blob: int, rest: bytes) -> None:
    """A header that claims more than is there is refused, also where its lengths would wrap around."""
    data = struct.pack("<II", text, blob) + rest
    try:
        found = list(frames(data))
    except BadMessage:
        return
    assert len(found) >= 1
    assert text + blob <= len(rest)


@given(TREES | TAGS)
@example({"$": "e", "v": []})
@example({"$": "e", "v": {}})
def test_any_tree_is_a_value(tree: Any) -> None:
    """Whatever tree a guest sends is some Python value, never another kind of failure."""
    text = json.dumps(tree).encode()
    try:
        decode(text)
    except WorkerError as e:
        assert e.name == "DataCloneError"


@given(st.binary(max_size=100))
def test_any_bytes_are_a_value_or_not(data: bytes) -> None:
    """A result that is no JSON is a DataCloneError."""
    try:
        decode(data)
    except WorkerError as e:
        assert e.name == "DataCloneError"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.just("$"), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_values_come_back(value: Any) -> None:
    """What Python packs for a guest is the same value when it comes back unchanged."""
    assert unpack(json.loads(json.dumps(pack(value)))) == value


MODULES = st.dictionaries(
    st.sampled_from(["index.js", "a.cjs", "t.txt", "x.wasm", "index.js.map", "", "a\nb.js"]) | st.text(max_size=10),
    st.text(max_size=20) | st.dictionaries(st.sampled_from(["js", "cjs", "text", "data", "json", "wasm", "py"]), TREES, max_size=2) | TREES,
    max_size=4,
)
CODES = st.fixed_dictionaries(
    {"mainModule": st.sampled_from(["index.js", "x.wasm", "missing.js"]) | TREES, "modules": MODULES | TREES},
    optional={
        "compatibilityDate": st.sampled_from(["2026-01-01", "yesterday"]) | TREES,
        "compatibilityFlags": TREES,
        "env": TREES,
        "globalOutbound": TREES,
        "limits": st.dictionaries(
            st.sampled_from(["cpuMs", "wallMs", "memoryMb", "subRequests", "logBytes", "x"]), st.integers(-5, 2**70) | TREES, max_size=3
        )
        | TREES,
        "isolation": st.sampled_from(["reuse", "invocation"]) | TREES,
        "tags": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2) | TREES,
        "unknown": TREES,
    },
)


@given(CODES | TREES)
def test_any_json_is_code_or_says_what_is_wrong(value: Any) -> None:
    """JSON in place of worker code is accepted, or refused with a text that names the trouble."""
    refused(json.dumps(value).encode())


@given(st.binary(max_size=100))
def test_any_bytes_as_code(data: bytes) -> None:
    """The same for bytes that are no JSON."""
    refused(data)


def refused(data: bytes) -> None:
    """Read and check code; only the documented errors may come."""
    try:
        modules = check_code(code_from_json(data))
    except (WorkerCodeError, Problem) as e:
        assert str(e) or isinstance(e, Problem)
        return
    assert modules
    assert all(isinstance(module.content, bytes) for module in modules.values())
