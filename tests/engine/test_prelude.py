"""Joining the prelude: order, packages and their hashes, and the bytes that reach the compiler."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import patches, prelude
from engine.errors import BuildError

ROW: dict[str, Any] = {
    "package": "p",
    "version": "1.0.0",
    "file": "dist/p.js",
    "sha256": hashlib.sha256(b"exports.a = 1;").hexdigest(),
    "name": "p",
}


def test_sources_come_in_the_order_of_their_names_around_the_packages() -> None:
    """Packages see the files 0*, all other files see the packages, and files follow their numbers."""
    sources = {"prelude/70-b.js": "last;", "prelude/10-a.js": "middle;", "prelude/00-keep.js": "first;"}
    text = prelude.bundle(sources, {"lib": "exports.a = 1;"})
    places = [text.index(part) for part in ("(function (native)", "first;", "const lib", "exports.a = 1;", "middle;", "last;")]
    assert places == sorted(places)
    assert text.endswith("})")


def test_prelude_without_packages_needs_no_table(tmp_path: Path) -> None:
    """A missing packages.json means no package."""
    assert prelude.packages(tmp_path) == []


def test_table_of_packages_is_read(tmp_path: Path) -> None:
    """Each row of packages.json becomes a package."""
    (tmp_path / "packages.json").write_text(json.dumps([ROW]))
    assert prelude.packages(tmp_path) == [prelude.Package(**ROW)]


@pytest.mark.parametrize(
    "text", ["{", "[1]", '[{"package": "p"}]', json.dumps([{**ROW, "name": "a b"}]), json.dumps([{**ROW, "more": "x"}])]
)
def test_wrong_table_is_refused(tmp_path: Path, text: str) -> None:
    """A table that is not a list of complete rows is refused at the step 'prelude'."""
    (tmp_path / "packages.json").write_text(text)
    with pytest.raises(BuildError, match="'prelude'"):
        prelude.packages(tmp_path)


def test_changed_file_of_a_package_is_refused() -> None:
    """A file whose hash is not the pinned one is refused at the step 'hash', with both hashes."""
    with pytest.raises(BuildError, match=f"'hash'.*{ROW['sha256']}"):
        prelude.check(prelude.Package(**ROW), {"dist/p.js": b"exports.a = 2;"})


def test_missing_file_of_a_package_is_refused() -> None:
    """A file that the package does not hold is named."""
    with pytest.raises(BuildError, match=r"no file dist/p\.js"):
        prelude.check(prelude.Package(**ROW), {"dist/q.js": b""})


def test_slots_become_symbols() -> None:
    """Properties named _like_this are symbols afterwards, however they are written, and exports.slots names them."""
    text = prelude.hide_slots("a._state = 1; b?._state; c = { _state: 2 }; hint(d, '_state'); const _local = 3; keep('_other');")
    assert text.startswith("const $_state = Symbol('state');")
    assert "a[$_state] = 1; b?.[$_state]; c = { [$_state]: 2 }; hint(d, $_state); const _local = 3; keep('_other');" in text
    assert text.endswith("module.exports.slots = { state: $_state };")


def test_edit_of_the_source_that_has_no_place_is_refused() -> None:
    """Another version of QuickJS, in which an edit has no place, fails at the step 'patch' instead of building something else."""
    with pytest.raises(BuildError, match=r"'patch'.*quickjs\.c holds 0 times"):
        patches.apply({"quickjs.c": b"int main;"})


@given(st.text())
def test_c_source_holds_the_bytes(text: str) -> None:
    """The C array is the text's UTF-8 and one zero, and the length leaves the zero out."""
    source = prelude.c_source(text)
    numbers = [int(number) for number in re.findall(r"\d+", source.split("{")[1].split("}")[0])]
    assert bytes(numbers) == text.encode() + b"\0"
    assert f"ob_prelude_len = {len(text.encode())};" in source
