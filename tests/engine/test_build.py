"""The whole way from C and scripts to a module, with a shim small enough to compile in a test.

The archives and the compiled C library come from the cache that `make` has filled; what is built is new each time.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import wasmtime

from engine.build import Built, build, cache_folder, install
from engine.errors import BuildError

# Compiles QuickJS, which takes minutes of a busy machine.
pytestmark = pytest.mark.timeout(900)

ABI = """
#include "prelude.h"
#define EXPORT(name) __attribute__((export_name(name)))
EXPORT("ob_state") const char *ob_state(void) { return ob_prelude; }
EXPORT("ob_init") int ob_init(void) { return ob_prelude_len; }
EXPORT("ob_reserve") int ob_reserve(int n) { return n; }
EXPORT("ob_run") int ob_run(int n) { return n; }
"""


COMPILED = Path(__file__).resolve().parents[2] / "otelbridge" / "otel" / "compiled"
ENCODER = (COMPILED / "encoder.c").read_text()


def make_tree(root: Path, *, shim: str = ABI, script: str = "native.start();", encoder: str = ENCODER) -> Path:
    """Write a tree with a shim, one script and the encoder, as the repository has them."""
    javascript, compiled = Path("sandbox/javascript"), Path("otel/compiled")
    headers = {compiled / file.name: file.read_text() for file in COMPILED.glob("*.h")}
    sources = {javascript / "engine/worker.c": shim, javascript / "prelude/10-start.js": script, compiled / "encoder.c": encoder}
    for path, text in {**sources, **headers}.items():
        (root / "otelbridge" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "otelbridge" / path).write_text(text)
    return root


def make_cache(folder: Path, *, objects: bool = True) -> Path:
    """Make an empty cache that shares downloads, the C library and, unless told otherwise, objects with the user's."""
    folder.mkdir()
    for name in ("downloads", "zig", *(["objects"] if objects else [])):
        (cache_folder() / name).mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(cache_folder() / name)
    return folder


def module(built: Built, name: str = "engine.wasm") -> bytes:
    """Return the bytes of a built module."""
    return (built.folder / name).read_bytes()


def test_engine_runs_and_holds_the_prelude(tmp_path: Path) -> None:
    """The built module instantiates without imports, and its memory holds the joined prelude."""
    built = build(make_tree(tmp_path / "tree"), cache=make_cache(tmp_path / "cache"))
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    exports = wasmtime.Instance(store, wasmtime.Module(engine, module(built)), []).exports(store)
    state, init, memory = exports["ob_state"], exports["ob_init"], exports["memory"]
    assert isinstance(state, wasmtime.Func)
    assert isinstance(init, wasmtime.Func)
    assert isinstance(memory, wasmtime.Memory)
    start = state(store)
    text = memory.read(store, start, start + init(store) + 1)
    assert text == (built.folder / "prelude.js").read_bytes() + b"\0"
    assert b"native.start();" in text


def test_second_build_has_the_same_bytes(tmp_path: Path) -> None:
    """Two trees in two folders with two caches, everything compiled anew, make the same modules."""
    built = [
        build(make_tree(tmp_path / name), cache=make_cache(tmp_path / f"cache-{name}", objects=False)) for name in ("a", "longer-name")
    ]
    assert not any(one.cached for one in built)
    assert module(built[0]) == module(built[1])
    assert module(built[0], "encoder.wasm") == module(built[1], "encoder.wasm")


def test_unchanged_inputs_compile_nothing(tmp_path: Path) -> None:
    """A build of the same inputs comes from the cache, whichever tree they lie in."""
    cache = make_cache(tmp_path / "cache")
    first = build(make_tree(tmp_path / "a"), cache=cache)
    second = build(make_tree(tmp_path / "b"), cache=cache)
    assert (first.cached, second.cached) == (False, True)
    assert first.folder == second.folder


@pytest.mark.parametrize("change", [{"script": "native.stop();"}, {"shim": ABI + "int more;"}, {"encoder": ENCODER + "int more;"}])
def test_changed_inputs_make_another_engine(tmp_path: Path, change: dict[str, str]) -> None:
    """A change of the shim, the prelude or the encoder is never answered from the cache."""
    cache = make_cache(tmp_path / "cache")
    first = build(make_tree(tmp_path / "tree"), cache=cache)
    second = build(make_tree(tmp_path / "tree", **change), cache=cache)
    assert not second.cached
    assert first.key != second.key


@pytest.mark.parametrize("name", ["engine.wasm", "encoder.wasm"])
def test_damaged_cache_is_built_again(tmp_path: Path, name: str) -> None:
    """A module whose kept bytes have changed is not used."""
    cache = make_cache(tmp_path / "cache")
    tree = make_tree(tmp_path / "tree")
    first = build(tree, cache=cache)
    sound = module(first, name)
    (first.folder / name).write_bytes(sound[:-1])
    second = build(tree, cache=cache)
    assert not second.cached
    assert module(second, name) == sound


def test_two_builds_at_once_agree(tmp_path: Path) -> None:
    """Builds of the same inputs at the same time both succeed, with one result and nothing left over."""
    cache = make_cache(tmp_path / "cache")
    tree = make_tree(tmp_path / "tree")
    built: list[Built] = []
    threads = [threading.Thread(target=lambda: built.append(build(tree, cache=cache))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.folder for one in built}) == 1
    assert len(built) == 3
    assert {path.name for path in cache.iterdir()} == {"downloads", "zig", "objects", built[0].key}


def test_install_puts_engine_and_licences_into_the_tree(tmp_path: Path) -> None:
    """The module and the texts land in the package, and an unchanged file keeps its time stamp."""
    tree = make_tree(tmp_path / "tree")
    built = build(tree, cache=make_cache(tmp_path / "cache"))
    target = install(built, tree)
    assert target.read_bytes() == module(built)
    assert (tree / "otelbridge" / "otel" / "encoder.wasm").read_bytes() == module(built, "encoder.wasm")
    assert (tree / "otelbridge" / "licenses" / "quickjs-ng.txt").exists()
    stamp = target.stat().st_mtime_ns
    install(built, tree)
    assert target.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("shim", "step", "said"),
    [
        pytest.param("int broken(", "compile", "worker.c", id="syntax error"),
        pytest.param(ABI + 'int nowhere(void); EXPORT("x") int x(void) { return nowhere(); }', "link", "nowhere", id="missing symbol"),
        pytest.param(ABI.replace('EXPORT("ob_run")', ""), "verify", "ob_run", id="missing export"),
        pytest.param(
            ABI + '__attribute__((import_module("host"), import_name("log"))) int host(void); EXPORT("x") int x(void) { return host(); }',
            "verify",
            "host.log",
            id="import",
        ),
    ],
)
def test_failure_names_its_step(tmp_path: Path, shim: str, step: str, said: str) -> None:
    """A shim that does not compile, link or keep the ABI fails with the step's name and the cause, and leaves no engine."""
    cache = make_cache(tmp_path / "cache")
    with pytest.raises(BuildError) as caught:
        build(make_tree(tmp_path / "tree", shim=shim), cache=cache)
    assert caught.value.step == step
    assert said in str(caught.value)
    assert {path.name for path in cache.iterdir()} == {"downloads", "zig", "objects"}


def test_tree_without_a_shim_is_refused(tmp_path: Path) -> None:
    """A tree that lacks worker.c is told so before anything is fetched."""
    with pytest.raises(BuildError, match=r"worker\.c"):
        build(tmp_path, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("environ", "start"), [({"XDG_CACHE_HOME": "/x"}, Path("/x")), ({"XDG_CACHE_HOME": "relative"}, Path.home() / ".cache")]
)
def test_cache_folder_follows_the_user(environ: dict[str, str], start: Path) -> None:
    """XDG_CACHE_HOME is honoured when it is absolute, as its specification says."""
    assert cache_folder(environ) == start / "otelbridge" / "engine"
