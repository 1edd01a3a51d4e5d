"""The dashboards' LogQL, read by Grafana's own parser in a worker of ours: Loki's grammar without Loki."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.build import cache_folder
from engine.fetch import fetch_npm, tar_members
from otelbridge import Bridge, Request, Settings, WorkerCode
from otelbridge.loader.worker import Entrypoint
from stack.dashboards import DASHBOARDS

# Module name, npm package, version, file in it, its SHA-256.
MODULES = (
    (
        "@grafana/lezer-logql",
        "0.4.2",
        "index.es.js",
        "3fa6cda6499ab7bc1a744b443b9e833fcfcbfa403b8bf44db4b01045df5fe77d",
    ),
    ("@lezer/lr", "1.4.10", "dist/index.js", "8d9b94f7c47b5226914e60613ec8bb49c3c3043df4e8d78ee7d19852fe34d582"),
    ("@lezer/common", "1.5.5", "dist/index.js", "5afcf283f7ab19b5c1ffaf60efb4984d694c0b62077c8f8897545a98d01ef571"),
)
PARSER = """
import { parser } from "@grafana/lezer-logql";
export default {
  async fetch(request) {
    const text = await request.text();
    const wrong = [];
    parser.parse(text).iterate({ enter(node) { if (node.type.isError) wrong.push(node.from); } });
    return Response.json(wrong);
  },
};"""
QUERIES = sorted(
    {
        target["expr"]
        for board in DASHBOARDS.values()
        for panel in board["panels"]
        for target in panel["targets"]
        if target["datasource"]["type"] == "loki"
    }
)


@pytest.fixture
async def parser(tmp_path: Path) -> AsyncIterator[Entrypoint]:
    """A worker that answers with the places where a query is no LogQL."""
    modules: dict[str, Any] = {"index.js": PARSER}
    for name, version, file, digest in MODULES:
        content = tar_members(fetch_npm(name, version, cache_folder() / "downloads"), "package/")[file]
        assert hashlib.sha256(content).hexdigest() == digest
        modules[name] = {"js": content.decode()}
    async with Bridge(Settings(flags={"data_dir": tmp_path})) as bridge:
        yield bridge.loader.get("logql", lambda: WorkerCode(main_module="index.js", modules=modules)).get_entrypoint()


async def mistakes(parser: Entrypoint, query: str) -> str:
    query = query.replace("$__range", "15m").replace("$__auto", "15s").replace("$", "x")
    response = await parser.fetch(Request("POST", "http://parser/", body=query.encode()))
    return await response.text()


async def test_every_query_is_logql(parser: Entrypoint, repository: Path) -> None:
    """Grafana's parser finds no error in a panel's query, nor in the link from a span to its lines."""
    sources = yaml.safe_load((repository / "collector/grafana/provisioning/datasources/otelbridge.yaml").read_text())["datasources"]
    link = next(source for source in sources if source["uid"] == "jaeger")["jsonData"]["tracesToLogsV2"]["query"]
    assert QUERIES
    assert {query: found for query in [*QUERIES, link] if (found := await mistakes(parser, query)) != "[]"} == {}


async def test_the_parser_finds_mistakes(parser: Entrypoint) -> None:
    """What is no LogQL is told."""
    for query in ("{a=}", "sum by (x (count_over_time({a=`b`}[5m]))", "{a=`b`} | = 3", "{a=`b`} |= "):
        assert await mistakes(parser, query) != "[]", query
