"""What is said of values that do not fit."""

from __future__ import annotations

import msgspec
import pytest

from otelbridge.logs import QueryRequest
from otelbridge.model.readable import readable

CASES = {
    '{"calculations": [{"operator": "p98"}]}': "calculations[0].operator: Invalid enum value 'p98'; it is one of avg, count,",
    '{"filters": [{"kind": "group", "filters": [{"key": "a", "operation": "is"}]}]}': "filters[0].filters[0].operation: Invalid enum value 'is'; it is one of eq,",
    '{"view": "all"}': "view: Invalid enum value 'all'; it is one of calculations, events, invocations, traces.",
    '{"limit": "x"}': "limit: Expected int | null, got str.",
    "[]": "Expected object, got array.",
}


@pytest.mark.parametrize("text", CASES)
def test_what_does_not_fit_is_named(text: str) -> None:
    """The member is named, and where only some words fit, these are."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(text, type=QueryRequest)
    said = readable(caught.value, QueryRequest)
    if CASES[text].endswith(","):
        assert said.startswith(CASES[text])
        assert said.endswith(".")
    else:
        assert said == CASES[text]
