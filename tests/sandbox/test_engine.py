"""The engine: what it needs of the machine, compile bombs, and machines it was not compiled for.

Engines of their own live in child processes: one per process is a rule of the sandbox.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from otelbridge.errors import WorkerCodeError
from otelbridge.sandbox import CoreRuntime, Engine, Meter, binary, wasm
from tests.sandbox.guests import fetch, worker

ROOT = Path(__file__).parents[2]


def run(program: str, *arguments: object) -> str:
    """Run a program in a process of its own; its output."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_limited_address_space(tmp_path: Path) -> None:
    """Under `ulimit -v` the engine says what limits it, instead of failing inside wasmtime."""
    out = run(
        """
        import resource, sys
        from pathlib import Path
        from otelbridge.errors import SandboxError
        from otelbridge.sandbox import Engine
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        try:
            Engine(cache_dir=Path(sys.argv[1]))
        except SandboxError as error:
            print(error)
        """,
        tmp_path / "c",
    )
    assert "limited to 8 GiB (ulimit -v)" in out
    assert "sandbox.max_instances" in out


def test_engines_that_nobody_uses_give_their_addresses_back(tmp_path: Path) -> None:
    """One engine after the other can be made in one process, also while the garbage collector is late; too many at once are an error."""
    out = run(
        """
        import gc, sys
        from pathlib import Path
        from otelbridge.errors import SandboxError
        from otelbridge.sandbox import Engine

        gc.disable()
        for _ in range(20):
            engine = Engine(cache_dir=Path(sys.argv[1]))
            engine.cycle = [engine]
            engine.close()
        kept = []
        try:
            while len(kept) < 20:
                kept.append(Engine(cache_dir=Path(sys.argv[1])))
        except SandboxError as error:
            print(len(kept) > 10, error)
        for engine in kept:
            engine.close()
        """,
        tmp_path,
    )
    assert out.startswith("True This process has ")


def test_life(tmp_path: Path) -> None:
    """An engine starts no thread until a guest runs, closes twice, and refuses instances afterwards."""
    out = run(
        """
        import asyncio, sys, threading
        from pathlib import Path
        from otelbridge.errors import SandboxError
        from otelbridge.sandbox import CoreRuntime, Engine, Meter, wasm
        from tests.sandbox.guests import fetch, worker

        async def main():
            async with Engine(cache_dir=Path(sys.argv[1]), max_instances=3) as engine:
                core = CoreRuntime(engine)
                module = await core.compile(wasm.wat(worker("(memory.fill (i32.const 65536) (i32.const 1) (i32.const 20000000))",
                    memory='(memory (export "memory") 400)')))
                print("epochs" in str(threading.enumerate()))
                for _ in range(5):
                    guest = module.new(memory_bytes=64 << 20, env={}, log_budget=1000)
                    print((await fetch(guest))[0], "epochs" in str(threading.enumerate()))
                    guest.close()
                    engine.settle()
                print(engine.live)
            await engine.aclose()
            print("otelbridge" in str(threading.enumerate()))
            try:
                module.new(memory_bytes=64 << 20, env={}, log_budget=1000)
            except SandboxError as error:
                print(error)

        asyncio.run(main())
        """,
        tmp_path / "c",
    )
    assert out.split("\n") == ["False", *["200 True"] * 5, "0", "False", "the engine is closed", ""]


def test_interrupt_while_a_guest_runs(tmp_path: Path) -> None:
    """SIGINT during a guest's slice reaches the event loop, not the guest: the process ends in order."""
    out = run(
        """
        import asyncio, os, signal, sys
        from pathlib import Path
        from otelbridge.sandbox import CoreRuntime, Engine, Meter, wasm
        from tests.sandbox.guests import fetch, worker

        async def main():
            async with Engine(cache_dir=Path(sys.argv[1]), max_instances=3) as engine:
                module = await CoreRuntime(engine).compile(wasm.wat(worker("(loop $l (br $l))")))
                guest = module.new(memory_bytes=1 << 20, env={}, log_budget=1000)
                asyncio.get_running_loop().call_later(0.02, os.kill, os.getpid(), signal.SIGINT)
                try:
                    await fetch(guest, meter=Meter())
                finally:
                    guest.close()

        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs in its background with SIGINT ignored
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted")
        """,
        tmp_path / "c",
    )
    assert out == "interrupted\n"


def bomb() -> bytes:
    """9 KB that keep the compiler busy for seconds: calls that pass a thousand values on."""

    def body(code: bytes) -> bytes:
        code = b"\0" + code + b"\x0b"
        return binary.uleb(len(code)) + code

    many = binary.uleb(1000)
    types = b"\3\x60\0\0\x60" + many + b"\x7f" * 1000 + many + b"\x7f" * 1000 + b"\x60\1\x7f\1\x7f"
    types = b"\4" + types[1:] + b"\x60\2\x7f\x7f\1\x7e"
    calls = body(b"\x41\0" * 1000 + b"\x10\1" * 2000 + b"\x1a" * 1000)
    same = body(b"".join(b"\x20" + binary.uleb(i) for i in range(1000)))
    exports = (
        b"\3"
        + binary.export("memory", "memory", 0)
        + binary.export("otelbridge_alloc", "func", 2)
        + binary.export("otelbridge_fetch", "func", 3)
    )
    code = b"\4" + calls + same + body(b"\x41\0") + body(b"\x42\0")
    return binary.join([(1, types), (3, b"\4\0\1\2\3"), (5, b"\1\0\1"), (7, exports), (10, code)])


async def test_compile_bomb(engine: Engine, core: CoreRuntime) -> None:
    """A module that would take long to compile is given up after the limit, and the loop goes on meanwhile."""
    module = bomb()
    before, engine.compile_seconds = engine.compile_seconds, 0.5
    turns = 0
    try:
        task = asyncio.create_task(core.compile(module))
        while not task.done():
            await asyncio.sleep(0.01)
            turns += 1
        with pytest.raises(WorkerCodeError, match=r"took longer than 0\.5 s to compile"):
            await task
    finally:
        engine.compile_seconds = before
    assert turns > 1


async def test_cancelled_compile(core: CoreRuntime) -> None:
    """Nobody is left compiling when the one who waited for it has gone."""
    task = asyncio.create_task(core.compile(bomb()))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_foreign_compiled_code(engine: Engine, core: CoreRuntime) -> None:
    """A cache entry made on another kind of machine is replaced, once."""
    source = wasm.wat(worker(response='{"status":201}'))
    await core.compile(source)
    key = engine.key(core._compiler._kind, source)
    entry = engine.cache.get(key)
    assert entry is not None
    files = {name: path.read_bytes() for name, path in entry.files.items()}
    # an ELF file of nothing wasmtime knows, under the right checksum
    engine.cache.put(key, entry.meta, {**files, "code": b"\x7fELF" + bytes(200)})
    guest = (await core.compile(source)).new(memory_bytes=1 << 20, env={}, log_budget=1000)
    assert (await fetch(guest, meter=Meter()))[0] == 201
    guest.close()
