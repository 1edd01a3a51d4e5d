"""Errors as RFC 9457 problem details: one shape on all routes, made in this one place."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from otelbridge.errors import BridgeError, QueryError, WorkerError, WorkerLoadError
from otelbridge.web.reply import Header, Reply

__all__ = ["Problem", "ProblemBody", "bad_request", "clean", "invalid", "not_found", "problem_of", "startup_problem"]

_log = logging.getLogger("otelbridge.web")

_PREFIX: Final = "urn:otelbridge:problem:"

_OUTCOMES: Final = {
    "exception": "The worker threw an exception.",
    "exceededCpu": "The worker used up its CPU time.",
    "exceededMemory": "The worker used up its memory.",
    "exceededWallTime": "The worker used up its wall time.",
    "loadShed": "All instances of the worker are busy and the queue is full; try again.",
    "internalError": "The bridge failed while it ran the worker.",
}


class ProblemBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """application/problem+json. `type` names the kind of problem and never changes; the rest says what is wrong here."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    column: int | None = None
    outcome: str | None = None
    invocation_id: str | None = None
    trace_id: str | None = None
    error: dict[str, str] | None = None


class Problem(Exception):
    """An error with all that its response says. `members`: those of ProblemBody beyond the first four."""

    def __init__(self, status: int, slug: str, title: str, detail: str, *, headers: Sequence[Header] = (), **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.slug = slug
        self.title = title
        self.detail = detail
        self.headers = headers
        self.members = members

    def reply(self) -> Reply:
        """The response."""
        body = ProblemBody(type=_PREFIX + self.slug, title=self.title, status=self.status, detail=clean(self.detail), **self.members)
        headers = [("content-type", "application/problem+json"), *self.headers]
        return Reply(self.status, headers, msgspec.json.encode(body))


def bad_request(detail: str, slug: str = "bad-request", title: str = "Bad request") -> Problem:
    """A request that can't be read: 400."""
    return Problem(400, slug, title, detail)


def invalid(detail: str) -> Problem:
    """A body that is JSON but not what this route takes: 422."""
    return Problem(422, "invalid-body", "Invalid body", detail)


def not_found(detail: str) -> Problem:
    """Nothing there: 404."""
    return Problem(404, "not-found", "Not found", detail)


def problem_of(error: BaseException, *, expose: bool) -> Problem:
    """What a client is told of an error. `expose`: also what the worker itself said."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, WorkerError):
        return _worker_problem(error, expose=expose)
    if isinstance(error, QueryError):
        return Problem(400, error.slug, error.title, str(error), column=error.column)
    if isinstance(error, BridgeError):
        return Problem(error.status, error.slug, error.title, str(error))
    _log.error("a request failed inside the bridge", exc_info=error)
    return Problem(500, "internal-error", "Internal error", "The bridge failed to answer; its own log says why.")


def startup_problem(error: WorkerLoadError) -> Problem:
    """Code that was sent to be registered and does not start: whoever sent it is told why."""
    return Problem(422, error.slug, error.title, str(error), outcome=error.outcome, error=_error(error))


def _worker_problem(error: WorkerError, *, expose: bool) -> Problem:
    headers: list[Header] = []
    members: dict[str, Any] = {"outcome": error.outcome}
    if error.invocation_id is not None:
        members["invocation_id"] = error.invocation_id
        headers.append(("otelbridge-invocation-id", error.invocation_id))
    if error.trace_id is not None:
        members["trace_id"] = error.trace_id
        headers.append(("otelbridge-trace-id", error.trace_id))
    if error.outcome == "loadShed":
        headers.append(("retry-after", "1"))
    if expose:
        members["error"] = _error(error)
    detail = str(error) if expose else _OUTCOMES.get(error.outcome, "The worker failed.")
    return Problem(error.status, error.slug, error.title, detail, headers=headers, **members)


def _error(error: WorkerError) -> dict[str, str]:
    out = {"name": clean(error.name), "message": clean(error.message)}
    return (out | {"stack": clean(error.stack)}) if error.stack else out


def clean(text: str) -> str:
    """Without lone surrogates, which JSON can't carry."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
