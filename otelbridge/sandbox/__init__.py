"""The sandbox: the only wing that knows wasmtime. Guests run in it in slices, within limits, and write into a ring."""

from __future__ import annotations

class CoreModule:
    pass
class CoreRuntime:
    def __init__(self, engine):
        pass
from otelbridge.sandbox.engine import Engine, EngineFull
from otelbridge.sandbox.javascript.instance import JsInstance, RingCounters
from otelbridge.sandbox.javascript.runtime import Image, JsRuntime
from otelbridge.sandbox.stop import Meter, Stop

__all__ = ["CoreModule", "CoreRuntime", "Engine", "EngineFull", "Image", "JsInstance", "JsRuntime", "Meter", "RingCounters", "Stop"]
