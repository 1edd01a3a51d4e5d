"""Errors as RFC 9457 problem details: one shape on all routes, made in one place."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from aiohttp import web

from otelbridge.errors import BridgeError, QueryError, WorkerError

__all__ = ["Problem", "of_error", "problem_response", "problems"]

_log = logging.getLogger("otelbridge.web")
_PREFIX = "urn:otelbridge:problem:"


class Problem(Exception):
    """An error of the HTTP layer itself."""

    def __init__(self, status: int, slug: str, title: str, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.slug = slug
        self.title = title
        self.detail = detail
        self.members = members


def problem_response(problem: Problem, headers: dict[str, str] | None = None) -> web.Response:
    """The problem as a response."""
    body = {
        "type": _PREFIX + problem.slug,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        **problem.members,
    }
    return web.Response(status=problem.status, body=msgspec.json.encode(body), content_type="application/problem+json", headers=headers)


def of_error(error: BaseException, *, expose: bool) -> tuple[Problem, dict[str, str]]:
    """What a client is told of an error, and the headers that go with it. `expose`: also what the worker said."""
    headers: dict[str, str] = {}
    if isinstance(error, Problem):
        return error, headers
    if isinstance(error, WorkerError):
        members: dict[str, Any] = {"outcome": error.outcome}
        if error.invocation_id is not None:
            members["invocationId"] = headers["otelbridge-invocation-id"] = error.invocation_id
        if error.trace_id is not None:
            members["traceId"] = headers["otelbridge-trace-id"] = error.trace_id
        if expose:
            members["error"] = {"name": error.name, "message": error.message} | ({"stack": error.stack} if error.stack else {})
        if error.outcome == "loadShed":
            headers["retry-after"] = "1"
        detail = str(error) if expose else "The worker failed; its message is in its logs."
        return Problem(error.status, error.slug, error.title, _clean(detail), **members), headers
    if isinstance(error, QueryError):
        return Problem(error.status, error.slug, error.title, str(error), **({"column": error.column} if error.column else {})), headers
    if isinstance(error, BridgeError):
        return Problem(error.status, error.slug, error.title, _clean(str(error))), headers
    _log.exception("internal error", exc_info=error)
    return Problem(500, "internal-error", "Internal error", "The bridge failed to answer; its log says why."), headers


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def problems(expose: bool) -> Any:
    """Middleware: every error of a handler, and aiohttp's own 404, 405 and 413, as a problem."""

    @web.middleware
    async def middleware(request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            return await handler(request)  # type: ignore[no-any-return]
        except web.HTTPException as e:
            if e.status < 400:
                raise
            slug = {404: "not-found", 405: "method-not-allowed", 413: "too-large"}.get(e.status, "bad-request")
            allow = {"allow": e.headers["allow"]} if "allow" in e.headers else None
            detail = {404: f"There is nothing at {request.path}.", 413: "The request body is too large."}.get(e.status, e.reason)
            return problem_response(Problem(e.status, slug, e.reason, detail), allow)
        except Exception as e:
            problem, headers = of_error(e, expose=expose)
            return problem_response(problem, headers)

    return middleware
