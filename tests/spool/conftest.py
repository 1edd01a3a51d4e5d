"""What tests of the spool have in common."""

from __future__ import annotations

from pathlib import Path

from otelbridge.spool import SpoolReader


def drain(reader: SpoolReader) -> list[bytes]:
    """All payloads that can be read now."""
    out: list[bytes] = []
    while frames := reader.read():
        out += [f.payload for f in frames]
    return out


def segments(directory: Path) -> list[str]:
    """The names of a spool's files, oldest first."""
    return sorted(p.name for p in directory.glob("*.seg"))
