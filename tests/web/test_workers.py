"""/v1/workers and /v1/run: what is accepted, what is refused and how, and what comes back."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelbridge.errors import BridgeError
from otelbridge.web.code import code_from_json
from otelbridge.web.problem import Problem

HELLO = "export default { fetch() { console.log('hi', 1); return new Response('hello') } }"


def code(**members: Any) -> dict[str, Any]:
    """A WorkerCode document that is right but for these members."""
    return {"mainModule": "index.js", "modules": {"index.js": HELLO}} | members


ENTRYPOINT = "import { WorkerEntrypoint } from 'cloudflare:workers'; export default class extends WorkerEntrypoint"
HANDLERS = {
    "export default {}": False,
    "export default { scheduled() {} }": False,
    "export const other = { fetch() { return new Response('x') } }": False,
    "export default function fetch() {}": False,
    f"{ENTRYPOINT} {{ add(a, b) {{ return a + b }} }}": False,
    f"{ENTRYPOINT} {{ fetch() {{ return new Response('x') }} }}": True,
    "class A { fetch() { return new Response('x') } } export default new A()": True,
    "export default { get fetch() { throw new Error('asked too early') } }": True,
    "export default new Proxy({}, { has() { throw new Error('not your business') } })": True,
    HELLO: True,
}


@pytest.mark.parametrize("isolation", ["reuse", "invocation"])
@pytest.mark.parametrize("source", HANDLERS)
async def test_code_without_a_handler_for_requests_is_warned_of(running: Any, source: str, isolation: str) -> None:
    """It is registered all the same, and the answer says, also later, that requests have no handler; other code has no warning."""
    status, _, made = await running.ask("PUT", "/v1/workers/handler", json=code(modules={"index.js": source}, isolation=isolation))
    assert status in (200, 201), made
    shown = (await running.ask("GET", "/v1/workers/handler"))[2]
    assert made.get("warnings") == shown.get("warnings")
    if HANDLERS[source]:
        assert "warnings" not in made
    else:
        (warning,) = made["warnings"]
        assert "no handler for requests" in warning
        await running.ask("GET", "/w/handler/")


async def test_a_worker_is_put_shown_replaced_and_removed(running: Any) -> None:
    """201 for a new id, 200 for a known one with another version; then it can be shown, called and removed."""
    status, _, made = await running.ask("PUT", "/v1/workers/a%20b", json=code(tags={"team": "x"}, limits={"cpuMs": 20}))
    assert (status, made["workerId"], made["tags"], made["limits"]) == (201, "a b", {"team": "x"}, {"cpuMs": 20})
    assert (await running.ask("GET", "/w/a%20b/"))[2] == "hello"
    status, _, again = await running.ask("PUT", "/v1/workers/a%20b", json=code(modules={"index.js": HELLO.replace("hello", "bye")}))
    assert status == 200
    assert again["version"] != made["version"]
    assert (await running.ask("GET", "/w/a%20b/"))[2] == "bye"
    assert "a b" in [w["workerId"] for w in (await running.ask("GET", "/v1/workers"))[2]["workers"]]
    shown = (await running.ask("GET", "/v1/workers/a%20b"))[2]
    assert "bye" in shown["sources"]["index.js"]
    assert (await running.ask("DELETE", "/v1/workers/a%20b"))[0] == 204
    assert (await running.ask("GET", "/w/a%20b/"))[0] == 404


@pytest.mark.parametrize("kind", ["application/javascript", "text/javascript; charset=utf-8"])
async def test_a_single_module_is_enough(running: Any, kind: str) -> None:
    """A body of JavaScript is a worker, as curl --data-binary sends it."""
    status, _, made = await running.ask("PUT", "/v1/workers/one", data=HELLO.encode(), headers={"content-type": kind})
    assert (status in (200, 201), made["modules"]) == (True, {"index.js": "js"})
    assert (await running.ask("GET", "/w/one/"))[2] == "hello"


async def test_modules_of_all_kinds_arrive(running: Any) -> None:
    """js, cjs, text, json and base64 data are what the worker imports."""
    main = """import t from './t.txt'; import d from './d.bin'; import j from './j.json'; import c from './c.cjs';
      export default { fetch() { return Response.json([t, new Uint8Array(d).length, j, c]) } }"""
    modules = {
        "index.js": {"js": main},
        "t.txt": {"text": "täxt"},
        "d.bin": {"data": base64.b64encode(bytes(5)).decode()},
        "j.json": {"json": {"a": [1]}},
        "c.cjs": {"cjs": "module.exports = 'c'"},
    }
    assert (await running.ask("PUT", "/v1/workers/kinds", json=code(modules=modules)))[0] == 201
    assert (await running.ask("GET", "/w/kinds/"))[2] == ["täxt", 5, {"a": [1]}, "c"]


@pytest.mark.parametrize(
    ("document", "detail"),
    [
        pytest.param([], "Worker code must be a JSON object", id="array"),
        pytest.param({}, "missing required field mainModule", id="empty"),
        pytest.param(code(mainModule=1), "mainModule: Expected str", id="main module is a number"),
        pytest.param(code(mainModule="x.js"), "'x.js' is not one of the modules", id="main module is missing"),
        pytest.param(code(modules={}), "at least one module", id="no modules"),
        pytest.param(code(modules=[HELLO]), "modules: Expected object", id="modules are a list"),
        pytest.param(code(modules={"index.js": HELLO, "a.ts": "x"}), "Got: a.ts", id="TypeScript"),
        pytest.param(code(modules={"index.js": {"html": "x"}}), "unknown type 'html'", id="unknown module type"),
        pytest.param(code(modules={"index.js": {"js": "x", "cjs": "y"}}), "exactly one of", id="two types"),
        pytest.param(code(modules={"index.js": 5}), "must be text or an object", id="module is a number"),
        pytest.param(code(modules={"index.js": HELLO, "w": {"wasm": "%%"}}), "modules['w'].wasm is not base64", id="not base64"),
        pytest.param(code(modules={"index.js": HELLO, "w": {"data": 5}}), "modules['w'].data must be base64 text", id="data is a number"),
        pytest.param(code(modules={"index.js": HELLO, "a\nb.js": ""}), "no control characters", id="line break in a module name"),
        pytest.param(code(mainModul="x"), "Unknown member mainModul. Did you mean mainModule?", id="misspelt member"),
        pytest.param(code(tails=[]), "can't be given over HTTP", id="tails"),
        pytest.param(code(globalOutbound="inherit"), "globalOutbound: must be absent", id="outbound is text"),
        pytest.param(code(limits={"cpuMs": 0}), "limits", id="limit of zero"),
        pytest.param(code(limits={"cpuMs": "5"}), "limits.cpuMs: Expected int", id="limit is text"),
        pytest.param(code(limits={"cpu": 5}), "unknown field cpu", id="unknown limit"),
        pytest.param(code(isolation="none"), "isolation: Invalid enum value", id="unknown isolation"),
        pytest.param(code(env=[]), "env: Expected object", id="env is a list"),
        pytest.param(code(tags={"a": 1}), "tags", id="tag is a number"),
        pytest.param(code(compatibilityDate="soon"), "Invalid compatibility date: soon", id="date"),
        pytest.param(code(env={"big": "x" * (1 << 20)}), "env", id="env over 1 MiB"),
        pytest.param(code(modules={"index.js": "export default {"}), "SyntaxError", id="syntax error"),
        pytest.param(code(modules={"index.js": "import './no.js'; export default {}"}), "no.js", id="missing module"),
        pytest.param(code(modules={"index.js": "throw new RangeError('at start')"}), "RangeError: at start", id="throws at start"),
        pytest.param(code(modules={"index.js": "for (;;);"}, limits={"cpuMs": 20}), "CPU", id="loops at start"),
        pytest.param(code(mainModule="w", modules={"w": {"wasm": "AGFzbQEAAAA="}}), "export", id="wasm without exports"),
        pytest.param(code(mainModule="w", modules={"w": {"wasm": "AAAA"}}), "not WebAssembly", id="not wasm"),
    ],
)
async def test_code_that_cannot_run_is_refused(running: Any, document: Any, detail: str) -> None:
    """Each mistake in worker code is a 422 that names it, and nothing is registered."""
    data = io.BytesIO(json.dumps(document).encode())
    status, headers, body = await running.ask("PUT", "/v1/workers/bad", data=data, headers={"content-type": "application/json"})
    assert status == 422, body
    assert headers["content-type"] == "application/problem+json"
    assert detail in body["detail"]
    assert (await running.ask("GET", "/v1/workers/bad"))[0] == 404


async def test_bodies_of_other_kinds_are_refused(running: Any) -> None:
    """What is neither WorkerCode nor a module type that we know gets 415, with what would be accepted."""
    for kind in ("application/x-www-form-urlencoded", "text/plain", "application/typescript"):
        status, _, body = await running.ask("PUT", "/v1/workers/x", data=b"x", headers={"content-type": kind})
        assert status == 415
        assert "application/javascript" in body["detail"]
    bom = b"\xff\xfe"
    status, _, body = await running.ask("PUT", "/v1/workers/x", data=bom, headers={"content-type": "text/javascript"})
    assert (status, body["detail"]) == (422, "The module is not UTF-8: its byte 0 can't be read.")


async def test_code_over_the_limit_is_refused(running: Any) -> None:
    """Code larger than 64 MiB is refused by its size; server.max_body_bytes does not hold for code."""
    body = io.BytesIO(b"//" + b"x" * (64 << 20))
    status, _, problem = await running.ask("PUT", "/v1/workers/x", data=body, headers={"content-type": "text/javascript"})
    assert status == 422
    assert "exceeds the maximum allowed size" in problem["detail"]


async def test_run_returns_response_and_logs(running: Any) -> None:
    """POST /v1/run gives the response, the logs and the trace item of one invocation."""
    source = """export default { async fetch(request) {
      console.warn({ got: await request.text() }); return new Response('a', { status: 201, headers: { 'x-b': 'c' } }) } }"""
    request = {"method": "POST", "url": "/p?q", "headers": [["x-a", "1"]], "body": "ä"}
    status, _, body = await running.ask("POST", "/v1/run", json={"code": source, "request": request, "workerId": "me"})
    assert status == 200
    assert (body["response"]["status"], body["response"]["body"], body["error"]) == (201, "a", None)
    assert ["x-b", "c"] in body["response"]["headers"]
    assert [(log["level"], log["message"]) for log in body["logs"]] == [("warn", [{"got": "ä"}])]
    assert body["logsState"] == "complete"
    assert (body["trace"]["workerId"], body["trace"]["outcome"]) == ("me", "ok")
    assert body["trace"]["event"]["request"]["url"] == "http://worker/p?q"
    assert body["timing"]["totalMs"] > 0


async def test_run_reports_what_the_code_threw(running: Any) -> None:
    """Code that fails is a successful report of a failure, also when it does not even start."""
    _, _, body = await running.ask(
        "POST", "/v1/run", json={"code": "export default { fetch() { console.log(1); throw new TypeError('no') } }"}
    )
    assert (body["response"], body["error"]["name"], body["error"]["outcome"]) == (None, "TypeError", "exception")
    assert [log["message"] for log in body["logs"]] == [[1]]
    status, _, body = await running.ask("POST", "/v1/run", json={"code": "syntax error"})
    assert (status, "SyntaxError" in body["error"]["message"]) == (200, True)


@pytest.mark.parametrize(
    ("document", "detail"),
    [
        ({}, "missing required field code"),
        ({"code": 5}, "code"),
        ({"code": HELLO, "workerId": ""}, "1 to 256"),
        ({"code": HELLO, "request": {"method": "A B"}}, "request.method"),
        ({"code": HELLO, "request": {"headers": {"a b": "c"}}}, "Invalid header name"),
        ({"code": HELLO, "request": {"headers": {"a": "b\r\nc: d"}}}, "Invalid value of header"),
        ({"code": HELLO, "request": {"bodyBase64": "%"}}, "not base64"),
        ({"code": HELLO, "request": {"body": "a", "bodyBase64": ""}}, "not both"),
        ({"code": HELLO, "timeoutMs": -1}, "timeoutMs"),
        ({"code": HELLO, "extra": 1}, "unknown field extra"),
        ({"code": {"mainModule": "a"}}, "code"),
    ],
)
async def test_run_refuses_what_it_cannot_read(running: Any, document: Any, detail: str) -> None:
    """A wrong member of a run is named."""
    status, _, body = await running.ask("POST", "/v1/run", json=document)
    assert status in (400, 422), body
    assert detail in body["detail"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MEMBER = st.sampled_from(
    ["mainModule", "modules", "compatibilityDate", "compatibilityFlags", "env", "globalOutbound", "limits", "isolation", "tags"]
)


@settings(max_examples=50)
@given(st.dictionaries(MEMBER | st.text(max_size=5), JSON))
def test_any_json_is_code_or_a_named_error(document: dict[str, Any]) -> None:
    """Whatever JSON arrives as worker code, the answer is WorkerCode or an error of ours."""
    try:
        code_from_json(json.dumps(document).encode())
    except BridgeError as e:
        assert e.status == 422
    except Problem as e:
        assert e.status == 400


@given(st.binary(max_size=50))
def test_any_bytes_are_code_or_a_named_error(body: bytes) -> None:
    """Whatever bytes arrive as worker code, the answer is an error of ours."""
    with pytest.raises((BridgeError, Problem)):
        code_from_json(body)
