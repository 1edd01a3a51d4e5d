"""docs/search.md and docs/live.md say what the code does: their tables are its own, and each query of theirs can be asked."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import get_args

import pytest

from otelbridge import Settings
from otelbridge.logs import Store
from otelbridge.logs.fields import FIELDS
from otelbridge.logs.language import parse
from otelbridge.logs.request import Operation, Operator, QueryRequest
from otelbridge.web.telemetry import TAIL
from tests.logs.samples import START_NS, Filled, line, part

DOCS = Path(__file__).parent.parent.parent / "docs"
SEARCH = (DOCS / "search.md").read_text("utf-8")
LIVE = (DOCS / "live.md").read_text("utf-8")


def rows(text: str, heading: str) -> list[tuple[str, str]]:
    """The rows of the table with this heading."""
    table = text.partition(f"| {heading} |")[2].split("\n\n")[0].split("\n<!--")[0].splitlines()[2:]
    cells = [re.split(r"(?<!\\)\|", row)[1:-1] for row in table]
    return [(first.strip().replace("\\|", "|"), second.strip()) for first, second in cells]


def code(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def test_fields() -> None:
    """The table of fields is the table of fields."""
    assert rows(SEARCH, "field | what") == [(f"`{field.name}`", field.text) for field in FIELDS.values()]


def test_parameters_of_the_live_tail() -> None:
    """The table of parameters is the route's."""
    assert rows(LIVE, "parameter | what") == [(f"`{parameter.name}`", parameter.text) for parameter in TAIL]


@pytest.mark.parametrize("query", [one for first, _ in rows(SEARCH, "query | finds") for one in code(first)])
async def test_each_query_can_be_asked(data_dir: Path, query: str) -> None:
    """Every example of the language is read, and the store answers it."""
    async with Filled(data_dir) as filled:
        await filled.put(part(line("user 7 left"), line({"user_id": 123})))
        assert parse(query, START_NS)
        await filled.store.logs(query)


def test_operations_and_operators() -> None:
    """Every operation and operator is named, and no other."""
    assert code(SEARCH.partition("**Operations**: ")[2].partition(". Case")[0]) == list(get_args(Operation))
    assert code(SEARCH.partition("**Operators**: ")[2].partition(". `stddev`")[0]) == list(get_args(Operator))


async def test_the_builders_document_is_answered(data_dir: Path) -> None:
    """The query document of the page, which has every member, is one that the store takes."""
    (document,) = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", SEARCH, re.DOTALL))
    assert set(document) | {"until", "cursor"} == {_camel(name) for name in QueryRequest.__struct_fields__}
    async with Store(directory=data_dir) as store:
        assert set(await store.query(document)) == {"calculations", "nextCursor", "statistics"}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


async def test_columns_of_the_views(data_dir: Path) -> None:
    """The views of SQL have the columns that the page lists."""
    async with Store(directory=data_dir) as store:
        for name, columns in rows(SEARCH, "view | columns"):
            assert (await store.sql(f"SELECT * FROM {name.strip('`')}")).columns == code(columns)


def test_the_defaults_of_retention() -> None:
    """Numbers that the page gives are the settings' own."""
    store = Settings(environ={}).store
    assert (store.segment_records, store.retention_seconds, store.max_bytes) == (500_000, 7 * 86_400, 5 << 30)


def test_the_session_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The Python example gets its logs before the body is read."""
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", LIVE, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(block, "live.md", "exec"), names)
    source = "export default { fetch() { console.warn('hello'); return new Response('hi') } }"
    asyncio.run(names["main"](source))  # type: ignore[operator]
    assert capsys.readouterr().out.strip() == "complete [('warn', ['hello'])] hi"
