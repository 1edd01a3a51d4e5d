"""The HTTP service over a bridge: one table of routes, one shape of errors, a short way to the workers."""

from __future__ import annotations

from otelbridge.web.service import Service

__all__ = ["Service"]
