"""`otelbridge run FILE`: one invocation without a service."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from otelbridge.cli.output import fail

__all__ = ["run_file"]


def run_file(file: str, *, method: str, path: str, data: str | None, headers: tuple[str, ...]) -> int:
    """Body to stdout, logs to stderr; the exit code: 0, or 1 for a failed outcome."""
    pairs = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            fail(f"--header {header!r}: expected NAME: VALUE", 2)
        pairs.append((name.strip(), value.strip()))
    body = None
    if data is not None:
        body = Path(data[1:]).read_bytes() if data.startswith("@") else data.encode()
    return asyncio.run(_run(Path(file), method, path, pairs, body))


async def _run(file: Path, method: str, path: str, headers: list[tuple[str, str]], body: bytes | None) -> int:
    from otelbridge import Bridge, Request, Settings

    with tempfile.TemporaryDirectory(prefix="otelbridge-run-") as folder:
        settings = Settings(flags={"data_dir": folder, "store.enabled": False})
        async with Bridge(settings) as bridge:
            url = "http://worker" + (path if path.startswith("/") else "/" + path)
            result = await bridge.run(_code(file), Request(method, url, headers, body), worker_id=file.stem, timeout=30.0)
    for log in result.logs.items:
        click.echo(f"({log['level']}) {' '.join(_text(a) for a in log['message'])}", err=True)
    for e in result.logs.exceptions:
        click.echo("\n".join([f"{e['name']}: {e['message']}", *([e["stack"]] if e.get("stack") else [])]), err=True)
    if result.response is not None:
        sys.stdout.buffer.write(result.body)
        sys.stdout.buffer.flush()
    elif not result.logs.exceptions:
        click.echo(str(result.error), err=True)
    failed = result.error is not None or (result.item is not None and result.item.outcome != "ok")
    return 1 if failed else 0


def _code(file: Path) -> Any:
    from otelbridge import WorkerCode

    if file.suffix == ".wasm":
        return WorkerCode(main_module=file.name, modules={file.name: {"wasm": file.read_bytes()}})
    if file.suffix == ".wat":
        from otelbridge.sandbox import wat

        return WorkerCode(main_module="worker.wasm", modules={"worker.wasm": {"wasm": wat(file.read_text())}})
    if file.suffix == ".json":
        from otelbridge.web.code import code_from_json

        return code_from_json(file.read_bytes())
    name = file.name if file.suffix in (".js", ".mjs") else "index.js"
    return WorkerCode(main_module=name, modules={name: file.read_text()})


def _text(argument: Any) -> str:
    return argument if isinstance(argument, str) else json.dumps(argument, ensure_ascii=False)
