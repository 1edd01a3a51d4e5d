"""WASI commands: CGI in, a response on stdout out, stderr as logs."""

from __future__ import annotations

import pytest

from otelbridge.sandbox import Engine, Meter, Stop
from otelbridge.sandbox.core import cgi
from tests.sandbox.guests import SECOND, Build, Start, lines, text, wasi

IMPORTS = (
    wasi("fd_write", "i32 i32 i32 i32")
    + wasi("fd_read", "i32 i32 i32 i32")
    + wasi("environ_get", "i32 i32")
    + wasi("environ_sizes_get", "i32 i32")
    + wasi("proc_exit", "i32", "")
)


def command(main: str, *, head: str | bytes = "Content-Type: text/plain\n\n", memory: str = "8", more: str = "") -> str:
    """A command that writes `head` from 1024, then runs `main`. $out writes to a descriptor; (iovec at 0)."""
    data = head.encode() if isinstance(head, str) else head
    return f"""(module {IMPORTS} (memory (export "memory") {memory}) {text(1024, data)} {more}
      (func $out (param $fd i32) (param $p i32) (param $n i32)
        (i32.store (i32.const 0) (local.get $p)) (i32.store (i32.const 4) (local.get $n))
        (if (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)) (then (call $proc_exit (i32.const 99)))))
      (func (export "_start") (local $n i32)
        (call $out (i32.const 1) (i32.const 1024) (i32.const {len(data)})) {main}))"""


# Copies stdin to stdout, a buffer at a time.
CAT = """(loop $l
  (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 1000))
  (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
  (local.set $n (i32.load (i32.const 8)))
  (if (local.get $n) (then (call $out (i32.const 1) (i32.const 65536) (local.get $n)) (br $l))))"""
ENVIRONMENT = """(drop (call $environ_sizes_get (i32.const 16) (i32.const 20)))
  (drop (call $environ_get (i32.const 65536) (i32.const 131072)))
  (call $out (i32.const 1) (i32.const 131072) (i32.load (i32.const 20)))"""


async def test_body_goes_through(start: Start) -> None:
    """stdin is the request's body, stdout the response; every request gets a fresh program."""
    guest = await start(command(CAT))
    body = bytes(range(256)) * 1000
    for _ in range(2):
        assert await guest.fetch("POST", "http://w/", [], body, Meter(SECOND)) == (200, [("Content-Type", "text/plain")], body)
    assert guest.reusable


async def test_variables(start: Start) -> None:
    """A request is the CGI's meta-variables beside the worker's own environment, which can't replace them."""
    guest = await start(command(ENVIRONMENT), env={"MINE": "1", "REQUEST_METHOD": "FORGED"})
    headers = [
        ("X-A", "1"),
        ("x-a", "2"),
        ("Content-Type", "text/x"),
        ("Proxy", "evil"),
        ("a_b", "c"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    ]
    _, _, body = await guest.fetch("PUT", "https://example.com:8443/a%20b/c?x=1&y", headers, b"123", Meter(SECOND))
    env = dict(item.split("=", 1) for item in body.decode().split("\0") if item)
    assert env == {
        "MINE": "1",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": "otelbridge",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "example.com",
        "SERVER_PORT": "8443",
        "HTTPS": "on",
        "REQUEST_METHOD": "PUT",
        "REQUEST_URI": "/a%20b/c?x=1&y",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/c",
        "QUERY_STRING": "x=1&y",
        "CONTENT_LENGTH": "3",
        "CONTENT_TYPE": "text/x",
        "HTTP_X_A": "1, 2",
        "HTTP_COOKIE": "a=1; b=2",
    }


async def test_stderr_is_logged(start: Start) -> None:
    """Lines on stderr are error lines, also one without a line break at its end."""
    guest = await start(command("(call $out (i32.const 2) (i32.const 2048) (i32.const 5))", more=text(2048, "a\nb\nc")))
    await guest.fetch("GET", "http://w/", [], b"", Meter(SECOND))
    assert lines(guest) == [("error", "a"), ("error", "b"), ("error", "c")]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (b"Status: 404 Not Found\r\nA: b\r\n\r\nx\n\ny", (404, [("A", "b")], b"x\n\ny")),
        (b"Location: /there\n\n", (302, [("Location", "/there")], b"")),
        (b"status:201\nLocation: /there\n\n", (201, [("Location", "/there")], b"")),
        (b"\nbody", (200, [], b"body")),
    ],
)
def test_responses(output: bytes, expected: object) -> None:
    """Status, headers and body, with either line break."""
    assert cgi.decode(output) == expected


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"Content-Type: text/plain",
        b"<html>\n\n",
        b"Status: abc\n\n",
        b"Status: 99\n\n",
        b"Status: 700\n\n",
        b"a b: c\n\n",
        b"\xff: c\n\n",
        b"a: b\rc\n\n",
    ],
)
async def test_responses_that_are_none(start: Start, output: bytes) -> None:
    """Output that is no CGI response is a TypeError that says why."""
    guest = await start(command("", head=output))
    with pytest.raises(Stop) as stop:
        await guest.fetch("GET", "http://w/", [], b"", Meter(SECOND))
    assert (stop.value.outcome, stop.value.name) == ("exception", "TypeError")


@pytest.mark.parametrize(("code", "fails"), [(0, False), (3, True), (-1, True)])
async def test_exit_status(start: Start, code: int, fails: bool) -> None:
    """proc_exit(0) is a normal end; any other status fails the request."""
    guest = await start(command(f"(call $proc_exit (i32.const {code}))"))
    if not fails:
        assert (await guest.fetch("GET", "http://w/", [], b"", Meter(SECOND)))[0] == 200
        return
    with pytest.raises(Stop, match=f"exit status {code & 0xFFFFFFFF}"):
        await guest.fetch("GET", "http://w/", [], b"", Meter(SECOND))


async def test_response_within_the_memory_limit(start: Start) -> None:
    """A command that writes without end is stopped at a bound, and the next request works again."""
    guest = await start(command("(loop $l (call $out (i32.const 1) (i32.const 65536) (i32.const 65536)) (br $l))"), memory_bytes=4 << 20)
    for _ in range(2):
        with pytest.raises(Stop) as stop:
            await guest.fetch("GET", "http://w/", [], b"", Meter(SECOND))
        assert stop.value.message == "The command ended with exit status 99."  # it saw EFBIG


async def test_endless_command(start: Start, engine: Engine) -> None:
    """A command that never ends is stopped, its lines stay readable, and its instance serves on."""
    guest = await start(command("(call $out (i32.const 2) (i32.const 1024) (i32.const 5)) (loop $l (br $l))"))
    with pytest.raises(Stop) as stop:
        await guest.fetch("GET", "http://w/", [], b"", Meter(10_000_000))
    assert stop.value.outcome == "exceededCpu"
    assert lines(guest) == [("error", "Conte")]
    assert not guest.dead
    assert engine.live == 1


async def test_kind(build: Build) -> None:
    """A module with _start and no otelbridge_fetch is a command."""
    assert (await build(command(""))).kind == "command"


async def test_full_pool(build: Build, start: Start, engine: Engine) -> None:
    """A command that finds no room for its program sheds the load."""
    module = await build(command(""))
    guest = await start(command(""))
    others = [module.new(memory_bytes=1 << 20, env={}, log_budget=1000) for _ in range(engine.max_instances - engine.live)]
    for other in others:
        await other.fetch("GET", "http://w/", [], b"", Meter(SECOND))
    with pytest.raises(Stop) as stop:
        await guest.fetch("GET", "http://w/", [], b"", Meter(SECOND))
    assert stop.value.outcome == "loadShed"
    for other in others:
        other.close()
