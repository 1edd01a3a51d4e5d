"""Times as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelbridge.errors import QueryError
from otelbridge.logs.times import MAX_TIME_NS, duration_ns, point_ns
from otelbridge.model.record import rfc3339

NOW = 1_764_000_000_000_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[("1s", 10**9), ("15m", 900 * 10**9), ("1h30m", 5400 * 10**9), ("2d", 172_800 * 10**9), ("1w", 604_800 * 10**9)],
        *[
            ("1.5s", 1_500_000_000),
            ("250ms", 250_000_000),
            ("", None),
            ("1", None),
            ("h", None),
            ("1x", None),
            ("-1h", None),
            ("1 h", None),
        ],
    ],
)
def test_durations(text: str, expected: int | None) -> None:
    """Numbers with units, also several; nothing else is a duration."""
    assert duration_ns(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1h", NOW - 3600 * 10**9),
        ("now", NOW),
        (" 15m ", NOW - 900 * 10**9),
        ("2025-11-24T16:00:00Z", NOW),
        ("2025-11-24 16:00", NOW),
        ("2025-11-24T17:00:00.5+01:00", NOW + 500_000_000),
        ("2025-11-24T16:00:00.123456789123Z", NOW + 123_456_789),
        ("2025-11-24", NOW - 16 * 3600 * 10**9),
        (1_764_000_000, NOW),
        (1_764_000_000.25, NOW + 250_000_000),
        (1_764_000_000_000, NOW),
        (1_764_000_000_000_000, NOW),
        (NOW, NOW),
        ("1764000000", NOW),
        (10**30, MAX_TIME_NS),
        ("9" * 20, MAX_TIME_NS),
        ("999999999d", 0),
        ("1960-01-01", 0),
    ],
)
def test_points(value: str | float, expected: int) -> None:
    """Durations count back from now; unix times tell their unit by their size; what lies outside is brought inside."""
    assert point_ns(value, NOW) == expected


@pytest.mark.parametrize(
    "value", ["", "soon", "2025-13-01", "2025-11-24T25:00:00Z", "24.11.2025", "1h ago", -5, float("nan"), float("inf"), True, "²"]
)
def test_what_is_no_time_is_refused(value: str | float) -> None:
    """The error names the parameter and shows forms that are known."""
    with pytest.raises(QueryError, match="since: expected a duration"):
        point_ns(value, NOW, what="since")


@given(st.integers(0, 4 * 10**18))
def test_shown_times_can_be_read(time_ns: int) -> None:
    """What a record shows as its time is read back to the nanosecond."""
    assert point_ns(rfc3339(time_ns), NOW) == time_ns
