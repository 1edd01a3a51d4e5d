"""Resources: whose telemetry a record is. One per worker version, set by the host alone; a guest's keys never get here."""

from __future__ import annotations

import importlib.metadata
import platform
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.sdk.version import __version__ as SDK_VERSION

from otelbridge.model.part import WorkerRef
from otelbridge.otel.environment import Environment
from otelbridge.otel.values import put_all
from otelbridge.settings import Settings

__all__ = ["SCOPE", "VERSION", "Resources", "bridge_attributes", "shared_attributes", "worker_attributes"]

VERSION = importlib.metadata.version("otelbridge")
SCOPE = "otelbridge"

_DISTRO = {
    "telemetry.sdk.name": "opentelemetry",
    "telemetry.sdk.language": "python",
    "telemetry.sdk.version": SDK_VERSION,
    "telemetry.distro.name": "otelbridge",
    "telemetry.distro.version": VERSION,
}


def shared_attributes(settings: Settings, environment: Environment) -> dict[str, Any]:
    """What all workers have in common. The settings win over OTEL_SERVICE_NAME, that over OTEL_RESOURCE_ATTRIBUTES."""
    service = settings.service
    out: dict[str, Any] = dict(environment.resource_attributes)
    named = settings.sources.get("service.name", "default") != "default"
    out["service.name"] = service.name if named else environment.service_name or out.get("service.name") or service.name
    for key, value in (
        ("service.namespace", service.namespace),
        ("service.version", service.version),
        ("deployment.environment.name", service.environment),
    ):
        if value is not None:
            out[key] = value
    out.setdefault("service.version", VERSION)
    return {
        **out,
        "process.runtime.name": "wasmtime",
        "process.runtime.version": importlib.metadata.version("wasmtime"),
        **_DISTRO,
    }


def worker_attributes(shared: Mapping[str, Any], worker: WorkerRef) -> dict[str, Any]:
    """The resource of a worker version. Its tags stand below a name of their own and can't replace anything."""
    out = dict(shared)
    out["workerId"] = out["faas.name"] = worker.worker_id
    out["faas.version"] = worker.version
    if worker.memory_bytes:
        out["faas.max_memory"] = worker.memory_bytes
    for key, value in worker.tags.items():
        out[f"otelbridge.worker.tag.{key}"] = value
    return out


def bridge_attributes(environment: Environment, data_dir: Path) -> dict[str, Any]:
    """The bridge's own resource: another service than the workers', the same instance after every restart."""
    out: dict[str, Any] = dict(environment.resource_attributes)
    out["service.name"] = "otelbridge"
    out["service.version"] = VERSION
    out["service.instance.id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{platform.node()}:{data_dir.absolute()}"))
    return {**out, **_DISTRO}


class Resources:
    """Encoded resources by worker version, the least recently used ones forgotten."""

    def __init__(self, shared: Mapping[str, Any], bridge: Mapping[str, Any], *, limit: int = 10_000) -> None:
        self._shared = shared
        self._limit = limit
        self._known: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
        self.bridge = _encode(bridge)
        self.shared = _encode(shared)

    def worker(self, worker: WorkerRef) -> bytes:
        """The serialized resource of a worker version."""
        key = (worker.worker_id, worker.version, worker.memory_bytes, tuple(worker.tags.items()))
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _encode(worker_attributes(self._shared, worker))
            if len(self._known) > self._limit:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return known


def _encode(attributes: Mapping[str, Any]) -> bytes:
    resource = Resource()
    put_all(resource.attributes, attributes)
    return bytes(resource.SerializeToString())
