"""`serve --reload DIR`: worker files are registered under their names, again whenever one changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otelbridge.cli.workers import WORKER_TYPES

if TYPE_CHECKING:
    from otelbridge.bridge import Bridge
    from otelbridge.planes.data import DataPlane

__all__ = ["load_samples", "reload_workers"]

INTERVAL_S: Final = 0.3

Marks = dict[Path, tuple[int, int]]


async def reload_workers(bridge: Bridge | DataPlane, directory: Path, say: Callable[[str], None], *, once: bool = False) -> None:
    """Register what is in the directory; unless `once`, again and again what has changed. A mistake is told, never raised."""
    marks: Marks = {} if once else _marks(directory)
    while True:
        found = await asyncio.to_thread(_marks, directory)
        for file, mark in found.items():
            if marks.get(file) != mark:
                await _register(bridge, file, say)
        for file in marks.keys() - found.keys():
            if await bridge.delete(file.stem):
                say(f"reload: removed {file.stem}")
        marks = found
        if once:
            return
        await asyncio.sleep(INTERVAL_S)


async def load_samples(bridge: Bridge | DataPlane) -> None:
    """Register the sample workers."""
    from importlib.resources import files

    from otelbridge import Limits, WorkerCode

    for name, limits in (("hello", None), ("shaky", Limits(cpu_ms=50))):
        source = files("otelbridge.samples").joinpath(f"{name}.js").read_text("utf-8")
        await bridge.put(name, WorkerCode(main_module=f"{name}.js", modules={f"{name}.js": source}, limits=limits))


def _marks(directory: Path) -> Marks:
    """Worker files with what changes when they change."""
    marks: Marks = {}
    try:
        files = sorted(directory.iterdir())
    except OSError:
        return marks  # the directory is gone: its workers are removed, and come back with it
    for file in files:
        if file.suffix in WORKER_TYPES and not file.name.startswith("."):
            try:
                stat = file.stat()
            except OSError:
                continue  # gone in between, as when an editor writes a new file over it
            marks[file] = (stat.st_mtime_ns, stat.st_size)
    return marks


async def _register(bridge: Bridge | DataPlane, file: Path, say: Callable[[str], None]) -> None:
    from otelbridge.errors import BridgeError
    from otelbridge.sandbox import wat
    from otelbridge.sandbox.wasm import Failure
    from otelbridge.web.code import code_from_json, code_from_module
    from otelbridge.web.problem import Problem

    try:
        body = await asyncio.to_thread(file.read_bytes)
        if file.suffix == ".json":
            code = code_from_json(body)
        else:
            code = code_from_module(WORKER_TYPES[file.suffix], wat(body.decode()) if file.suffix == ".wat" else body)
        entry = await bridge.put(file.stem, code)
    except (BridgeError, Problem, Failure, OSError, ValueError) as e:
        say(f"reload: {file.name}: {e}")
        return
    say(f"reload: {file.name} is worker {entry.worker_id}, version {entry.version}")
    for warning in entry.warnings:
        say(f"reload: {file.name}: {warning}")
