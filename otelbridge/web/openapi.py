"""/openapi.json, made from the table of routes and from the structs that check bodies and queries."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import msgspec

import otelbridge
from otelbridge.web.code import MODULE_TYPES, CodeBody
from otelbridge.web.problem import ProblemBody
from otelbridge.web.reply import Reply
from otelbridge.web.route import Call, Parameter, Route

__all__ = ["describe", "get_openapi"]

_STATUSES = {
    200: "Success",
    201: "Created",
    204: "Removed",
    400: "The request can't be read",
    401: "The bearer token is missing or wrong",
    403: "A web page of another origin",
    404: "There is no such thing",
    413: "The body is too large",
    415: "The body has a type that this route does not take",
    422: "The body is JSON, but can't be used",
    503: "Not available",
}
_PATHS = {
    "workerId": "1 to 256 characters, no control characters, no slash; percent-encoded.",
    "invocationId": "32 hex digits.",
    "path": "Any path; its slashes stand as they are.",
}


async def get_openapi(call: Call) -> Reply:
    """The description of all routes."""
    return Reply(200, [("content-type", "application/json")], _document())


@functools.cache
def _document() -> bytes:
    from otelbridge.web.routes import ROUTES  # the table holds this handler, so it can't be imported before

    return msgspec.json.encode(describe(ROUTES))


def describe(routes: Iterable[Route]) -> dict[str, Any]:
    """OpenAPI 3.1 of these routes."""
    routes = list(routes)
    types = [ProblemBody, *(t for route in routes for t in (route.body, route.result) if t is not None)]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    paths["/w/{workerId}/{path}"] = _invoke(schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "otelbridge",
            "version": otelbridge.__version__,
            "description": "Errors are problem details (RFC 9457).",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "auth.token, when it is set"}},
        },
    }


def _invoke(schema_of: dict[int, Any]) -> dict[str, Any]:
    """The path that is not in the table of routes: it takes any method, and a path with slashes."""
    content = {"*/*": {}, "application/problem+json": {"schema": schema_of[id(ProblemBody)]}}
    answer = {"description": "What the worker answered, or a problem when it gave no answer", "content": content}
    item: dict[str, Any] = {"parameters": [_path_parameter("workerId"), _path_parameter("path")]}
    for method in ("get", "put", "post", "delete", "patch", "head", "options"):
        item[method] = {
            "operationId": f"invoke{method.capitalize()}",
            "summary": "Call a worker",
            "description": "With any other method too. The worker sees the request without `/w/{workerId}`.",
            "responses": {"default": answer},
        }
    return item


def _operation(route: Route, schema_of: dict[int, Any]) -> dict[str, Any]:
    protected = route.path.startswith("/v1/")
    problem = {"content": {"application/problem+json": {"schema": schema_of[id(ProblemBody)]}}}
    out: dict[str, Any] = {"operationId": route.name, "summary": route.summary, "responses": {}}
    if route.text:
        out["description"] = route.text
    content = {route.media_type: {"schema": schema_of[id(route.result)] if route.result is not None else {"type": "string"}}}
    if route.streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    success = {"content": content} if route.status != 204 else {}
    statuses = [200, 201] if route.body is CodeBody else [route.status]
    for status in statuses:
        out["responses"][str(status)] = {"description": _STATUSES[status]} | success
    for status in (*route.errors, *((400, 401, 403) if protected else ())):
        out["responses"][str(status)] = {"description": _STATUSES[status]} | problem
    parameters = [_path_parameter(part[1:-1]) for part in route.path.split("/") if part.startswith("{")] + [
        _query_parameter(q) for q in route.query or ()
    ]
    if parameters:
        out["parameters"] = parameters
    if route.body is not None:
        body: dict[str, Any] = {"application/json": {"schema": schema_of[id(route.body)]}}
        if route.body is CodeBody:
            body |= {kind: {"schema": {"type": "string", "format": "binary"}} for kind in MODULE_TYPES}
        out["requestBody"] = {"required": True, "content": body}
    if protected:
        out["security"] = [{}, {"token": []}]
    return out


def _path_parameter(name: str) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": 256}
    return {"name": name, "in": "path", "required": True, "description": _PATHS[name], "schema": schema}


def _query_parameter(parameter: Parameter) -> dict[str, Any]:
    schema = msgspec.json.schema(parameter.kind)
    if parameter.repeat:
        schema = {"type": "array", "items": schema}
    required = {"required": True} if parameter.required else {}
    return {"name": parameter.name, "in": "query", "description": parameter.text, "schema": schema} | required
