"""The cache of compiled modules: only what was stored comes back, whatever happens to the files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otelbridge.errors import SandboxError
from otelbridge.sandbox.cache import Cache


def test_round_trip(tmp_path: Path) -> None:
    """What was put is got, by this cache and by another one of the same directory."""
    cache = Cache(tmp_path / "c")
    assert cache.get("k") is None
    assert cache.put("k", {"a": "b"}, {"x": b"1", "y": b"2" * 1000}) is not None
    entry = Cache(tmp_path / "c").get("k")
    assert entry is not None
    assert entry.meta == {"a": "b"}
    assert {name: path.read_bytes() for name, path in entry.files.items()} == {"x": b"1", "y": b"2" * 1000}


def test_private(tmp_path: Path) -> None:
    """The directory is its owner's alone, also when it was there before."""
    (tmp_path / "c").mkdir(mode=0o755)
    Cache(tmp_path / "c")
    assert os.stat(tmp_path / "c").st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "sheet", "no sheet", "no file"])
def test_damage(tmp_path: Path, damage: str) -> None:
    """A damaged entry is gone: loading flipped bytes would abort the process."""
    cache = Cache(tmp_path / "c")
    cache.put("k", {}, {"x": bytes(range(256))})
    file, sheet = tmp_path / "c" / "k" / "x", tmp_path / "c" / "k" / "entry.json"
    data = file.read_bytes()
    if damage == "flip":
        file.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    elif damage == "cut":
        file.write_bytes(data[:-1])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "sheet":
        sheet.write_text("{")
    else:
        (sheet if damage == "no sheet" else file).unlink()
    assert cache.get("k") is None
    assert not (tmp_path / "c" / "k").exists()
    assert cache.put("k", {}, {"x": data}) is not None


def test_bounded(tmp_path: Path) -> None:
    """Beyond its bound the cache removes what was used longest ago."""
    cache = Cache(tmp_path / "c", max_bytes=3000)
    for i, key in enumerate("abc"):
        cache.put(key, {}, {"x": bytes(900)})
        os.utime(tmp_path / "c" / key, (i, i))
    assert cache.get("a") is not None  # used now
    cache.put("d", {}, {"x": bytes(900)})
    assert [key for key in "abcd" if (tmp_path / "c" / key).exists()] == ["a", "c", "d"]


def test_seldom_looked_through(tmp_path: Path) -> None:
    """What is small against the bound is counted first: the bound holds after a sixty-fourth of it was put."""
    cache = Cache(tmp_path / "c", max_bytes=64_000)
    for i in range(100):
        cache.put(f"{i}", {}, {"x": bytes(900)})
        os.utime(tmp_path / "c" / f"{i}", (i, i))
        assert sum(file.stat().st_size for file in (tmp_path / "c").rglob("*")) <= 64_000 + 3 * 900 + 200 * 4096
    assert not (tmp_path / "c" / "0").exists()
    assert (tmp_path / "c" / "99").exists()


def test_who_was_first_stays(tmp_path: Path) -> None:
    """Without `replace` a good entry is kept and returned; one that is damaged and was found so is not in the way."""
    cache = Cache(tmp_path / "c")
    cache.put("k", {"by": "one"}, {"x": b"1"}, replace=False)
    entry = cache.put("k", {"by": "two"}, {"x": b"2"}, replace=False)
    assert entry is not None
    assert (entry.meta, entry.files["x"].read_bytes()) == ({"by": "one"}, b"1")
    assert [place.name for place in (tmp_path / "c").iterdir()] == ["k"]
    (tmp_path / "c" / "k" / "x").write_bytes(b"3")
    assert cache.get("k") is None
    entry = cache.put("k", {"by": "two"}, {"x": b"2"}, replace=False)
    assert entry is not None
    assert entry.meta == {"by": "two"}


RACER = """
import sys
from pathlib import Path
from otelbridge.sandbox.cache import Cache
cache = Cache(Path(sys.argv[1]))
for number in range(600):
    print(number, flush=True)
    sys.stdin.readline()
    cache.get(str(number))
    entry = cache.put(str(number), {}, {"x": sys.argv[2].encode() * 20_000}, replace=False)
    print(entry.files["x"].read_bytes()[:1].decode(), flush=True)
"""


def test_two_at_once_have_one(tmp_path: Path) -> None:
    """Of processes that look for an entry and store it at the same moment, both get that of the first, and nobody removes it."""
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, str(tmp_path / "c"), who], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for who in "ab"
    ]
    try:
        for _ in range(600):
            for racer in racers:
                assert racer.stdout is not None
                racer.stdout.readline()
            for racer in racers:
                assert racer.stdin is not None
                racer.stdin.write("\n")
                racer.stdin.flush()
            first, second = (racer.stdout.readline() for racer in racers if racer.stdout is not None)
            assert first == second != ""
    finally:
        for racer in racers:
            racer.communicate()


def test_not_a_directory(tmp_path: Path) -> None:
    """A file or a link in the place of the directory is refused."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SandboxError):
        Cache(tmp_path / "file")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(SandboxError, match="not a directory of this user"):
        Cache(tmp_path / "link")


def test_disk_that_refuses(tmp_path: Path) -> None:
    """When the entry can't be written the caller goes on without."""
    cache = Cache(tmp_path / "c")
    assert cache.put("k", {}, {"no/such": b"1"}) is None
    assert list((tmp_path / "c").iterdir()) == []


def test_drop(tmp_path: Path) -> None:
    """A dropped entry is gone; dropping nothing is fine."""
    cache = Cache(tmp_path / "c")
    cache.put("k", {}, {"x": b"1"})
    cache.drop("k")
    cache.drop("k")
    assert cache.get("k") is None
