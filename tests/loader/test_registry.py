"""The registry: what is registered is there after a restart, in every process, and nothing else is."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from otelbridge import BridgeError, Limits, WorkerCode
from otelbridge.loader import registry as module
from otelbridge.loader.registry import Registry


def code(text: str, **more: Any) -> WorkerCode:
    return WorkerCode(main_module="index.js", modules={"index.js": text}, **more)


def text_of(registry: Registry, worker_id: str) -> str | None:
    found = registry.code(worker_id)
    return None if found is None else bytes(found.modules["index.js"].content).decode()


def addresses(directory: Path) -> int:
    return len(list((directory / "code").iterdir()))


def test_all_of_a_worker_survives_a_restart(tmp_path: Path) -> None:
    """Code, env with its types, limits, isolation, tags and blocked network come back as they were given."""
    given = code(
        "export default {}",
        env={"n": 1, "b": b"\0\xff", "deep": [{"x": None}]},
        limits=Limits(cpu_ms=7),
        isolation="invocation",
        tags={"team": "a"},
        global_outbound=None,
    )
    put = Registry(tmp_path).put("w", given)
    again = Registry(tmp_path)
    found = again.code("w")
    assert found is not None
    assert (found.env, found.limits, found.isolation, found.tags, found.global_outbound) == (
        given.env,
        given.limits,
        given.isolation,
        given.tags,
        None,
    )
    assert (again.get("w"), put.created) == (put, True)


def test_two_registries_over_one_directory_agree_at_once(tmp_path: Path) -> None:
    """What one process registers, replaces or removes is what the other one sees next."""
    one, two = Registry(tmp_path), Registry(tmp_path)
    for n in range(20):
        first = one.put("w", code(f"// {n}"))
        assert (text_of(two, "w"), two.get("w")) == (f"// {n}", first)
        second = two.put("w", code(f"// {n}, again"))
        assert (text_of(one, "w"), one.get("w")) == (f"// {n}, again", second)
        assert second.updated_ns > first.updated_ns
    assert two.delete("w")
    assert (one.get("w"), one.code("w"), one.list(), one.delete("w")) == (None, None, [], False)


def test_same_code_is_kept_once(tmp_path: Path) -> None:
    """Many ids with one code share its file; other env is other code."""
    registry = Registry(tmp_path)
    for n in range(5):
        registry.put(f"w{n}", code("// same"))
    assert addresses(tmp_path) == 1
    registry.put("v", code("// same", env={"x": 1}))
    assert addresses(tmp_path) == 2
    assert [entry.worker_id for entry in registry.list()] == ["v", "w0", "w1", "w2", "w3", "w4"]


def test_code_without_an_id_is_swept_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaced and removed code goes after a while and at the next start; code in use stays."""
    monkeypatch.setattr(module, "_SWEEP_EVERY", 3)
    registry = Registry(tmp_path)
    registry.put("kept", code("// kept"))
    for n in range(3):
        registry.put("w", code(f"// {n}"))
    assert addresses(tmp_path) == 4
    registry.delete("w")
    assert addresses(tmp_path) == 1
    registry.put("w", code("// last"))
    registry.delete("w")
    (tmp_path / "workers" / "draft.1.2.tmp").write_bytes(b"what a crash left behind")
    assert (addresses(tmp_path), text_of(Registry(tmp_path), "kept"), addresses(tmp_path)) == (2, "// kept", 1)
    assert [path.suffix for path in (tmp_path / "workers").iterdir()] == [".json"]


def test_a_damaged_file_is_its_own_workers_trouble(tmp_path: Path) -> None:
    """A file that can't be read is an error for its id that names the file; the others are listed, and no code is removed."""
    registry = Registry(tmp_path)
    registry.put("good", code("// good"))
    before = {path.name for path in (tmp_path / "workers").iterdir()}
    registry.put("bad", code("// bad"))
    (damaged,) = [path for path in (tmp_path / "workers").iterdir() if path.name not in before]
    damaged.write_bytes(b"{")
    again = Registry(tmp_path)
    with pytest.raises(BridgeError, match=damaged.name):
        again.get("bad")
    assert [entry.worker_id for entry in again.list()] == ["good"]
    assert addresses(tmp_path) == 2


async def test_changes_at_once_leave_one_whole_worker(tmp_path: Path) -> None:
    """Threads that register and remove the same ids: whatever is there in the end is whole and readable."""
    registry = Registry(tmp_path)

    def change(n: int) -> None:
        for turn in range(10):
            registry.put(f"w{turn % 3}", code(f"// {n} {turn}"))
            if turn % 4 == n % 4:
                registry.delete(f"w{turn % 3}")

    await asyncio.gather(*(asyncio.to_thread(change, n) for n in range(6)))
    for entry in registry.list():
        assert (text_of(registry, entry.worker_id) or "").startswith("// ")
        assert entry.updated_ns <= time.time_ns() + 60 * 10**9
