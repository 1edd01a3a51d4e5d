"""One engine per process (a second one is what a rule of the sandbox forbids), and guests written as text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from otelbridge.sandbox import CoreInstance, CoreModule, CoreRuntime, Engine, JsRuntime, Meter, wasm
from otelbridge.sandbox.javascript import runtime as runtime_room
from tests.sandbox.guests import Build, Start
from tests.sandbox.images import Images

MIB = 1 << 20
SECOND = 1_000_000_000


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared by all test processes and by later runs: entries are named after what they hold."""
    return tmp_path_factory.getbasetemp().parent / "otelbridge-sandbox-cache"


@pytest.fixture(scope="session")
def engine(cache_dir: Path) -> Iterator[Engine]:
    """The process's engine."""
    engine = Engine(cache_dir=cache_dir, max_instances=100)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def core(engine: Engine) -> CoreRuntime:
    """Compiles core modules."""
    return CoreRuntime(engine)


@pytest.fixture(scope="session")
def javascript(engine: Engine) -> JsRuntime:
    """The JavaScript engine, started."""
    return JsRuntime(engine)


@pytest.fixture(params=["patched", "compiled"])
def images(request: pytest.FixtureRequest, javascript: JsRuntime, monkeypatch: pytest.MonkeyPatch) -> Iterator[Images]:
    """Makes images of both kinds, and instances of them that are closed at the end."""
    monkeypatch.setattr(runtime_room, "MOST_PATCHED_PAGES", 10_000 if request.param == "patched" else 0)
    images = Images(javascript)
    yield images
    for instance in images.made:
        instance.close()


@pytest.fixture
def build(core: CoreRuntime) -> Build:
    """Compile a guest from text or bytes."""

    async def build(source: str | bytes) -> CoreModule:
        return await core.compile(wasm.wat(source) if isinstance(source, str) else source)

    return build


@pytest.fixture
async def start(build: Build) -> AsyncIterator[Start]:
    """Compile and start a guest; all are closed at the end of the test."""
    made: list[CoreInstance] = []

    async def start(
        source: str | bytes,
        *,
        memory_bytes: int = 64 * MIB,
        env: dict[str, str] | None = None,
        log_budget: int = 262_144,
        cpu_ns: int = SECOND,
    ) -> CoreInstance:
        module = await build(source)
        instance = module.new(memory_bytes=memory_bytes, env=env or {}, log_budget=log_budget)
        made.append(instance)
        await instance.start(Meter(cpu_ns))
        return instance

    yield start
    for instance in made:
        instance.close()


@pytest.fixture(autouse=True)
def nothing_left(engine: Engine) -> Iterator[None]:
    """Every test gives back all instances it took."""
    engine.settle()
    before = engine.live
    yield
    engine.settle()
    assert engine.live == before
