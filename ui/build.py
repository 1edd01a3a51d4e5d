"""The steps from TypeScript and pinned npm packages to otelbridge/ui/, cached by a hash of everything that goes in."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.build import cache_folder as engine_cache
from engine.errors import BuildError
from engine.fetch import node_and_npm, replace_file, run

__all__ = ["Built", "build", "cache_folder", "install", "modules"]

TARGET = "es2022"
_LICENCE = ("LICENSE", "LICENCE", "NOTICE", "COPYING")


@dataclass(frozen=True)
class Built:
    """Finished pages. `folder` holds files/ (index.html, *.js, *.css, ...) and licenses/; `cached`: nothing was bundled."""

    folder: Path
    key: str
    cached: bool
    seconds: float


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where bundles and npm packages are kept between builds."""
    return engine_cache(environ).with_name("ui")


def build(root: Path, *, cache: Path | None = None) -> Built:
    """Bundle the sources below `root`/ui, or take the result from the cache."""
    started = time.monotonic()
    cache = cache or cache_folder()
    inputs = _inputs(root / "ui")
    key = _digest({"build.py": Path(__file__).read_bytes(), **inputs})
    folder = cache / key
    if _usable(folder):
        return Built(folder, key, True, time.monotonic() - started)
    packages = modules(root, cache=cache)
    with tempfile.TemporaryDirectory(dir=packages, prefix="building-") as work:
        # Below the folder of node_modules, so that imports find their packages from here.
        made = _make(Path(work), packages, inputs)
        if folder.exists() and not _usable(folder):
            os.rename(folder, Path(work, "damaged"))
        try:
            os.rename(made, folder)
        except OSError:
            if not _usable(folder):  # another build of the same inputs was faster; its bytes are the same
                raise
    return Built(folder, key, False, time.monotonic() - started)


def install(built: Built, root: Path) -> Path:
    """Copy the pages and licence texts into the package, remove pages of before; an unchanged file keeps its time stamp."""
    target = root / "otelbridge" / "ui"
    files = {file.name: file.read_bytes() for file in sorted((built.folder / "files").iterdir())}
    for old in target.glob("*"):
        if old.name not in files:
            old.unlink()
    texts = {file.name: file.read_bytes() for file in sorted((built.folder / "licenses").iterdir())}
    for folder, some in ((target, files), (root / "otelbridge" / "licenses", texts)):
        for name, data in some.items():
            if not (folder / name).exists() or (folder / name).read_bytes() != data:
                replace_file(folder / name, data)
    return target


def modules(root: Path, *, cache: Path | None = None, dev: bool = False) -> Path:
    """Return the folder that holds node_modules as package-lock.json says; npm checks every archive's hash.

    `dev`: with what only the tests use.
    """
    cache = cache or cache_folder()
    names = ("package.json", "package-lock.json")
    files = {name: (root / "ui" / name).read_bytes() for name in names}
    folder = cache / f"modules-{'dev-' if dev else ''}{_digest({**files, 'place': sys.platform.encode()})[:16]}"
    if (folder / "complete").exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    _, npm, env = node_and_npm(engine_cache() / "downloads")
    _say("fetching the npm packages of the pages")
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as work:
        for name, data in files.items():
            replace_file(Path(work, "made", name), data)
        # Scripts of packages don't run: a build needs none of them.
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", *([] if dev else ["--omit=dev"])]
        run("download", [*npm, "ci", *options], cwd=Path(work, "made"), env=env)
        replace_file(Path(work, "made", "complete"), b"")
        try:
            os.rename(Path(work, "made"), folder)
        except OSError:
            if not (folder / "complete").exists():
                raise
    return folder


def _inputs(ui: Path) -> dict[str, bytes]:
    """Return all that the bundle is made of, by name relative to ui/."""
    files = [ui / "package.json", ui / "package-lock.json", ui / "tsconfig.json", *(f for f in (ui / "src").rglob("*") if f.is_file())]
    if not (ui / "src" / "main.tsx").exists():
        raise BuildError("bundle", f"there is no {ui / 'src' / 'main.tsx'}")
    return {file.relative_to(ui).as_posix(): file.read_bytes() for file in files}


def _make(work: Path, packages: Path, inputs: Mapping[str, bytes]) -> Path:
    """Bundle inside `work`, with relative names only, so that no path of this machine reaches the result."""
    for name, data in inputs.items():
        replace_file(work / "ui" / name, data)
    node, _, env = node_and_npm(engine_cache() / "downloads")
    esbuild = packages / "node_modules" / "esbuild" / "bin" / "esbuild"
    options = ["--bundle", "--splitting", "--format=esm", "--minify", f"--target={TARGET}", "--charset=utf8", "--legal-comments=none"]
    _assemble(work / "ui" / "src", packages, node, env)
    names = ["--entry-names=[name]-[hash]", "--chunk-names=part-[hash]", "--asset-names=[name]-[hash]", "--public-path=/ui"]
    loaders = ["--loader:.svg=copy", "--loader:.wat=text", "--loader:.wasm=base64"]
    _say("bundling the pages")
    command = [
        *node,
        str(esbuild),
        "src/main.tsx",
        "src/icon.svg",
        *options,
        *names,
        *loaders,
        "--outdir=../made/files",
        "--metafile=../meta.json",
    ]
    run("bundle", [*command, "--log-level=warning"], cwd=work / "ui", env=env)
    made = work / "made"
    meta = json.loads((work / "meta.json").read_bytes())
    _index(made / "files", inputs["src/index.html"].decode())
    for package in _bundled(meta):
        replace_file(made / "licenses" / f"{package.replace('/', '-')}.txt", _licence(packages / "node_modules" / package, package))
    files = {file.name: file.read_bytes() for file in (made / "files").iterdir()}
    for name, data in files.items():
        if os.fsencode(packages) in data:
            raise BuildError("verify", f"{name} holds the path of the folder it was bundled in, so no two builds are the same")
    replace_file(made / "sha256", _digest(files).encode())
    return made


def _assemble(sources: Path, packages: Path, node: list[str], env: Mapping[str, str]) -> None:
    """Make a .wasm of every .wat beside it, which scripts import as base64."""
    program = f"""
const wabt = await require({json.dumps(str(packages / "node_modules" / "wabt"))})();
const {{ readFileSync, writeFileSync }} = require("node:fs");
for (const file of process.argv.slice(1)) {{
  const module = wabt.parseWat(file, readFileSync(file, "utf8"));
  writeFileSync(file.replace(/wat$/, "wasm"), module.toBinary({{}}).buffer);
}}
"""
    files = sorted(file.relative_to(sources).as_posix() for file in sources.rglob("*.wat"))
    if files:
        run("assemble", [*node, "--eval", f"(async () => {{{program}}})()", *files], cwd=sources, env=env)


def _index(files: Path, template: str) -> None:
    """Write index.html: the template with the hashed names of what it loads."""

    def hashed(found: re.Match[str]) -> str:
        stem, suffix = found[1].rsplit(".", 1)
        names = sorted(file.name for file in files.glob(f"{stem}-*.{suffix}"))
        if len(names) != 1:
            raise BuildError("bundle", f"index.html asks for {found[1]}, and the bundle has {len(names)} of it")
        return f"/ui/{names[0]}"

    replace_file(files / "index.html", re.sub(r"\{\{([\w.]+)\}\}", hashed, template).encode())


def _bundled(meta: Mapping[str, Mapping[str, Mapping[str, object]]]) -> list[str]:
    """Return the npm packages of which any byte is in the output."""
    found = set()
    for path in meta["inputs"]:
        if match := re.search(r"node_modules/((?:@[^/]+/)?[^/]+)/", path):
            found.add(match[1])
    return sorted(found)


def _licence(folder: Path, package: str) -> bytes:
    texts = [file.read_bytes() for file in sorted(folder.iterdir()) if file.name.upper().startswith(_LICENCE)]
    if not texts:
        raise BuildError("bundle", f"{package} has no licence text")
    return b"\n".join(texts)


def _usable(folder: Path) -> bool:
    """Tell whether cached pages are there and whole; damaged ones are bundled again."""
    try:
        files = {file.name: file.read_bytes() for file in (folder / "files").iterdir()}
        return _digest(files) == (folder / "sha256").read_text() and (folder / "licenses").is_dir()
    except OSError:
        return False


def _digest(parts: Mapping[str, bytes]) -> str:
    """Hash named bytes, whatever their order, so that no two different sets look the same."""
    digest = hashlib.sha256()
    for name in sorted(parts):
        digest.update(f"{len(name)} {len(parts[name])} {name}".encode() + parts[name])
    return digest.hexdigest()[:32]


def _say(text: str) -> None:
    print(f"ui: {text}", file=sys.stderr, flush=True)
