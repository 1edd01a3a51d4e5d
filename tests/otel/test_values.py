"""AnyValue: any value becomes a valid one, and the fast and the plain way agree."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._internal import _encode_value
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from otelbridge.otel.values import MAX_DEPTH, clean, put
from tests.otel.strategies import TEXT

ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT | st.binary(max_size=9) | st.just({1, 2}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3) | st.tuples(inner),
    max_leaves=10,
)


def encoded(value: Any) -> AnyValue:
    target = AnyValue()
    put(target, value)
    return target


@given(value=ANY)
def test_both_ways_agree_with_the_stock_encoder(value: Any) -> None:
    """put() gives what the SDK's encoder gives for clean(), and it can be serialized."""
    assert encoded(value) == _encode_value(clean(value))
    encoded(value).SerializeToString()


@pytest.mark.parametrize(
    ("value", "text"),
    [(1 << 63, str(1 << 63)), (-(1 << 63) - 1, str(-(1 << 63) - 1)), ("\ud83d\ude00", "😀"), ("a\ud800b", "a\ufffdb")],
)
def test_what_otlp_cant_carry_becomes_text(value: Any, text: str) -> None:
    """Integers beyond 64 bits become decimal text, surrogates the character they mean or U+FFFD."""
    assert encoded(value).string_value == text


def test_integers_too_long_to_print_become_hexadecimal() -> None:
    """Python prints no more than 4300 decimal digits; such a number still becomes text."""
    assert encoded(10**5000).string_value == hex(10**5000)


def test_nesting_is_capped() -> None:
    """Below 32 levels the rest stands as JSON text; nesting that even JSON can't write gives a text, not an error."""
    value: Any = "leaf"
    for _ in range(40):
        value = [value]
    at = encoded(value)
    for _ in range(MAX_DEPTH):
        at = at.array_value.values[0]
    assert at.string_value == "[" * 8 + '"leaf"' + "]" * 8
    for _ in range(100_000):
        value = {"a": value}
    encoded(value).SerializeToString()


def test_not_a_number_is_carried() -> None:
    """NaN and infinities are doubles."""
    assert encoded(float("nan")).double_value != encoded(float("nan")).double_value
    assert encoded(float("inf")).double_value == float("inf")
