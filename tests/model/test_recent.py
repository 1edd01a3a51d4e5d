"""The bounded memory of the newest things."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from otelbridge.model.recent import Recent


@given(st.lists(st.integers(0, 30), max_size=200), st.integers(1, 10))
def test_the_newest_are_known_and_memory_is_bounded(keys: list[int], most: int) -> None:
    """After any puts, the newest `most` names have their last values, and no more than twice as many are held."""
    recent: Recent[int] = Recent(most)
    for value, key in enumerate(keys):
        recent.put(str(key), value)
        assert len(recent) <= 2 * most
    newest = list(dict.fromkeys(reversed(keys)))[:most]
    last = {key: value for value, key in enumerate(keys)}
    assert {key: recent.get(str(key)) for key in newest} == {key: last[key] for key in newest}
    assert recent.get("never") is None
