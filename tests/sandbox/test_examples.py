"""The sample guests in C do what their first comment says, built with the command that stands there."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from engine.build import cache_folder
from otelbridge.sandbox import Meter, Stop
from tests.sandbox.guests import SECOND, Start, fetch, lines

GUESTS = Path(__file__).parents[2] / "examples" / "guests"

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="needs the development extra: ziglang")


def build_c(name: str, folder: Path) -> bytes:
    """Run the build command from a guest's comment."""
    source = (GUESTS / name).read_text()
    command = re.search(r"^//\s+python (-m ziglang cc .*)$", source, re.MULTILINE)
    assert command is not None
    (folder / name).write_text(source)
    cache = str(cache_folder() / "zig")
    env = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
    subprocess.run([sys.executable, *command[1].split()], cwd=folder, env=env, check=True, capture_output=True, timeout=600)
    return (folder / name.replace(".c", ".wasm")).read_bytes()


def built(name: str, folder: Path) -> bytes:
    """A guest with a C library. Building that library takes a minute of CPU, so it is done when asked for, and kept."""
    source = (GUESTS / name).read_bytes()
    kept = cache_folder() / "samples" / f"{hashlib.sha256(source).hexdigest()[:32]}.wasm"
    if not kept.exists():
        if not os.environ.get("TEST_SLOW"):
            pytest.skip("builds a C library: set TEST_SLOW=1")
        made = build_c(name, folder)
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_suffix(f".{os.getpid()}")
        draft.write_bytes(made)
        draft.replace(kept)
    return kept.read_bytes()


async def test_counter(start: Start, tmp_path: Path) -> None:
    """counter.c counts its requests and logs lines with fields."""
    guest = await start(build_c("counter.c", tmp_path))
    assert [(await fetch(guest))[2] for _ in range(2)] == [b"request 1\n", b"request 2\n"]
    assert [line.split(",")[0] for _, line in lines(guest)] == ['{"requests":1', '{"requests":2']


@pytest.mark.timeout(700)
async def test_cgi(start: Start, tmp_path: Path) -> None:
    """cgi.c answers from its environment and stdin, logs on stderr, and fails with an exit status."""
    guest = await start(built("cgi.c", tmp_path), env={"GREETING": "servus"})
    status, headers, body = await fetch(guest, body=b"the body")
    assert (status, headers, body) == (200, [("Content-Type", "text/plain")], b"servus, /path?q=1\nthe body")
    assert lines(guest) == [("error", "GET /path with 8 bytes")]
    with pytest.raises(Stop, match="exit status 3"):
        await guest.fetch("GET", "http://worker/fail", [], b"", Meter(SECOND))
    assert lines(guest) == [("error", "GET /fail with 0 bytes"), ("error", "asked to fail")]
