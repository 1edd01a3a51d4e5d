"""The log store, its query language, and live tail. Public names only; the rooms import each other directly."""

from __future__ import annotations

from otelbridge.logs.indexer import Indexer
from otelbridge.logs.store import InvocationPage, LogPage, Store, StoreState

__all__ = ["Indexer", "InvocationPage", "LogPage", "Store", "StoreState"]
