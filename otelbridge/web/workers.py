"""/v1/workers: register, list, show and remove workers. /v1/run: run code once."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from otelbridge.errors import WorkerCodeError, WorkerLoadError, WorkerNotFoundError
from otelbridge.loader.registry import Registered
from otelbridge.model.code import WorkerCode, check_worker_id
from otelbridge.model.http import Request
from otelbridge.web.code import code_from_json, single_module
from otelbridge.web.problems import Problem

if TYPE_CHECKING:
    from otelbridge.bridge import Bridge

__all__ = ["Workers", "json_body", "json_response"]

_SINGLE = ("application/javascript", "text/javascript", "application/wasm")


def json_response(value: Any, status: int = 200) -> web.Response:
    """A value as JSON."""
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")


async def json_body(request: web.Request) -> Any:
    """The decoded body. Problem 400 with the place of the error when it is not JSON."""
    try:
        return msgspec.json.decode(await request.read())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise Problem(400, "invalid-json", "Invalid JSON", f"The body is not JSON: {e}") from e


class Workers:
    """Handlers around the registry."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def put(self, request: web.Request) -> web.Response:
        """Register a worker; 201 when it is new."""
        worker_id = check_worker_id(request.match_info["workerId"])
        code = await self._code(request)
        try:
            entry = await self._bridge.put(worker_id, code)
        except WorkerLoadError as e:
            members = {"outcome": e.outcome, "error": {"name": e.name, "message": e.message} | ({"stack": e.stack} if e.stack else {})}
            raise Problem(422, e.slug, e.title, e.message.encode("utf-8", "replace").decode(), **members) from e
        return json_response(_shown(entry), 201 if entry.created else 200)

    async def list(self, request: web.Request) -> web.Response:
        """All workers, with what was counted of them."""
        counters = await self._bridge.worker_counters()
        return json_response({"workers": [_shown(e) | counters.get(e.worker_id, {}) for e in self._bridge.registry.list()]})

    async def get(self, request: web.Request) -> web.Response:
        """One worker, with its text modules."""
        worker_id = request.match_info["workerId"]
        entry = self._bridge.registry.get(worker_id)
        code = self._bridge.registry.code(worker_id)
        if entry is None or code is None:
            raise WorkerNotFoundError(worker_id)
        counters = (await self._bridge.worker_counters()).get(worker_id, {})
        sources = {n: m.content.decode("utf-8", "replace") for n, m in code.modules.items() if m.type not in ("wasm", "data")}
        return json_response(_shown(entry) | counters | {"sources": sources})

    async def delete(self, request: web.Request) -> web.Response:
        """Remove a worker."""
        worker_id = request.match_info["workerId"]
        if not self._bridge.delete(worker_id):
            raise WorkerNotFoundError(worker_id)
        return web.Response(status=204)

    async def run(self, request: web.Request) -> web.Response:
        """Run code once; its response and logs in one document. What the worker throws is part of the answer."""
        body = await json_body(request)
        if not isinstance(body, dict) or "code" not in body:
            raise Problem(400, "invalid-request", "Bad Request", "The body must be an object with code, and perhaps request and workerId.")
        unknown = sorted(set(body) - {"code", "request", "workerId", "timeoutMs"})
        if unknown:
            raise Problem(400, "invalid-request", "Bad Request", f"Unknown member {unknown[0]!r}; known are code, request, workerId, timeoutMs.")
        code = body["code"]
        code = WorkerCode(main_module="index.js", modules={"index.js": code}) if isinstance(code, str) else code_from_json(code)
        worker_id = body.get("workerId")
        if worker_id is not None:
            worker_id = check_worker_id(worker_id)
        timeout = body.get("timeoutMs", 1000)
        if type(timeout) is not int or not 0 <= timeout <= 60_000:
            raise Problem(400, "invalid-request", "Bad Request", "timeoutMs must be a whole number from 0 to 60000.")
        result = await self._bridge.run(code, _request(body.get("request") or {}), worker_id=worker_id, timeout=timeout / 1000)
        out: dict[str, Any] = {
            "response": None,
            "logs": result.logs.items,
            "exceptions": result.logs.exceptions,
            "logsState": result.logs.state,
            "trace": result.item.to_json() if result.item is not None else None,
            "timing": result.timing,
        }
        if result.response is not None:
            out["response"] = {"status": result.response.status, "headers": result.response.headers} | _body(result.body)
        if result.error is not None:
            e = result.error
            out["error"] = {"name": e.name, "message": e.message, "outcome": e.outcome} | ({"stack": e.stack} if e.stack else {})
        return json_response(out)

    async def _code(self, request: web.Request) -> WorkerCode:
        if request.content_type in _SINGLE:
            return single_module(request.content_type, await request.read())
        return code_from_json(await json_body(request))


def _shown(entry: Registered) -> dict[str, Any]:
    out: dict[str, Any] = msgspec.to_builtins(entry)
    out["limits"] = {k: v for k, v in out["limits"].items() if v is not None}
    return out


def _body(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"bodyBase64": base64.b64encode(body).decode()}


def _request(value: Any) -> Request:
    if not isinstance(value, dict):
        raise Problem(400, "invalid-request", "Bad Request", "request must be an object with method, url, headers and body.")
    headers = value.get("headers") or []
    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    body: bytes | None = None
    try:
        if "bodyBase64" in value:
            body = base64.b64decode(value["bodyBase64"], validate=True)
        elif value.get("body") is not None:
            body = value["body"].encode()
        url = str(value.get("url") or "http://worker/")
        if not url.startswith(("http://", "https://")):
            url = "http://worker" + (url if url.startswith("/") else "/" + url)
        return Request(str(value.get("method") or "GET"), url, [(str(k), str(v)) for k, v in pairs], body)
    except (TypeError, ValueError, AttributeError, binascii.Error, WorkerCodeError) as e:
        raise Problem(400, "invalid-request", "Bad Request", f"request: {e}") from e
