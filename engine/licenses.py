"""Collects the licence texts of everything that ends up inside engine.wasm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from engine.errors import BuildError

__all__ = ["collect"]

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_NOTICE = re.compile(r"copyright\s*(\(c\)|©)|UNICODE LICENSE", re.IGNORECASE)
_PERMISSION = "ermission is hereby granted"

# The C library and the compiler's run-time parts that the linker adds, as paths inside the compiler's package.
_TOOLCHAIN = {
    "wasi-libc.txt": ("lib/libc/wasi/LICENSE", "lib/libc/wasi/LICENSE-MIT", "lib/libc/wasi/libc-bottom-half/cloudlibc/LICENSE"),
    "musl.txt": ("lib/libc/wasi/libc-top-half/musl/COPYRIGHT",),
    "zig.txt": ("LICENSE",),
}


def collect(quickjs: Mapping[str, bytes], npm: Mapping[str, Mapping[str, bytes]], ziglang: Path) -> dict[str, str]:
    """Return licence texts by file name: QuickJS-ng's, each npm package's, and those of the linked libraries."""
    texts = {"quickjs-ng.txt": _notices(quickjs)}
    for package, files in npm.items():
        found = [files[name].decode() for name in sorted(files) if name.upper().startswith(("LICENSE", "LICENCE", "NOTICE"))]
        if not found:
            raise BuildError("prelude", f"{package} has no licence text")
        texts[f"{package.replace('/', '-')}.txt"] = "\n".join(found)
    for title, paths in _TOOLCHAIN.items():
        texts[title] = "\n".join((ziglang / path).read_text(encoding="utf-8") for path in paths)
    return texts


def _notices(files: Mapping[str, bytes]) -> str:
    """Return the licence comments of C sources: the distribution carries them in the files' heads, nowhere else."""
    found: dict[str, list[str]] = {}
    for name in sorted(files):
        if name.endswith((".c", ".h")):
            for comment in _COMMENT.findall(files[name].decode()):
                if _NOTICE.search(comment) and _PERMISSION in comment:
                    found.setdefault(comment, []).append(name)
    if not found:
        raise BuildError("download", "the source of QuickJS-ng carries no licence text")
    return "\n\n".join(f"{', '.join(names)}\n\n{comment}" for comment, names in found.items()) + "\n"
