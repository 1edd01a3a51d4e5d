"""Responses on the wire: what a header may hold, and what it may not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelbridge.web import Service
from otelbridge.web.reply import Reply, _head
from otelbridge.web.route import Call, Route

TOKEN = st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)


@given(st.lists(st.tuples(TOKEN, st.text(max_size=20)), max_size=5), st.integers(0, 999) | st.none(), st.booleans())
def test_a_head_is_as_many_lines_as_it_has_headers(headers: list[tuple[str, str]], length: int | None, keep_alive: bool) -> None:
    """Whatever values say, a head has one line per header and ends once; or it is refused because of a line break or NUL."""
    try:
        head = _head(200, headers, length, keep_alive=keep_alive)
    except ValueError:
        assert any(c in value for _, value in headers for c in "\r\n\0")
        return
    assert head.endswith(b"\r\n\r\n")
    assert head.count(b"\r\n\r\n") == 1
    lines = head[:-4].split(b"\r\n")
    kept = [name for name, _ in headers if not (name == "content-length" and length is not None)]
    added = ["date"] * ("date" not in kept) + ["content-length"] * (length is not None) + ["connection"] * (not keep_alive)
    assert [line.partition(b":")[0].decode() for line in lines[1:]] == kept + added


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "\r", "\n", "\0"])
def test_a_line_break_in_a_header_is_refused(value: str) -> None:
    """No header value can begin a new line."""
    with pytest.raises(ValueError, match="line break"):
        _head(200, [("x", value)], 0, keep_alive=True)


async def test_headers_that_cannot_be_sent_are_a_problem(serve: Any) -> None:
    """The last check before the wire turns into a 500 problem, not into a dead connection."""

    async def handler(_: Call) -> Reply:
        return Reply(200, [("x", "a\r\nset-cookie: evil=1")])

    running = await serve()
    async with Service(bridge=running.bridge, routes=[Route(method="GET", path="/x", handler=handler, summary="x")]) as service:
        url = await service.listen("127.0.0.1", 0)
        async with running.session.get(f"{url}/x") as answer:
            assert answer.status == 500
            assert "set-cookie" not in answer.headers
            assert (await answer.json(content_type=None))["type"] == "urn:otelbridge:problem:internal-error"
