"""fetch(): what goes out, what comes back, and what ends it. The other side is a real server of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from otelbridge import Request
from tests.prelude.conftest import Run

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def answer(request: web.Request) -> web.StreamResponse:
    """Echo, or what the path asks for."""
    match request.path:
        case "/redirect":
            raise web.HTTPFound("/echo")
        case "/slow":
            await asyncio.sleep(30)
        case "/stream" | "/endless":
            response = web.StreamResponse()
            await response.prepare(request)
            for i in range(3):
                await response.write(f"part {i}\n".encode())
                await asyncio.sleep(0.01)
            if request.path == "/endless":
                await asyncio.sleep(30)
            return response
        case "/status":
            return web.Response(status=404, text="no", headers={"X-A": "b"})
    body = await request.text()
    return web.json_response({"method": request.method, "path": request.path_qs, "body": body, "x": request.headers.get("x-from")})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def origin() -> AsyncIterator[str]:
    """Where the server listens."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0] and f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def worker(origin: str, body: str) -> str:
    """A worker that answers with the JSON of an expression's value, or of its error."""
    return f"""const origin = '{origin}';
    export default {{ async fetch(request) {{
        try {{ return Response.json((await (async () => {{ {body} }})()) ?? null); }} catch (e) {{ return Response.json({{ throws: e?.name, message: e?.message }}); }}
    }} }}"""


async def test_a_request_goes_out_and_its_answer_comes_back(run: Run, origin: str) -> None:
    """Method, URL, headers and body arrive; status, headers and body return."""
    source = "const r = await fetch(origin + '/echo?a=1', { method: 'POST', headers: { 'X-From': 'me' }, body: 'é' });"
    got, _ = await run(
        worker(origin, source + "return [r.status, r.ok, r.url.endsWith('/echo?a=1'), r.headers.get('content-type'), await r.json()]")
    )
    assert got == [200, True, True, "application/json; charset=utf-8", {"method": "POST", "path": "/echo?a=1", "body": "é", "x": "me"}]


async def test_bodies_of_all_kinds_are_sent(run: Run, origin: str) -> None:
    """Text, bytes, forms and streams arrive as they are."""
    source = """const bodies = ['a', new Uint8Array([98]), new URLSearchParams('c=d'), new Blob(['e']), new Blob(['f', 'g']).stream(), null];
        const out = [];
        for (const body of bodies) out.push((await (await fetch(new Request(origin + '/echo', { method: 'PUT', body }))).json()).body);
        return out;"""
    got, _ = await run(worker(origin, source))
    assert got == ["a", "b", "c=d", "e", "fg", ""]


async def test_a_body_that_streams_is_read_in_pieces_or_whole(run: Run, origin: str) -> None:
    """The reader sees chunks, text() their sum, and a response can be handed on."""
    source = """const a = await fetch(origin + '/stream'); let n = 0; for await (const chunk of a.body) n += chunk.length;
        const b = await fetch(origin + '/stream'); const c = (await fetch(origin + '/stream')).clone();
        return [n, await b.text(), (await new Response((await fetch(origin + '/stream')).body).text()).length, (await c.text()).length];"""
    got, _ = await run(worker(origin, source))
    assert got == [21, "part 0\npart 1\npart 2\n", 21, 21]


async def test_errors_of_the_other_side_are_answers(run: Run, origin: str) -> None:
    """A 404 is a response, not an exception."""
    got, _ = await run(
        worker(origin, "const r = await fetch(origin + '/status'); return [r.status, r.ok, r.headers.get('x-a'), await r.text()]")
    )
    assert got == [404, False, "b", "no"]


async def test_redirects_are_followed_or_shown(run: Run, origin: str) -> None:
    """`follow` is the default; `manual` shows the redirect itself."""
    source = """const a = await fetch(origin + '/redirect'), b = await fetch(origin + '/redirect', { redirect: 'manual' });
        return [a.status, a.redirected, a.url === origin + '/echo', b.status, b.headers.get('location')];"""
    got, _ = await run(worker(origin, source))
    assert got == [200, True, True, 302, "/echo"]


async def test_a_signal_ends_a_fetch(run: Run, origin: str) -> None:
    """Before it starts, while it waits for the answer, and in the middle of the body; with the signal's own reason."""
    source = """const out = [];
        const attempt = async (f) => { try { await f() } catch (e) { out.push(e.name) } };
        await attempt(() => fetch(origin + '/echo', { signal: AbortSignal.abort() }));
        await attempt(() => fetch(origin + '/slow', { signal: AbortSignal.timeout(20) }));
        const c = new AbortController();
        const r = await fetch(origin + '/endless', { signal: c.signal });
        setTimeout(() => c.abort(new RangeError('enough')), 60);
        await attempt(() => r.text());
        return out;"""
    got, _ = await run(worker(origin, source))
    assert got == ["AbortError", "TimeoutError", "RangeError"]


async def test_what_can_not_be_fetched(run: Run, origin: str) -> None:
    """Other schemes, invalid URLs and closed ports are rejections of the promise."""
    source = """const out = [];
        for (const url of ['ftp://h/', '/relative', 'http://127.0.0.1:1/']) await fetch(url).catch((e) => out.push([e.name, e instanceof Error]));
        return out;"""
    got, _ = await run(worker(origin, source))
    assert got == [["TypeError", True], ["TypeError", True], ["Error", True]]


async def test_network_errors_name_nothing_of_ours(run: Run, origin: str) -> None:
    """A name that does not exist, a closed port, no TLS, no HTTP, a body that breaks off: each is said
    in words, and no word is a class or a setting of the host's language."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = (await reader.readline()).split()[1]
        head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"
        writer.write({b"/none": b"", b"/mad": b"hello\r\n\r\n"}.get(target, head + b"abc"))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        urls = ["http://no-such-name.invalid/", "http://127.0.0.1:1/", f"{origin.replace('http', 'https')}/"]
        urls += [f"http://127.0.0.1:{port}/{path}" for path in ("none", "mad", "short")]
        source = f"""const out = [];
            for (const url of {urls}) await fetch(url).then((r) => r.text()).then(out.push.bind(out), (e) => out.push(e.message));
            return out;"""
        got, _ = await run(worker(origin, source))
    lost = "Network connection lost: "
    assert got == [
        f"{lost}the name no-such-name.invalid can't be resolved",
        f"{lost}127.0.0.1 port 1 can't be reached: Connection refused",
        f"{lost}there is no TLS with 127.0.0.1 port {origin.rpartition(':')[2]}",
        f"{lost}the server closed the connection without an answer",
        f"{lost}the answer is not valid HTTP",
        "The body broke off: the body ended too early",
    ]


async def test_a_request_is_sent_once(run: Run, origin: str) -> None:
    """A request whose body is gone can't be fetched again."""
    source = "const r = new Request(origin + '/echo', { method: 'POST', body: 'x' }); await fetch(r); await fetch(r);"
    got, _ = await run(worker(origin, source))
    assert got["throws"] == "TypeError"
    assert "already been used" in got["message"]


async def test_the_request_body_of_a_client_is_read_without_a_stream(run: Run) -> None:
    """text() of the incoming request, and a second reading that is refused."""
    source = """export default { async fetch(r) { const copy = r.clone(); const text = await r.text();
        return Response.json([text, r.bodyUsed, await copy.text(), await r.text().catch((e) => e.name)]) } }"""
    got, _ = await run(source, Request("POST", "http://h/", body="é".encode()))
    assert got == ["é", True, "é", "TypeError"]


async def test_the_request_body_of_a_client_that_streams(run: Run) -> None:
    """A body that arrives in pieces is text, a stream, or two of both."""

    async def pieces() -> AsyncIterator[bytes]:
        yield "é".encode()[:1]
        await asyncio.sleep(0.01)
        yield "é".encode()[1:]

    read = "export default { async fetch(r) { const c = r.clone(); let n = 0; for await (const x of r.body) n += x.length; return Response.json([n, await c.text()]) } }"
    got, _ = await run(read, Request("POST", "http://h/", body=pieces()))
    assert got == [2, "é"]
    got, _ = await run(
        "export default { async fetch(r) { return Response.json([await r.text(), r.bodyUsed]) } }",
        Request("POST", "http://h/", body=pieces()),
    )
    assert got == ["é", True]
    got, _ = await run("export default { fetch: (r) => new Response(r.body) }", Request("POST", "http://h/", body=pieces()))
    assert got == "é"
