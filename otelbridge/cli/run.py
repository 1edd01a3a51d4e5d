"""`otelbridge run FILE`: one invocation without a service."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from otelbridge.cli.output import fail, safe, say, style, waiting
from otelbridge.cli.records import stacks, text_of
from otelbridge.cli.workers import WORKER_TYPES, worker_file

if TYPE_CHECKING:
    from otelbridge import RunResult, WorkerCode
    from otelbridge.model.part import Part

__all__ = ["run"]


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--method", "-X", help="HTTP method. [default: GET, with --data POST]")
@click.option("--path", default="/", show_default=True, help="Path and query of the request, or a whole URL.")
@click.option("--data", "-d", help="Request body; @FILE reads it from a file, @- from stdin.")
@click.option("--header", "-H", "headers", multiple=True, help="Request header, `name: value`; may be repeated.")
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Settings file.")
def run(file: Path, method: str | None, path: str, data: str | None, headers: tuple[str, ...], config: Path | None) -> None:
    """Run a worker file once, without a service.

    The response's body goes to stdout, logs as they happen and exceptions to stderr. Exit code 1 when the invocation fails.
    """
    import asyncio

    body = _body(data)
    pairs = [_header(text) for text in headers]
    result = asyncio.run(_run(_code(file), method or ("POST" if body is not None else "GET"), path, pairs, body, file.stem, config))
    sys.exit(_report(result))


async def _run(
    code: WorkerCode, method: str, path: str, headers: list[tuple[str, str]], body: bytes | None, worker_id: str, config: Path | None
) -> RunResult:
    import tempfile

    from otelbridge import Bridge, Request, Settings

    cache = Settings(file=config).cache_dir
    with tempfile.TemporaryDirectory(prefix="otelbridge-run-") as folder:
        # Its own spool and no store: a service may be using the ones of this directory. The engine's cache may be shared.
        settings = Settings(file=config, flags={"data_dir": folder, "store.enabled": False, "sandbox.cache_dir": cache})
        async with contextlib.AsyncExitStack() as stack:
            with waiting("starting the engine"):
                bridge = await stack.enter_async_context(Bridge(settings))
            url = path if path.startswith(("http://", "https://")) else "http://worker/" + path.removeprefix("/")
            try:
                request = Request(method, url, headers, body)
            except ValueError as e:
                fail(str(e), 2)
            return await bridge.run(code, request, worker_id=worker_id, timeout=settings.limits.wall_ms / 1000, listener=_show)


def _show(part: Part) -> None:
    """Lines as they happen."""
    from otelbridge.model.part import entries
    from otelbridge.model.trace import TraceLog

    for entry in entries(part):
        if isinstance(entry, TraceLog):
            colour = {"warn": "yellow", "error": "red", "info": "cyan", "debug": "bright_black"}.get(entry.level)
            text = " ".join(text_of(argument) for argument in entry.message)
            say(style(f"({entry.level}) {safe(text)}", colour, sys.stderr))
            for line in stacks(entry.error_info):
                say(f"    {safe(line)}")


def _report(result: RunResult) -> int:
    for e in result.logs.exceptions:
        say(style(safe(f"{e['name']}: {e['message']}"), "red", sys.stderr))
        for line in (e.get("stack") or "").split("\n"):
            if line.strip():
                say(f"    {safe(line.strip())}")
    if result.response is not None:
        sys.stdout.buffer.write(result.body)
        sys.stdout.buffer.flush()
    elif result.error is not None and not result.logs.exceptions:
        say(style(safe(str(result.error)), "red", sys.stderr))
    outcome = result.item.outcome if result.item is not None else result.logs.state
    failed = result.error is not None or outcome not in ("ok", "partial")
    if failed and result.error is not None and result.error.outcome != "exception":
        say(f"outcome: {result.error.outcome}")
    return 1 if failed else 0


def _code(file: Path) -> WorkerCode:
    from otelbridge import WorkerCode
    from otelbridge.web.code import code_from_json, code_from_module
    from otelbridge.web.problem import Problem

    body, _ = worker_file(file)
    try:
        if file.suffix == ".json":
            return code_from_json(body)
        if file.suffix in (".js", ".mjs"):  # under its own name, which stands in stacks
            return WorkerCode(main_module=file.name, modules={file.name: {"js": body.decode()}})
        return code_from_module(WORKER_TYPES[file.suffix], body)
    except (Problem, UnicodeDecodeError) as e:
        fail(f"{file.name}: {e}", 2)


def _body(data: str | None) -> bytes | None:
    if data is None:
        return None
    if data == "@-":
        return sys.stdin.buffer.read()
    if not data.startswith("@"):
        return data.encode()
    try:
        return Path(data[1:]).read_bytes()
    except OSError as e:
        fail(f"--data {data}: {e.strerror}.", 2)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        fail(f"--header {text!r} should be `name: value`.", 2)
    return name.strip(), value.strip()
