"""Settings: flags over OTELBRIDGE_* variables over otelbridge.toml over defaults; every value knows where it came from."""

from __future__ import annotations

from otelbridge.settings.reading import Entry, Settings, check_exposure, entries
from otelbridge.settings.sections import (
    AuthSettings,
    Destination,
    ExportSettings,
    LimitSettings,
    LogsSettings,
    ObservabilitySettings,
    OutboundSettings,
    SandboxSettings,
    ServerSettings,
    ServiceSettings,
    SpoolSettings,
    StoreSettings,
    TracesSettings,
)

__all__ = [
    "AuthSettings",
    "Destination",
    "Entry",
    "ExportSettings",
    "LimitSettings",
    "LogsSettings",
    "ObservabilitySettings",
    "OutboundSettings",
    "SandboxSettings",
    "ServerSettings",
    "ServiceSettings",
    "Settings",
    "SpoolSettings",
    "StoreSettings",
    "TracesSettings",
    "check_exposure",
    "entries",
]
