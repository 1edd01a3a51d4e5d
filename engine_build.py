"""Builds the JavaScript engine and the encoder in a development tree: `python engine_build.py`. The wheel's build does the same by hatch_build.py."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from engine.build import OPTIMIZE, build, install
from engine.errors import BuildError

__all__ = ["main"]


def main() -> int:
    """Build or take from the cache, put the result into the tree, print one line about it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, help="folder for engines and downloads (default: the user's cache folder)")
    parser.add_argument(
        "--optimize", default=OPTIMIZE, choices=["-Os", "-O1", "-O2", "-O3", "-Oz"], help="the compiler's level (default: %(default)s)"
    )
    arguments = parser.parse_args()
    root = Path(__file__).resolve().parent
    try:
        built = build(root, cache=arguments.cache, optimize=arguments.optimize)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    target = install(built, root)
    how = "from the cache" if built.cached else "built"
    print(f"{target.relative_to(root)}: {target.stat().st_size} bytes, {how} in {built.seconds:.1f} s, key {built.key}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
