"""/v1/workers: register, list, show and remove workers."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from otelbridge.errors import WorkerLoadError, WorkerNotFoundError
from otelbridge.loader.registry import Registered
from otelbridge.model.code import Limits, WorkerCode
from otelbridge.model.record import rfc3339
from otelbridge.web.code import CODE_BYTES, MODULE_TYPES, checked_worker_id, code_from_json, code_from_module
from otelbridge.web.problem import Problem, startup_problem
from otelbridge.web.reply import Reply, json_reply
from otelbridge.web.route import Call

__all__ = ["WorkerBody", "WorkersBody", "delete_worker", "get_worker", "list_workers", "put_worker"]


class WorkerBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A registered worker. `counters`: what the log store counted; `sources`: its text modules, when one worker is asked for;
    `warnings`: what was doubtful when it was loaded."""

    worker_id: str
    version: str
    created: str
    updated: str
    main_module: str
    modules: dict[str, str]
    isolation: str
    tags: dict[str, str]
    limits: dict[str, int]
    counters: dict[str, Any] | None = None
    sources: dict[str, str] | None = None
    warnings: list[str] = []


class WorkersBody(msgspec.Struct, frozen=True):
    """All registered workers, by id."""

    workers: list[WorkerBody]


async def put_worker(call: Call) -> Reply:
    """Register a worker: 201 when its id is new, 200 when it replaces one. The code is loaded first, and refused if it does not start."""
    worker_id = checked_worker_id(call.params["workerId"])
    code = await _code(call)
    try:
        entry = await call.data.put(worker_id, code)
    except WorkerLoadError as e:
        raise startup_problem(e) from e
    return json_reply(_shown(entry), 201 if entry.created else 200)


async def list_workers(call: Call) -> Reply:
    """All workers with their counters."""
    counters = await call.control.worker_counters()
    entries = await asyncio.to_thread(call.control.registry.list)
    return json_reply(WorkersBody([_shown(entry, counters.get(entry.worker_id)) for entry in entries]))


async def get_worker(call: Call) -> Reply:
    """One worker with its counters and text modules."""
    worker_id = checked_worker_id(call.params["workerId"])
    entry, code = call.control.registry.get(worker_id), call.control.registry.code(worker_id)
    if entry is None or code is None:
        raise WorkerNotFoundError(worker_id)
    counters = (await call.control.worker_counters(worker_id)).get(worker_id)
    sources = {name: m.content.decode("utf-8", "replace") for name, m in code.modules.items() if m.type not in ("wasm", "data")}
    return json_reply(_shown(entry, counters, sources))


async def delete_worker(call: Call) -> Reply:
    """Remove a worker. Its logs stay."""
    worker_id = checked_worker_id(call.params["workerId"])
    if not await call.data.delete(worker_id):
        raise WorkerNotFoundError(worker_id)
    return Reply(204)


async def _code(call: Call) -> WorkerCode:
    media_type = call.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in MODULE_TYPES:
        return code_from_module(media_type, await call.body(CODE_BYTES))
    if media_type in ("", "application/json"):
        return code_from_json(await call.body(CODE_BYTES))
    detail = f"Send application/json (WorkerCode), or one module as {', '.join(MODULE_TYPES)}; not {media_type:.100}."
    raise Problem(415, "unsupported-media-type", "Unsupported media type", detail)


def _shown(entry: Registered, counters: dict[str, Any] | None = None, sources: dict[str, str] | None = None) -> WorkerBody:
    limits = {field.encode_name: getattr(entry.limits, field.name) for field in msgspec.structs.fields(Limits)}
    return WorkerBody(
        worker_id=entry.worker_id,
        version=entry.version,
        created=rfc3339(entry.created_ns),
        updated=rfc3339(entry.updated_ns),
        main_module=entry.main_module,
        modules=entry.modules,
        isolation=entry.isolation,
        tags=entry.tags,
        limits={name: value for name, value in limits.items() if value is not None},
        counters=counters,
        sources=sources,
        warnings=entry.warnings,
    )
