"""OpenTelemetry: what a part becomes, and how it gets to its destinations. The only wing that imports opentelemetry."""

from __future__ import annotations

from otelbridge.otel.connect import Probed, probe
from otelbridge.otel.destination import destinations
from otelbridge.otel.environment import Environment
from otelbridge.otel.exporter import Exporter

__all__ = ["Environment", "Exporter", "Probed", "destinations", "probe"]
