"""The log store, its query language, and live tail. Public names only; the rooms import each other directly."""

from __future__ import annotations

from otelbridge.logs.indexer import Indexer
from otelbridge.logs.live import LiveTail
from otelbridge.logs.request import QueryRequest
from otelbridge.logs.store import InvocationPage, LogPage, Store, StoreState
from otelbridge.logs.subscription import Subscription
from otelbridge.logs.tail_filter import TailFilter, tail_filter

__all__ = [
    "Indexer",
    "InvocationPage",
    "LiveTail",
    "LogPage",
    "QueryRequest",
    "Store",
    "StoreState",
    "Subscription",
    "TailFilter",
    "tail_filter",
]
