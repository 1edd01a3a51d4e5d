"""The spool: append-only files between the processes that run workers and everything that reads their telemetry.

One writer per process and directory; any number of readers, each with its own durable cursor, also in other processes.
"""

from __future__ import annotations

from otelbridge.spool.cursor import waiting_bytes
from otelbridge.spool.drops import read_pending as pending_drops
from otelbridge.spool.frame import Frame, Position
from otelbridge.spool.reader import Backlog, SpoolReader, forget_consumer, registered_consumers
from otelbridge.spool.shed import Tally
from otelbridge.spool.watch import SpoolWatch, list_spools
from otelbridge.spool.writer import SpoolWriter, last_boot

__all__ = [
    "Backlog",
    "Frame",
    "Position",
    "SpoolReader",
    "SpoolWatch",
    "SpoolWriter",
    "Tally",
    "forget_consumer",
    "last_boot",
    "list_spools",
    "pending_drops",
    "registered_consumers",
    "waiting_bytes",
]
