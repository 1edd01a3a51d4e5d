"""All measurements, or those named, in one run: `python -m bench [--quick] [--rounds N] [--json FILE] [NAME...]`.

A measurement is a module of this package with a docstring, `measure(table)`, and `QUICK = True` when it needs neither
workerd nor more than a few seconds with `table.quick`. It joins by its name in MEASUREMENTS.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

from bench.table import Table

# What takes many minutes is run by name only.
MEASUREMENTS = ("floor", "sandbox", "capture", "lag", "requests", "cold", "memory", "tails", "slow", "startup", "export", "processes")
LATER = ("store", "live", "profile", "scale", "long", "soak")


def main(arguments: list[str]) -> int:
    """Print what was measured as a markdown table; 0 when every measurement ran."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join((*MEASUREMENTS, *LATER)))
    parser.add_argument("--quick", action="store_true", help="under a minute, without workerd: ratios that hold on any machine")
    parser.add_argument("--rounds", type=int, help="how often each figure is taken")
    parser.add_argument("--json", type=Path, help="write every figure of every round there")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - {*MEASUREMENTS, *LATER}:
        parser.error(f"there is no measurement {', '.join(sorted(unknown))}")
    table = Table(quick=options.quick, rounds=options.rounds)
    failed = []
    for name in options.names or MEASUREMENTS:
        module = importlib.import_module(f"bench.{name}")
        if options.quick and not options.names and not getattr(module, "QUICK", False):
            continue
        began = time.monotonic()
        print(f"{name}: {(module.__doc__ or '').splitlines()[0]}", file=sys.stderr, flush=True)
        try:
            module.measure(table)
        except Exception as e:  # one that fails must not cost the figures of the others
            failed.append(name)
            table.remark(f"{name} failed: {type(e).__name__}: {e}")
            print(f"{name} failed: {type(e).__name__}: {e}", file=sys.stderr, flush=True)
        print(f"{name}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    print(table.markdown())
    if options.json:
        options.json.write_text(json.dumps(table.to_json(), indent=1))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
