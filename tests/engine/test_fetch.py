"""Fetching source: pip is real and asks a folder instead of an index, so nothing here needs a network."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from engine import fetch

ROOT = Path(__file__).resolve().parent.parent.parent
# A source distribution that brings its own build backend: pip asks it for metadata before it keeps the archive.
BACKEND = """
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    import pathlib
    made = pathlib.Path(folder, "ob_source-1.0.dist-info")
    made.mkdir()
    (made / "METADATA").write_text("Metadata-Version: 2.1\\nName: ob-source\\nVersion: 1.0\\n")
    return made.name
"""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n[project]\nname = "ob-source"\nversion = "1.0"\n'


def sdist() -> bytes:
    """Return a tiny source distribution named ob-source 1.0."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        metadata = "Metadata-Version: 2.1\nName: ob-source\nVersion: 1.0\n"
        for name, text in {"PKG-INFO": metadata, "pyproject.toml": PROJECT, "backend.py": BACKEND, "src/a.c": "int a;"}.items():
            member = tarfile.TarInfo(f"ob_source-1.0/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def fetch_sdist(tmp_path: Path, sha256: str, *, index: Path, name: str = "ob-source") -> subprocess.CompletedProcess[str]:
    """Call fetch_sdist in a process whose pip knows only the folder `index`; prints size or error."""
    program = f"""
import sys
from pathlib import Path
from engine.errors import BuildError
from engine.fetch import fetch_sdist
try:
    print(len(fetch_sdist({name!r}, "1.0", {sha256!r}, Path({str(tmp_path / "downloads")!r}))))
except BuildError as error:
    sys.exit(str(error))
"""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    env |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"}
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=env, check=False, capture_output=True, text=True)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Return a folder that holds ob-source 1.0."""
    folder = tmp_path / "index"
    folder.mkdir()
    (folder / "ob_source-1.0.tar.gz").write_bytes(sdist())
    return folder


def test_source_is_fetched_checked_and_kept(tmp_path: Path, index: Path) -> None:
    """The archive is brought by pip; the second call finds it in the cache, with the index gone."""
    data = sdist()
    sha256 = hashlib.sha256((index / "ob_source-1.0.tar.gz").read_bytes()).hexdigest()
    first = fetch_sdist(tmp_path, sha256, index=index)
    assert (first.stdout.strip(), first.stderr) == (str(len(data)), "")
    (index / "ob_source-1.0.tar.gz").unlink()
    assert fetch_sdist(tmp_path, sha256, index=index).returncode == 0


def test_damaged_download_is_fetched_again(tmp_path: Path, index: Path) -> None:
    """A kept archive with other bytes is not used."""
    sha256 = hashlib.sha256((index / "ob_source-1.0.tar.gz").read_bytes()).hexdigest()
    fetch.replace_file(tmp_path / "downloads" / "ob-source-1.0.tar.gz", b"damaged")
    assert fetch_sdist(tmp_path, sha256, index=index).returncode == 0
    assert hashlib.sha256((tmp_path / "downloads" / "ob-source-1.0.tar.gz").read_bytes()).hexdigest() == sha256


def test_other_bytes_are_refused(tmp_path: Path, index: Path) -> None:
    """An archive with another hash is refused before its set-up code could run, and not kept."""
    done = fetch_sdist(tmp_path, "0" * 64, index=index)
    assert done.returncode == 1
    assert "failed at step 'download'" in done.stderr
    assert "Expected sha256" in done.stderr
    assert not (tmp_path / "downloads").exists()


def test_unknown_package_names_the_step(tmp_path: Path, index: Path) -> None:
    """A package that the index lacks ends with pip's own words under the step 'download'."""
    done = fetch_sdist(tmp_path, "0" * 64, index=index, name="ob-missing")
    assert "failed at step 'download'" in done.stderr
    assert "ob-missing" in done.stderr


def test_archive_members_are_taken_below_a_prefix() -> None:
    """Only regular files below the prefix come out, by their path behind it."""
    assert fetch.tar_members(sdist(), "ob_source-1.0/src/") == {"a.c": b"int a;"}


def test_kept_npm_archive_needs_no_npm(tmp_path: Path) -> None:
    """A package that was fetched once is read from the cache."""
    fetch.replace_file(tmp_path / "npm-@scope-name-1.0.0.tgz", b"archive")
    assert fetch.fetch_npm("@scope/name", "1.0.0", tmp_path) == b"archive"


def test_file_is_replaced_whole(tmp_path: Path) -> None:
    """A replaced file has the new bytes, is readable by all, and leaves nothing beside it."""
    for data in (b"old", b"new"):
        fetch.replace_file(tmp_path / "folder" / "file", data)
    assert [(file.name, file.read_bytes(), file.stat().st_mode & 0o777) for file in (tmp_path / "folder").iterdir()] == [
        ("file", b"new", 0o644)
    ]
