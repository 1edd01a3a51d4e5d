"""Errors: one shape on every route, with the status that fits."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from otelbridge.web.problem import ProblemBody
from otelbridge.web.routes import ROUTES

MEMBERS = {field.replace("_i", "I") for field in ProblemBody.__struct_fields__}
SHAKY = """export default { fetch(request) {
  const { pathname } = new URL(request.url);
  if (pathname === '/throw') throw new TypeError('secret detail');
  if (pathname === '/loop') for (;;);
  if (pathname === '/hang') return new Promise(() => {});
  if (pathname === '/wait') return scheduler.wait(20000).then(() => new Response());
  return 'not a response';
} }"""


def check_problem(status: int, headers: Any, body: Any) -> None:
    """The canonical shape: type, title, status, detail, and only members that are documented."""
    assert headers["content-type"] == "application/problem+json"
    assert body["status"] == status
    assert body["type"].startswith("urn:otelbridge:problem:")
    assert body["title"]
    assert body["detail"]
    assert set(body) <= MEMBERS
    assert "Traceback" not in json.dumps(body)
    assert ".py" not in json.dumps(body)


@pytest_asyncio.fixture(loop_scope="session")
async def shaky(running: Any) -> Any:
    """A service with a worker that fails in many ways."""
    await running.put("shaky", SHAKY, limits={"cpuMs": 50, "wallMs": 2_000})
    return running


async def test_every_route_answers_errors_as_problems(running: Any) -> None:
    """A wrong method, a wrong query and a wrong body are problems, whatever the route."""
    async with aiohttp.ClientSession() as session:
        for route in ROUTES:
            url = running.url + route.path.replace("{workerId}", "w").replace("{invocationId}", "i")
            for method, suffix, body in (("PROPFIND", "", None), (route.method, "?nonsense=1", None), (route.method, "", b"{nonsense")):
                if body is not None and route.body is None:
                    continue
                async with session.request(method, url + suffix, data=body, headers={"content-type": "application/json"}) as answer:
                    check_problem(answer.status, answer.headers, await answer.json(content_type=None))
                    assert answer.status == (405 if method == "PROPFIND" else 400)


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/w/nobody/", 404, "worker-not-found"),
        ("GET", "/w/", 404, "not-found"),
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/v1/nothing", 404, "not-found"),
        ("GET", "/v1/workers/nobody", 404, "worker-not-found"),
        ("DELETE", "/v1/workers/nobody", 404, "worker-not-found"),
        ("GET", "/v1/workers/a%2Fb", 400, "invalid-worker-id"),
        ("PUT", "/v1/workers/" + "a" * 257, 400, "invalid-worker-id"),
        ("GET", "/v1/logs?limit=0", 400, "bad-request"),
        ("GET", "/v1/logs?limit=1&limit=2", 400, "bad-request"),
        ("GET", "/v1/logs?order=sideways", 400, "bad-request"),
        ("GET", "/v1/logs?q=%FF", 400, "bad-request"),
        ("POST", "/v1/workers/x", 405, "method-not-allowed"),
        ("DELETE", "/healthz", 405, "method-not-allowed"),
    ],
)
async def test_a_wrong_request_is_named(running: Any, method: str, path: str, status: int, slug: str) -> None:
    """What is wrong with a request is told by status and problem type."""
    async with running.session.request(method, URL(running.url + path, encoded=True)) as answer:
        body = await answer.json(content_type=None)
        check_problem(status, answer.headers, body)
    assert (answer.status, body["type"]) == (status, f"urn:otelbridge:problem:{slug}")


async def test_a_worker_out_of_memory_says_so(running: Any) -> None:
    """A worker that fills its memory gets 503 exceededMemory."""
    source = "export default { fetch() { const all = []; for (;;) all.push(new Array(65536).fill(0).map((_, i) => ({ i }))) } }"
    await running.put("grow", source, limits={"memoryMb": 16, "cpuMs": 60_000, "wallMs": 60_000})
    _, headers, body = await running.ask("GET", "/w/grow/")
    check_problem(503, headers, body)
    assert body["outcome"] == "exceededMemory"


@pytest.mark.parametrize(
    ("path", "status", "outcome"),
    [
        ("/throw", 500, "exception"),
        ("/notaresponse", 500, "exception"),
        ("/hang", 500, "exception"),
        ("/loop", 503, "exceededCpu"),
        ("/wait", 504, "exceededWallTime"),
    ],
)
async def test_a_failed_invocation_says_how_it_ended(shaky: Any, path: str, status: int, outcome: str) -> None:
    """Status and outcome fit the way an invocation failed; its ids are in the body and in the headers of a success."""
    got, headers, body = await shaky.ask("GET", f"/w/shaky{path}")
    check_problem(status, headers, body)
    assert (got, body["outcome"]) == (status, outcome)
    assert headers["otelbridge-invocation-id"] == body["invocationId"]
    assert headers["otelbridge-trace-id"] == body["traceId"]


async def test_what_a_worker_said_is_shown_only_where_it_may_be(serve: Any) -> None:
    """With expose_errors off, message and stack of a worker stay in its telemetry."""
    running = await serve(server__expose_errors=False)
    await running.put("shaky", SHAKY)
    _, headers, body = await running.ask("GET", "/w/shaky/throw")
    check_problem(500, headers, body)
    assert "secret detail" not in json.dumps(body)
    assert "error" not in body


async def test_on_loopback_the_worker_is_quoted(shaky: Any) -> None:
    """A developer on the same machine sees name, message and stack at once."""
    _, _, body = await shaky.ask("GET", "/w/shaky/throw")
    assert body["detail"] == "TypeError: secret detail"
    assert (body["error"]["name"], body["error"]["message"]) == ("TypeError", "secret detail")
    assert "index.js" in body["error"]["stack"]


async def test_a_full_queue_says_when_to_come_back(serve: Any) -> None:
    """An invocation that finds no instance gets 503 loadShed with Retry-After."""
    running = await serve(sandbox__max_per_worker=1, sandbox__queue_limit=0)
    await running.put("slow", "export default { async fetch() { await scheduler.wait(300); return new Response('ok') } }")
    answers = await asyncio.gather(*(running.ask("GET", "/w/slow/") for _ in range(2)))
    shed = [(status, headers, body) for status, headers, body in answers if status != 200]
    assert len(shed) == 1
    check_problem(503, shed[0][1], shed[0][2])
    assert shed[0][2]["outcome"] == "loadShed"
    assert shed[0][1]["retry-after"] == "1"
