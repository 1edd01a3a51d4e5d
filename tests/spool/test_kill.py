"""The spool under SIGKILL and on a disk that is really full, with real processes."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from otelbridge.spool import SpoolReader

WRITER = """
    import os, sys
    from pathlib import Path
    from otelbridge.spool import SpoolWriter
    writer = SpoolWriter(Path(sys.argv[1]), segment_bytes=200_000, sync_ms=5)
    first = int(sys.argv[2])
    for i in range(first, first + 1_000_000):
        writer.append(b"%d:" % i + b"x" * (i % 3000))
        os.write(1, b"%d\\n" % i)      # the acknowledgement
"""

FULL_DISK = """
    import sys, os
    from pathlib import Path
    from otelbridge.spool import SpoolWriter, SpoolReader
    directory = Path(sys.argv[1]) / "spool"
    writer = SpoolWriter(directory, sync_ms=1)
    reader = SpoolReader(directory, "a")
    assert os.statvfs(directory).f_blocks * os.statvfs(directory).f_frsize <= 2 << 20
    def append(name):
        before = sum(t.frames for t in writer.drops().values())
        for i in range(3000):
            writer.append(b"%s %04d " % (name, i) + b"x" * 990)
        return sum(t.frames for t in writer.drops().values()) - before
    def read():
        got = []
        while frames := reader.read():
            got += [f.payload for f in frames if f.payload.endswith(b"xxx")]
            reader.commit(frames[-1].position)
        return got
    dropped = append(b"first")
    got = read()
    assert dropped > 100 and len(got) + dropped == 3000, (len(got), dropped)
    assert got == [b"first %04d " % i + b"x" * 990 for i in range(len(got))], "the first ones fit"
    assert {reason for _, reason in writer.drops()} == {"disk_full"}
    for i in range(100):           # space is back: nothing is lost now
        writer.append(b"again %04d " % i + b"x" * 990)
    assert len(read()) == 100
    assert reader.damaged_bytes == 0
    writer.close()
    print("ok")
"""


def test_nothing_that_was_acknowledged_is_lost_to_sigkill(tmp_path: Path) -> None:
    """Over several kills at random moments, each frame whose append() returned is read, once and unharmed."""
    reader = SpoolReader(tmp_path / "spool", "a")
    chance = random.Random(1)
    acknowledged: set[int] = set()
    got: list[bytes] = []
    for run in range(5):
        command = [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path / "spool"), str(run * 10_000_000)]
        with open(tmp_path / "acknowledged", "wb") as out, subprocess.Popen(command, stdout=out) as child:
            while not (tmp_path / "acknowledged").stat().st_size:
                assert child.poll() is None
                time.sleep(0.01)
            for _ in range(3):  # read while it is written, from this other process
                time.sleep(chance.uniform(0.01, 0.06))
                frames = reader.read()
                got += [f.payload for f in frames]
                if frames:
                    reader.commit(frames[-1].position)
            child.kill()
        lines = (tmp_path / "acknowledged").read_bytes().split(b"\n")[:-1]
        acknowledged.update(map(int, lines))
    while frames := reader.read():
        got += [f.payload for f in frames]
    numbers = [int(payload.split(b":")[0]) for payload in got]
    assert len(numbers) == len(set(numbers))
    assert acknowledged <= set(numbers)
    assert len(set(numbers) - acknowledged) <= 5  # written, but killed before it could say so
    assert all(len(p) == len(b"%d:" % n) + n % 3000 for p, n in zip(got, numbers, strict=True))
    assert reader.damaged_bytes == 0


def test_a_full_disk_is_survived(tmp_path: Path) -> None:
    """On a file system without space, frames are kept or counted, and when segments go, all is taken again."""
    script = tmp_path / "full.py"
    script.write_text(textwrap.dedent(FULL_DISK))
    disk = tmp_path / "disk"
    disk.mkdir()
    unshare = shutil.which("unshare")
    mount = f"mount -t tmpfs -o size=1m tmpfs {disk} || exit 77; exec {sys.executable} {script} {disk}"
    if unshare is None:
        pytest.skip("needs unshare to mount a small file system of its own")
    done = subprocess.run([unshare, "--mount", "sh", "-c", mount], capture_output=True, text=True, check=False)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("not allowed to mount a small file system")
    assert done.stdout.strip() == "ok", done.stderr
