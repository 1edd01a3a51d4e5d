"""Joins the prelude's files and the npm packages they need into one JavaScript function, and that into C source."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import BuildError

__all__ = ["Package", "bundle", "c_header", "c_source", "packages"]

_NAME = re.compile(r"[A-Za-z_$][\w$]*")


@dataclass(frozen=True)
class Package:
    """One file of an npm package: a row of the prelude's packages.json. `name` is the const that holds its exports.

    `slots`: its objects keep their state in properties named _like_this; they become symbols, see hide_slots().
    """

    package: str
    version: str
    file: str
    sha256: str
    name: str
    slots: bool = False


def packages(folder: Path) -> list[Package]:
    """Read packages.json of the prelude's folder; a prelude without one uses no package."""
    table = folder / "packages.json"
    if not table.exists():
        return []
    try:
        rows = [Package(**row) for row in json.loads(table.read_bytes())]
    except (TypeError, ValueError) as error:
        raise BuildError("prelude", f"{table.name} must be a list of {{package, version, file, sha256, name, slots?}}: {error}") from error
    for row in rows:
        if not _NAME.fullmatch(row.name):
            raise BuildError("prelude", f"{table.name}: {row.name!r} can't name a const")
    return rows


def check(row: Package, files: Mapping[str, bytes]) -> str:
    """Return the text of the row's file out of its package's files, or refuse it."""
    if row.file not in files:
        raise BuildError("prelude", f"{row.package} {row.version} has no file {row.file}")
    found = hashlib.sha256(files[row.file]).hexdigest()
    if found != row.sha256:
        raise BuildError("hash", f"{row.file} of {row.package} {row.version} has sha256 {found}, expected {row.sha256}")
    text = files[row.file].decode()
    return hide_slots(text) if row.slots else text


def hide_slots(text: str) -> str:
    """Turn properties named _like_this into symbols, which exports.slots names: a stream that is logged or cloned shows no insides."""
    names = sorted(set(re.findall(r"\._([A-Za-z]\w*)", text)))
    text = re.sub(r"(\?\.|\.)_([A-Za-z]\w*)", lambda found: f"{'?.' if found[1] == '?.' else ''}[$_{found[2]}]", text)
    known = "|".join(names)
    text = re.sub(rf"(?<![.\w$])_({known})(?=[(:])", r"[$_\1]", text)
    text = re.sub(rf"""(["'])_({known})\1""", r"$_\2", text)
    symbols = ", ".join(f"$_{name} = Symbol('{name}')" for name in names)
    slots = ", ".join(f"{name}: $_{name}" for name in names)
    return f"const {symbols};\n{text}\nmodule.exports.slots = {{ {slots} }};"


def bundle(sources: Mapping[str, str], factories: Mapping[str, str]) -> str:
    """Return `(function (native) {...})`: the files 0*, each factory's exports as a const, then the other files by name.

    The packages come second so that they too see the builtins as 00-primordials.js keeps them, whatever a worker does later.
    """
    names = sorted(sources)
    first = [name for name in names if name.rpartition("/")[2].startswith("0")]
    parts = ["(function (native) { 'use strict';\n"]
    parts += [f"// {name}\n{sources[name]}\n" for name in first]
    for name, text in factories.items():
        parts.append(f"const {name} = (function () {{ const module = {{ exports: {{}} }}; let exports = module.exports;\n")
        parts.append(f"{text}\nreturn module.exports; }})();\n")
    parts += [f"// {name}\n{sources[name]}\n" for name in names if name not in first]
    parts.append("})")
    return "".join(parts)


def c_header() -> str:
    """Return prelude.h. The text stands in its own object file: a change of the prelude does not compile QuickJS again."""
    text = "extern const char ob_prelude[]; /* UTF-8; ends with a zero that ob_prelude_len leaves out */\n"
    return text + "extern const unsigned ob_prelude_len;\n"


def c_source(text: str) -> str:
    """Return prelude.c, which holds `text` as bytes."""
    data = text.encode()
    rows = [",".join(map(str, data[at : at + 32])) + "," for at in range(0, len(data), 32)]
    body = "\n".join(rows)
    return f'#include "prelude.h"\nconst char ob_prelude[] = {{\n{body}\n0}};\nconst unsigned ob_prelude_len = {len(data)};\n'
