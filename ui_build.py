"""Builds the pages in a development tree: `python ui_build.py`. The wheel's build does the same by hatch_build.py."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from engine.errors import BuildError
from ui.build import build, install

__all__ = ["main"]


def main() -> int:
    """Bundle or take from the cache, put the result into the tree, print one line about it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, help="folder for bundles and downloads (default: the user's cache folder)")
    arguments = parser.parse_args()
    root = Path(__file__).resolve().parent
    try:
        built = build(root, cache=arguments.cache)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    target = install(built, root)
    size = sum(file.stat().st_size for file in target.iterdir())
    how = "from the cache" if built.cached else "built"
    print(f"{target.relative_to(root)}: {size} bytes, {how} in {built.seconds:.1f} s, key {built.key}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
