"""The watch over the spools of other processes."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import subprocess
import sys
from pathlib import Path

import pytest

from otelbridge.spool import SpoolWatch, SpoolWriter, list_spools
from otelbridge.spool import watch as watch_room

WRITER = """
import sys
from pathlib import Path
from otelbridge.spool import SpoolWriter
writer = SpoolWriter(Path(sys.argv[1]))
for line in sys.stdin:
    writer.append(line.encode(), rank=2)
writer.close()
"""


class Watcher:
    """A started watch, and what it told."""

    def __init__(self, root: Path) -> None:
        self.appends = 0
        self.new: list[str] = []
        self.watch = SpoolWatch(root, on_append=self._appended, on_new=self.new.append)
        assert self.watch.start()

    def _appended(self) -> None:
        self.appends += 1

    async def told(self) -> None:
        """Wait until it tells of something that came after this call."""
        seen = self.appends
        while self.appends == seen:
            await asyncio.sleep(0.001)


async def test_appends_of_another_process_are_told(tmp_path: Path) -> None:
    """What another process appends, to a spool that was there or to one it has just begun, is told without polling."""
    (tmp_path / "old").mkdir()
    watcher = Watcher(tmp_path)
    for name in ("old", "new"):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / name)], stdin=subprocess.PIPE, text=True)  # noqa: ASYNC220
        with process:
            assert process.stdin is not None
            while not (tmp_path / name / "0000000001.seg").exists():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            process.stdin.write("one\n")
            process.stdin.flush()
            await watcher.told()
            process.stdin.close()
    assert watcher.new == ["new"]
    watcher.watch.close()


async def test_a_busy_writer_is_told_of_now_and_then(tmp_path: Path) -> None:
    """Thousands of appends become few calls, the last one after the last append; closing ends them."""
    async with SpoolWriter(tmp_path / "main") as writer:
        watcher = Watcher(tmp_path)
        for _ in range(20):
            for _ in range(100):
                writer.append(b"x", rank=2)
            await asyncio.sleep(0)
        told = asyncio.create_task(watcher.told())
        await asyncio.sleep(0)
        writer.append(b"last", rank=2)
        await told
        assert watcher.appends < 200
        watcher.watch.close()
        seen = watcher.appends
        writer.append(b"x", rank=2)
        await asyncio.sleep(0.02)
        assert watcher.appends == seen
        watcher.watch.close()


async def test_without_inotify_new_spools_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system lets nobody watch, a spool that begins later is told of all the same, once; appends are left to polling."""

    class Exhausted:
        @staticmethod
        def inotify_init1(_: int) -> int:
            ctypes.set_errno(errno.EMFILE)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Exhausted)
    monkeypatch.setattr("otelbridge.spool.watch._LOOK_SECONDS", 0.01)
    (tmp_path / "old").mkdir()
    new: asyncio.Queue[str] = asyncio.Queue()
    watch = SpoolWatch(tmp_path, on_append=lambda: None, on_new=new.put_nowait)
    assert not watch.start()
    assert watch.known == {"old"}
    for name in ("loader-2", "loader-3"):
        (tmp_path / name).mkdir()
        assert await new.get() == name
    watch.close()
    assert new.empty()


def test_spools_are_listed_by_name(tmp_path: Path) -> None:
    """Directories are spools, files are not; a root that is missing has none."""
    assert list_spools(tmp_path / "missing") == {}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").touch()
    assert list_spools(tmp_path) == {"a": tmp_path / "a"}


async def test_a_new_spool_is_noticed_without_a_file_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the directory can't be listed in the moment in which a spool begins, it is looked at again."""
    watcher = Watcher(tmp_path)
    refused: list[Path] = []

    def full(root: Path) -> dict[str, Path]:
        if not refused:
            refused.append(root)
            raise OSError(errno.EMFILE, "too many open files")
        return list_spools(root)

    monkeypatch.setattr(watch_room, "list_spools", full)
    (tmp_path / "new").mkdir()
    while watcher.new != ["new"]:
        await asyncio.sleep(0.01)
    assert refused == [tmp_path]
    watcher.watch.close()
