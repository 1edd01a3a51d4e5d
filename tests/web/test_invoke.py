"""ANY /w/{workerId}/{path}: what the worker sees, what the client gets, and what neither can smuggle past."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

# Answers with what it saw.
ECHO = """export default { async fetch(request) {
  return Response.json({ method: request.method, url: request.url, headers: [...request.headers], body: await request.text() });
} }"""


async def seen(running: Any, request: bytes) -> Any:
    """What the echoing worker saw of a request sent as these bytes."""
    answer = await running.raw(request)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), answer
    return json.loads(body)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/w/echo", "/"),
        ("/w/echo/", "/"),
        ("/w/echo?a=1", "/?a=1"),
        ("/w/echo/a/b?x=1&x=2&y", "/a/b?x=1&x=2&y"),
        ("/w/echo//double//slash/", "//double//slash/"),
        ("/w/echo/a%2Fb%20c%C3%A4?q=%26%3D%2B+%00", "/a%2Fb%20c%C3%A4?q=%26%3D%2B+%00"),
        ("/w/echo/w/echo/v1/workers", "/w/echo/v1/workers"),
        ("/w/%65cho/x", "/x"),
        ("http://elsewhere.example/w/echo/proxied?y", "/proxied?y"),
    ],
)
async def test_the_prefix_is_removed_and_the_rest_kept(running: Any, path: str, expected: str) -> None:
    """Path and query reach the worker byte for byte, without /w/{workerId}."""
    await running.put("echo", ECHO)
    request = f"GET {path} HTTP/1.1\r\nHost: h.example:81\r\nConnection: close\r\n\r\n".encode()
    assert (await seen(running, request))["url"] == f"http://h.example:81{expected}"


async def test_headers_pass_without_those_of_the_connection(running: Any) -> None:
    """Hop-by-hop headers, and those that Connection names, stay behind; everything else arrives as sent."""
    await running.put("echo", ECHO)
    request = (
        b"POST /w/echo/ HTTP/1.1\r\nHost: h\r\nConnection: close, X-Named\r\nX-Named: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
        b"Proxy-Authorization: x\r\nUpgrade: h2c\r\nX-One: 1\r\nX-One: 2\r\nX-Latin: \xe4\r\nContent-Length: 3\r\n\r\nabc"
    )
    got = await seen(running, request)
    assert got["body"] == "abc"
    assert got["headers"] == [["content-length", "3"], ["host", "h"], ["x-latin", "ä"], ["x-one", "1, 2"]]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
async def test_any_method_reaches_the_worker(running: Any, method: str) -> None:
    """The method is the worker's business, also one that we have never heard of."""
    await running.put("echo", ECHO)
    request = f"{method} /w/echo/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()
    assert (await seen(running, request))["method"] == method


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(
            b"POST /w/echo/ HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            b"GET /w/echo/evil HTTP/1.1\r\nHost: h\r\n\r\n",
            id="CL.TE",
        ),
        pytest.param(
            b"POST /w/echo/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", id="TE.TE"
        ),
        pytest.param(b"POST /w/echo/ HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde", id="two lengths"),
        pytest.param(b"POST /w/echo/ HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc", id="signed length"),
        pytest.param(b"GET /w/echo/ HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", id="bare CR in a value"),
        pytest.param(b"GET /w/echo/ HTTP/1.1\r\nHost: h\r\nX-A : b\r\n\r\n", id="space before the colon"),
        pytest.param(b"GET /w/echo/ HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", id="folded header"),
        pytest.param(b"GET /w/echo/ HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n", id="NUL in a value"),
        pytest.param(b"GET /w/echo/ HTTP/1.1\r\nHost: h\r\nHost: other\r\n\r\n", id="two hosts"),
        pytest.param(b"GET /w/echo/ HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(b"GET /w/echo/ HTTP/1.1\r\nHost: h/../v1\r\n\r\n", id="path in the host"),
        pytest.param(b"GET /w/echo/ HTTP/1.1\r\nHost: user@h\r\n\r\n", id="user in the host"),
        pytest.param(b"GET /w/echo/ HTTP/1.1\r\nHost: h#x\r\n\r\n", id="fragment in the host"),
        pytest.param(b"GET /w/%FF/ HTTP/1.1\r\nHost: h\r\n\r\n", id="worker id that is not UTF-8"),
        pytest.param(b"GET /w/a%2Fb/ HTTP/1.1\r\nHost: h\r\n\r\n", id="slash in a worker id"),
        pytest.param(b"GET /w/a%0Ab/ HTTP/1.1\r\nHost: h\r\n\r\n", id="line break in a worker id"),
        pytest.param(b"GET /w/" + b"a" * 257 + b"/ HTTP/1.1\r\nHost: h\r\n\r\n", id="long worker id"),
        pytest.param(b"POST /w/echo/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nabc\r\n", id="bad chunk size"),
        pytest.param(b"GET /w/echo/ HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 9000 + b"\r\n\r\n", id="long header"),
        pytest.param("GET /w/echo/ä HTTP/1.1\r\nHost: h\r\n\r\n".encode(), id="path that is not encoded"),
        pytest.param(b"NONSENSE\r\n\r\n", id="not HTTP"),
    ],
)
async def test_what_two_readers_could_read_differently_is_refused(running: Any, request_bytes: bytes) -> None:
    """Ambiguous or malformed requests get one 400 problem and reach no worker, not even behind another request."""
    await running.put("echo", ECHO)
    # What a lenient parser would take for further requests of this connection comes back as further answers.
    async with running.connect(request_bytes) as (reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400"), head
        assert b"application/problem+json" in head
        writer.write_eof()
        rest = await reader.read()
    assert b"HTTP/1.1" not in rest
    assert b"evil" not in rest


async def test_a_worker_cannot_write_headers_of_its_own(running: Any) -> None:
    """Line breaks in a header are refused in the worker; framing headers that it sets do not reach the client."""
    await running.put(
        "split",
        """export default { fetch(request) {
          const { pathname } = new URL(request.url);
          if (pathname === '/crlf') return new Response('x', { headers: { 'x-a': 'b\\r\\nset-cookie: evil=1' } });
          return new Response('body', { headers: { 'content-length': '999', 'transfer-encoding': 'chunked', connection: 'upgrade',
            upgrade: 'h2c', 'set-cookie': 'a=1', 'x-kept': 'yes' } });
        } }""",
    )
    status, headers, _ = await running.ask("GET", "/w/split/crlf")
    assert (status, headers.get("set-cookie")) == (500, None)
    answer = await running.raw(b"GET /w/split/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    head, _, body = answer.lower().partition(b"\r\n\r\n")
    assert body == b"body"
    assert head.count(b"content-length") == 1
    assert b"content-length: 4" in head
    assert b"transfer-encoding" not in head
    assert b"upgrade" not in head
    assert b"x-kept: yes" in head


@pytest.mark.parametrize("status", [204, 304])
async def test_responses_without_a_body_have_none(running: Any, status: int) -> None:
    """204 and 304 carry neither body nor length, and the connection stays usable."""
    await running.put("empty", f"export default {{ fetch() {{ return new Response(null, {{ status: {status} }}) }} }}")
    answer = await running.raw(
        b"GET /w/empty/ HTTP/1.1\r\nHost: h\r\n\r\nGET /w/empty/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    )
    assert answer.count(b"HTTP/1.1 %d" % status) == 2
    assert b"content-length" not in answer.lower()
    assert answer.endswith(b"\r\n\r\n")


async def test_head_gets_the_headers_of_get(running: Any) -> None:
    """HEAD tells the length of the body that GET would have, and sends no body."""
    await running.put("page", "export default { fetch() { return new Response('twelve bytes') } }")
    answer = await running.raw(b"HEAD /w/page/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert b"content-length: 12" in answer.lower()
    assert answer.endswith(b"\r\n\r\n")


async def test_a_streamed_body_arrives_in_chunks(running: Any) -> None:
    """A stream is sent chunk by chunk, while the worker still runs, and ends properly."""
    await running.put(
        "stream",
        """export default { fetch() {
          return new Response(new ReadableStream({ async start(c) {
            for (const part of ['one ', 'two ', 'three']) { c.enqueue(new TextEncoder().encode(part)); await scheduler.wait(5); }
            c.close();
          } }));
        } }""",
    )
    async with running.session.get(f"{running.url}/w/stream/") as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        chunks = [chunk async for chunk, end in answer.content.iter_chunks()]
    assert [c for c in chunks if c] == [b"one ", b"two ", b"three"]


@pytest.mark.parametrize(("version", "connection"), [("1.1", "keep-alive"), ("1.0", "close")])
async def test_a_body_that_breaks_does_not_look_complete(running: Any, version: str, connection: str) -> None:
    """When a worker fails in the middle of its body, the connection ends without a clean end of the message."""
    await running.put(
        "broken",
        """export default { fetch() {
          let n = 0;
          return new Response(new ReadableStream({ async pull(c) {
            if (n++) { await scheduler.wait(5); throw new Error('no more'); }
            c.enqueue(new TextEncoder().encode('some'));
          } }));
        } }""",
    )
    async with running.connect(f"GET /w/broken/ HTTP/{version}\r\nHost: h\r\nConnection: {connection}\r\n\r\n".encode()) as (reader, _):
        await reader.readuntil(b"some")
        if version == "1.1":
            assert not (await reader.read()).endswith(b"0\r\n\r\n")
        else:  # without chunks only a reset tells a broken body from a whole one
            with pytest.raises(ConnectionResetError):
                await reader.read()


async def test_a_client_that_leaves_ends_the_invocation(running: Any) -> None:
    """Closing the connection cancels the invocation; the next one is served."""
    await running.put(
        "slow", "export default { async fetch(r) { if (r.url.endsWith('wait')) await scheduler.wait(20000); return new Response('ok') } }"
    )
    async with running.connect(b"GET /w/slow/wait HTTP/1.1\r\nHost: h\r\n\r\n"):
        while not running.service._running:
            await asyncio.sleep(0.001)
    while running.service._running:
        await asyncio.sleep(0.001)
    assert (await running.ask("GET", "/w/slow/"))[0] == 200


async def test_large_bodies_are_refused_before_they_are_sent(serve: Any) -> None:
    """A body over the limit gets 413 by its length, or as soon as its chunks exceed it; `Expect` is answered."""
    running = await serve(server__max_body_bytes=1000)
    await running.put("echo", "export default { async fetch(r) { return new Response(String((await r.text()).length)) } }")
    expect = b"POST /w/echo/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    assert (await running.raw(expect % 1001)).startswith(b"HTTP/1.1 413")
    assert (await running.raw(expect % 1000 + b"x" * 1000)).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")
    chunked = b"POST /w/echo/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"1f4\r\n" + b"x" * 500 + b"\r\n"
    assert (await running.raw(chunked + chunk * 2 + b"0\r\n\r\n")).endswith(b"1000")
    assert (await running.raw(chunked + chunk * 3 + b"0\r\n\r\n")).startswith(b"HTTP/1.1 413")


async def test_a_compressed_body_reaches_the_worker_as_it_came(running: Any) -> None:
    """Content encodings belong to the worker; the bridge does not unpack them."""
    await running.put("size", "export default { async fetch(r) { return new Response(String((await r.arrayBuffer()).byteLength)) } }")
    _, _, body = await running.ask("POST", "/w/size/", data=b"\x1f\x8bnot really", headers={"content-encoding": "gzip"})
    assert body == "12"


async def test_traceparent_is_honoured(running: Any) -> None:
    """The invocation joins the caller's trace."""
    await running.put("echo", ECHO)
    trace = "0af7651916cd43dd8448eb211c80319c"
    _, headers, _ = await running.ask("GET", "/w/echo/", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    assert headers["otelbridge-trace-id"] == trace


async def test_inline_logs_only_where_they_are_allowed(serve: Any) -> None:
    """`otelbridge-logs: inline` returns response and logs in one document when the setting allows it."""
    running = await serve(server__allow_inline_logs=True)
    await running.put("talk", "export default { fetch() { console.log('said', 1); return new Response('answer') } }")
    _, _, document = await running.ask("GET", "/w/talk/", headers={"otelbridge-logs": "inline"})
    assert document["response"]["body"] == "answer"
    assert [log["message"] for log in document["logs"]] == [["said", 1]]
    assert document["logsState"] == "complete"


@pytest.mark.parametrize(
    ("headers", "isolated"),
    [
        ({}, False),
        ({"accept": "text/html,*/*"}, True),
        ({"sec-fetch-dest": "document"}, True),
        ({"sec-fetch-dest": "iframe", "accept": "*/*"}, True),
        ({"sec-fetch-dest": "serviceworker"}, True),
        ({"sec-fetch-dest": "empty", "accept": "text/html"}, False),
    ],
)
async def test_a_page_of_a_worker_gets_no_origin(running: Any, headers: dict[str, str], isolated: bool) -> None:
    """What a browser opens as a page is sandboxed beside the worker's own policy; what a program asks for is left alone."""
    await running.put("page", "export default { fetch: () => new Response('x', { headers: { 'content-security-policy': 'img-src *' } }) }")
    _, got, _ = await running.ask("GET", "/w/page/", headers=headers)
    policies = got.getall("content-security-policy")
    assert policies[0] == "img-src *"
    assert [policy.split()[0] for policy in policies[1:]] == ["sandbox"] * isolated
    assert not any("allow-same-origin" in policy for policy in policies)


async def test_pages_keep_their_origin_when_that_is_wanted(serve: Any) -> None:
    """With server.isolate_pages off a worker's page is like any other."""
    running = await serve(server__isolate_pages=False)
    await running.put("page", "export default { fetch: () => new Response('x') }")
    _, got, _ = await running.ask("GET", "/w/page/", headers={"accept": "text/html"})
    assert "content-security-policy" not in got
