"""/openapi.json: made from the table of routes, and true."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from otelbridge.web.openapi import describe
from otelbridge.web.routes import ROUTES

DOCS = Path(__file__).parent.parent.parent / "docs" / "http-api.md"


async def test_the_document_describes_every_route(running: Any) -> None:
    """Each row of the table is an operation with its parameters, bodies and problems."""
    _, _, document = await running.ask("GET", "/openapi.json")
    assert document == json.loads(json.dumps(describe(ROUTES)))
    operations = {(m.upper(), path) for path, item in document["paths"].items() for m in item if m != "parameters"}
    invoking = {(m.upper(), "/w/{workerId}/{path}") for m in ("get", "put", "post", "delete", "patch", "head", "options")}
    assert operations == {(route.method, route.path) for route in ROUTES} | invoking
    names = [operation["operationId"] for item in document["paths"].values() for m, operation in item.items() if m != "parameters"]
    assert len(set(names)) == len(names)
    references = json.dumps(document).count('"$ref": "#/components/schemas/')
    assert references
    for name in document["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in json.dumps(document)


def test_every_route_is_documented() -> None:
    """docs/http-api.md has a row for each route, with its summary, and for no other."""
    rows = [line for line in DOCS.read_text("utf-8").splitlines() if line.startswith(("| `GET", "| `PUT", "| `POST", "| `DELETE"))]
    assert rows == [f"| `{r.method} {r.path}` | {r.summary}. {r.text}".rstrip() + " |" for r in ROUTES]


async def test_answers_fit_their_description(running: Any) -> None:
    """Whatever schemathesis makes of the document, the service answers as described, and never with a fault of its own."""
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    # A live tail does not end.
    schema = schemathesis.openapi.from_dict(describe(ROUTES)).exclude(path="/v1/tail")

    def search() -> None:
        for found in schema.get_all_operations():
            operation = found.ok()

            @settings(max_examples=6, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy())
            def answers(case: Any) -> None:
                case.validate_response(case.call(base_url=running.url), checks=checks)

            answers()

    await asyncio.to_thread(search)
