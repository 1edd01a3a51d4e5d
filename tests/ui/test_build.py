"""The way from TypeScript to the files that are served. npm packages come from the cache that `make` has filled."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import BuildError
from ui.build import Built, build, cache_folder, install, modules

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(name="tree")
def make_tree(tmp_path: Path) -> Path:
    """Return a copy of the pages' sources that a test may change."""
    shutil.copytree(ROOT / "ui", tmp_path / "tree" / "ui", ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    return tmp_path / "tree"


@pytest.fixture(name="cache")
def make_cache(tmp_path: Path) -> Callable[[str], Path]:
    """Make an empty cache that has the npm packages of the user's."""

    def make(name: str) -> Path:
        packages = modules(ROOT)
        shutil.copytree(packages, tmp_path / name / packages.name, symlinks=True, copy_function=os.link)
        return tmp_path / name

    return make


def files(built: Built) -> dict[str, bytes]:
    """Return the files of finished pages by name."""
    return {file.name: file.read_bytes() for file in (built.folder / "files").iterdir()}


def test_two_builds_have_the_same_bytes(tree: Path, cache: Callable[[str], Path]) -> None:
    """Two caches in two folders make one and the same set of files, of which index.html names script and style."""
    one, other = build(tree, cache=cache("a")), build(tree, cache=cache("longer-name"))
    assert (one.cached, other.cached) == (False, False)
    assert files(one) == files(other)
    index = files(one)["index.html"].decode()
    assert {"js", "css", "svg"} == {name.rpartition(".")[2] for name in files(one) if f'"/ui/{name}"' in index}


def test_unchanged_sources_bundle_nothing_and_changed_ones_do(tree: Path, cache: Callable[[str], Path]) -> None:
    """A build of the same sources comes from the cache, a build of others never does."""
    kept = cache("cache")
    first = build(tree, cache=kept)
    assert build(tree, cache=kept).cached
    style = tree / "ui" / "src" / "style" / "base.css"
    style.write_text(style.read_text() + "\nbody { margin: 1px }\n")
    changed = build(tree, cache=kept)
    assert not changed.cached
    assert changed.key != first.key
    assert files(changed) != files(first)


def test_damaged_cache_is_bundled_again(tree: Path, cache: Callable[[str], Path]) -> None:
    """Pages whose kept bytes have changed are not used."""
    kept = cache("cache")
    sound = files(build(tree, cache=kept))
    (build(tree, cache=kept).folder / "files" / "index.html").write_text("damaged")
    again = build(tree, cache=kept)
    assert not again.cached
    assert files(again) == sound


def test_failure_names_its_step(tree: Path, cache: Callable[[str], Path]) -> None:
    """A source that can't be read fails with the step's name, the file and the line, and leaves no pages."""
    kept = cache("cache")
    (tree / "ui" / "src" / "app.tsx").write_text("export const broken = (;\n")
    with pytest.raises(BuildError, match=r"step 'bundle'[\s\S]*src/app\.tsx:1:") as caught:
        build(tree, cache=kept)
    assert caught.value.step == "bundle"
    assert not [folder for folder in kept.iterdir() if not folder.name.startswith("modules-")]


def test_install_replaces_the_pages_of_before(tree: Path, cache: Callable[[str], Path]) -> None:
    """Files and licence texts land in the package, old files go, and an unchanged file keeps its time stamp."""
    built = build(tree, cache=cache("cache"))
    target = tree / "otelbridge" / "ui"
    target.mkdir(parents=True)
    (target / "main-OLD.js").write_text("old")
    assert install(built, tree) == target
    assert {file.name for file in target.iterdir()} == set(files(built))
    assert "opyright" in (tree / "otelbridge" / "licenses" / "preact.txt").read_text()
    stamp = (target / "index.html").stat().st_mtime_ns
    install(built, tree)
    assert (target / "index.html").stat().st_mtime_ns == stamp


def test_lock_pins_every_archive_and_names_no_registry() -> None:
    """Each package of package-lock.json has its hash, and nothing says where it came from."""
    lock = json.loads((ROOT / "ui" / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    for name, entry in packages.items():
        assert entry["integrity"].startswith("sha512-"), name
        assert "resolved" not in entry, name
    project = json.loads((ROOT / "ui" / "package.json").read_text())
    assert all(version[0].isdigit() for kind in ("dependencies", "devDependencies") for version in project[kind].values())


def test_cache_folder_follows_the_user() -> None:
    """XDG_CACHE_HOME is honoured when it is absolute."""
    assert cache_folder({"XDG_CACHE_HOME": "/x"}) == Path("/x/otelbridge/ui")
