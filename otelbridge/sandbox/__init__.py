"""The sandbox: the only wing that knows wasmtime. Guests run in it in slices, within limits, and write into a ring."""

from __future__ import annotations

from otelbridge.sandbox.cache import Cache
from otelbridge.sandbox.core.instance import CoreInstance
from otelbridge.sandbox.core.module import CoreModule, CoreRuntime
from otelbridge.sandbox.counters import RingCounters
from otelbridge.sandbox.engine import Engine, EngineFull
from otelbridge.sandbox.javascript.image import Image
from otelbridge.sandbox.javascript.instance import JsInstance
from otelbridge.sandbox.javascript.runtime import JsRuntime
from otelbridge.sandbox.javascript.shared import SharedImages
from otelbridge.sandbox.library import Library
from otelbridge.sandbox.stop import Meter, Stop
from otelbridge.sandbox.wasm import Trap, wat

__all__ = [
    "Cache",
    "CoreInstance",
    "CoreModule",
    "CoreRuntime",
    "Engine",
    "EngineFull",
    "Image",
    "JsInstance",
    "JsRuntime",
    "Library",
    "Meter",
    "RingCounters",
    "SharedImages",
    "Stop",
    "Trap",
    "wat",
]
