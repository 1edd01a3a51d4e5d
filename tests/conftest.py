"""Shared by all wings: where a test may write, and how long properties are searched. Everything else lives with its wing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A deadline is a timed assertion in disguise: on a busy machine it fails without a fault.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.register_profile("fuzz", settings.get_profile("default"), max_examples=20_000, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Return an empty data directory that only this test uses."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder
