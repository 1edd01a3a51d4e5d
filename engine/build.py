"""The steps from pinned sources to engine.wasm and encoder.wasm, cached by a hash of everything that goes in."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from engine import patches, prelude, wasm
from engine.errors import BuildError
from engine.fetch import fetch_npm, fetch_sdist, replace_file, run, tar_members
from engine.licenses import collect

__all__ = ["OPTIMIZE", "Built", "build", "cache_folder", "install"]

QUICKJS = ("quickjs-ng", "0.17.0.2", "43d2e48272208721a7aaea8e3f02d4b9318f12ef20cc4f5421b59d9a470706ef")
ZIG = "0.17.1"
FLAGS = (
    "--target=wasm32-wasi",
    "-DNDEBUG",
    "-D_GNU_SOURCE",
    "-DQUICKJS_NG_BUILD",
    "-fno-sanitize=undefined",
    "-mbulk-memory",
    "-msign-ext",
    "-mnontrapping-fptoint",
    "-mmultivalue",
    "-I.",
    "-Iquickjs",
)
OPTIMIZE = "-O2"
LINK_FLAGS = ("-mexec-model=reactor", "-lm", "-Wl,-z,stack-size=4194304", "-Wl,--strip-debug", "-Wl,--export=__stack_pointer")
# The exporter's encoder: a module of its own, so that it can't reach anything of a guest's. Its depth of calls is bounded.
ENCODER_FLAGS = (
    "--target=wasm32-wasi",
    "-fno-sanitize=undefined",
    "-mbulk-memory",
    "-msign-ext",
    "-mnontrapping-fptoint",
    "-msimd128",
    "-I.",
)
ENCODER_LINK_FLAGS = ("-mexec-model=reactor", "-Wl,-z,stack-size=262144", "-Wl,--strip-debug")
MODULES = {"engine.wasm": wasm.EXPORTS, "encoder.wasm": wasm.ENCODER_EXPORTS}
# worker.c includes quickjs.c: one unit, so that the shim reaches the engine's internals.
UNITS = ("worker.c", "prelude.c", "quickjs/libregexp.c", "quickjs/libunicode.c", "quickjs/dtoa.c")


@dataclass(frozen=True)
class Built:
    """Finished modules. `folder` holds engine.wasm, encoder.wasm, prelude.js and licenses/; `cached` says that nothing was compiled."""

    folder: Path
    key: str
    cached: bool
    seconds: float


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where engines and downloads are kept between builds."""
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "otelbridge" / "engine"


def build(root: Path, *, cache: Path | None = None, optimize: str = OPTIMIZE) -> Built:
    """Build both modules from the C and prelude sources below `root`, or take them from the cache."""
    started = time.monotonic()
    cache = cache or cache_folder()
    inputs = _inputs(root / "otelbridge")
    rows = prelude.packages(root / "otelbridge" / "sandbox" / "javascript" / "prelude")
    key = _key(inputs, rows, optimize)
    folder = cache / key
    if _usable(folder):
        return Built(folder, key, True, time.monotonic() - started)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as work:
        made = Path(work, "made")
        _make(made, Path(work, "source"), inputs, rows, cache, optimize)
        if folder.exists() and not _usable(folder):
            os.rename(folder, Path(work, "damaged"))
        try:
            os.rename(made, folder)
        except OSError:
            # Another build of the same inputs was faster; its bytes are the same.
            if not _usable(folder):
                raise
    return Built(folder, key, False, time.monotonic() - started)


def install(built: Built, root: Path) -> Path:
    """Copy the modules and the licence texts into the package's folders; where the engine is. An unchanged file keeps its time stamp."""
    target = root / "otelbridge" / "sandbox" / "javascript" / "engine.wasm"
    _copy(built.folder / "engine.wasm", target)
    _copy(built.folder / "encoder.wasm", root / "otelbridge" / "otel" / "encoder.wasm")
    for text in sorted((built.folder / "licenses").iterdir()):
        _copy(text, root / "otelbridge" / "licenses" / text.name)
    return target


def _inputs(package: Path) -> dict[str, bytes]:
    """Return the project's own sources by relative name: the shim's C files, the prelude's scripts and the encoder."""
    javascript = package / "sandbox" / "javascript"
    files = {
        file.relative_to(javascript).as_posix(): file for pattern in ("engine/*.[ch]", "prelude/*.js") for file in javascript.glob(pattern)
    }
    compiled = package / "otel" / "compiled"
    files |= {f"compiled/{file.name}": file for file in compiled.glob("*.[ch]")}
    files.setdefault("engine/worker.c", javascript / "engine" / "worker.c")
    files.setdefault("compiled/encoder.c", compiled / "encoder.c")
    if absent := [str(file) for file in files.values() if not file.exists()]:
        raise BuildError("compile", f"there is no {', '.join(absent)}")
    return {name: files[name].read_bytes() for name in sorted(files)}


def _key(inputs: Mapping[str, bytes], rows: list[prelude.Package], optimize: str) -> str:
    """Hash all that goes in, the build code itself included."""
    recipe = {file.name: file.read_bytes() for file in Path(__file__).parent.glob("*.py")}
    choices = repr((QUICKJS, ZIG, optimize, [asdict(row) for row in rows])).encode()
    return _digest({"choices": choices, **recipe, **inputs})


def _digest(parts: Mapping[str, bytes]) -> str:
    """Hash named bytes, whatever their order, so that no two different sets look the same."""
    digest = hashlib.sha256()
    for name in sorted(parts):
        digest.update(f"{len(name)} {len(parts[name])} {name}".encode() + parts[name])
    return digest.hexdigest()[:32]


def _usable(folder: Path) -> bool:
    """Tell whether cached modules are there and whole; damaged ones are built again."""
    try:
        for name, exports in MODULES.items():
            wasm.verify((folder / name).read_bytes(), exports)
        return _sums(folder) == (folder / "sha256").read_text()
    except (OSError, BuildError):
        return False


def _sums(folder: Path) -> str:
    return "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in MODULES)


def _make(made: Path, source: Path, inputs: Mapping[str, bytes], rows: list[prelude.Package], cache: Path, optimize: str) -> None:
    """Fetch, bundle, compile and verify; leave the result in `made`."""
    ziglang = _ziglang()
    downloads = cache / "downloads"
    name, version, _ = QUICKJS
    _say(f"fetching the source of {name} {version}")
    archive = fetch_sdist(*QUICKJS, downloads)
    quickjs = tar_members(archive, f"{name.replace('-', '_')}-{version}/upstream-quickjs/")
    if "quickjs.c" not in quickjs:
        raise BuildError("download", f"{name} {version} does not hold upstream-quickjs/quickjs.c")
    quickjs = patches.apply(quickjs)
    npm = {}
    factories = {}
    for row in rows:
        _say(f"fetching {row.package} {row.version}")
        npm[row.package] = tar_members(fetch_npm(row.package, row.version, downloads), "package/")
        factories[row.name] = prelude.check(row, npm[row.package])
    script = prelude.bundle({n: data.decode() for n, data in inputs.items() if n.startswith("prelude/")}, factories)
    tree = {f"quickjs/{n}": data for n, data in quickjs.items() if n.endswith((".c", ".h"))}
    tree |= {n.removeprefix("engine/"): data for n, data in inputs.items() if n.startswith("engine/")}
    tree |= {n: data for n, data in inputs.items() if n.startswith("compiled/")}
    tree |= {"prelude.h": prelude.c_header().encode(), "prelude.c": prelude.c_source(script).encode()}
    for path, data in tree.items():
        replace_file(source / path, data)
    _compile(source, tree, cache, optimize)
    for name, exports in MODULES.items():
        module = (source / name).read_bytes()
        wasm.verify(module, exports)
        replace_file(made / name, module)
    replace_file(made / "sha256", _sums(made).encode())
    replace_file(made / "prelude.js", script.encode())
    for title, text in collect(quickjs, npm, ziglang).items():
        replace_file(made / "licenses" / title, text.encode())


def _compile(source: Path, tree: Mapping[str, bytes], cache: Path, optimize: str) -> None:
    """Run zig inside `source` with relative names only, so that no path of this machine reaches the module.

    Objects are kept by their inputs: zig's own cache counts the folder in, and QuickJS is half a minute of compiling
    that a change of the prelude does not need.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ZIG_", "CPATH", "C_INCLUDE"))}
    env |= {"ZIG_GLOBAL_CACHE_DIR": str(cache / "zig"), "ZIG_LOCAL_CACHE_DIR": str(cache / "zig")}
    compiler = [sys.executable, "-m", "ziglang", "cc"]
    zig = [*compiler, *FLAGS, optimize]
    objects = []
    for unit in UNITS:
        made = f"{unit.removesuffix('.c')}.o"
        # The shim may include everything but prelude.c; the other units see their own folder only.
        shims = {name: data for name, data in tree.items() if not name.startswith("compiled/")}
        seen = {name: data for name, data in shims.items() if name == unit or (name != "prelude.c" and (unit == "worker.c" or "/" in name))}
        kept = cache / "objects" / _digest({"command": repr((ZIG, FLAGS, optimize, unit)).encode(), "prelude.h": tree["prelude.h"], **seen})
        if kept.exists():
            shutil.copyfile(kept, source / made)
        else:
            _say(f"compiling {unit}")
            run("compile", [*zig, "-c", unit, "-o", made], cwd=source, env=env)
            replace_file(kept, (source / made).read_bytes())
        objects.append(made)
    _say("linking")
    run("link", [*zig, *LINK_FLAGS, *objects, "-o", "engine.wasm"], cwd=source, env=env)
    encoder = [*compiler, *ENCODER_FLAGS, optimize, *ENCODER_LINK_FLAGS, "compiled/encoder.c", "-o", "encoder.wasm"]
    run("compile", encoder, cwd=source, env=env)
    for name in MODULES:
        if os.fsencode(source) in (source / name).read_bytes():
            raise BuildError("verify", f"{name} holds the path of the folder it was compiled in, so no two builds are the same")


def _ziglang() -> Path:
    """Return the compiler package's folder, or refuse: another version makes other bytes."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise BuildError("toolchain", f"the Python package ziglang=={ZIG} is not installed")
    if (found := importlib.metadata.version("ziglang")) != ZIG:
        raise BuildError("toolchain", f"ziglang is {found}, the engine needs {ZIG}")
    return Path(spec.origin).parent


def _copy(source: Path, target: Path) -> None:
    data = source.read_bytes()
    if not target.exists() or target.read_bytes() != data:
        replace_file(target, data)


def _say(text: str) -> None:
    print(f"engine: {text}", file=sys.stderr, flush=True)
