"""One service in several processes: a supervisor, loaders that run workers, and the hub behind their spools."""

from __future__ import annotations
