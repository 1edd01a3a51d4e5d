"""The recorded behaviour of workerd: every case of tiers 1 and 2, as its own test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.timeout(600)
def test_all_cases_of_tiers_1_and_2(tmp_path: Path) -> None:
    """The runner finds no failing case."""
    report = tmp_path / "report.json"
    command = [sys.executable, str(HERE / "runner.py"), "--adapter", "otelbridge_adapter", "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)
    assert report.exists(), done.stderr[-2000:]
    result = json.loads(report.read_text())
    failed = {case["name"]: case["differences"] for case in result["cases"] if case.get("result") == "fail"}
    assert failed == {}
    assert result["passed"] >= 132
