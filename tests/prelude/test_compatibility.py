"""docs/compatibility.md says what a worker really finds. OTELBRIDGE_WRITE_DOCS=1 writes the table anew."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.prelude.compatibility import PROBES, ROWS, table
from tests.prelude.conftest import SOURCE, Run

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
BEGIN, END = "<!-- table: tests/prelude/compatibility.py -->", "<!-- end of table -->"

LANGUAGE = """
AggregateError Array ArrayBuffer AsyncDisposableStack BigInt BigInt64Array BigUint64Array Boolean DataView Date DisposableStack Error EvalError Float32Array
Float64Array Function Infinity Int16Array Int32Array Int8Array InternalError JSON Map Math NaN Number Object Promise Proxy RangeError ReferenceError
Reflect RegExp Set SharedArrayBuffer String SuppressedError Symbol SyntaxError TypeError URIError Uint16Array Uint32Array Uint8Array Uint8ClampedArray
WeakMap WeakSet decodeURI decodeURIComponent encodeURI encodeURIComponent escape globalThis isFinite isNaN parseFloat parseInt undefined unescape
"""


async def test_the_table_is_true(run: Run) -> None:
    """Every row is there, or is absent, as the page says."""
    found, _ = await run(SOURCE % ",\n".join(f"{name!r}: async () => ({expression})" for name, expression in PROBES.items()))
    text = PAGE.read_text()
    head, rest = text.split(BEGIN)
    old, tail = rest.split(END)
    new = table({name: value is True for name, value in found.items()})
    if os.environ.get("OTELBRIDGE_WRITE_DOCS"):
        PAGE.write_text(f"{head}{BEGIN}\n{new}\n{END}{tail}")
        return
    assert old.strip() == new


async def test_nothing_is_left_out(run: Run) -> None:
    """Each global that is not of the language itself has its row."""
    names, _ = await run("export default { fetch: () => Response.json(Object.getOwnPropertyNames(globalThis)) };")
    named = set(re.findall(r"[A-Za-z]\w*", " ".join(name for _, name, _, _ in ROWS)))
    assert set(names) - set(LANGUAGE.split()) - named == set()


async def test_globals_do_not_enumerate(run: Run) -> None:
    """for-in over the global scope finds what the worker put there, and nothing else."""
    names, _ = await run("globalThis.mine = 1; export default { fetch: () => Response.json(Object.keys(globalThis)) };")
    assert names == ["mine"]
