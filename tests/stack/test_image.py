"""What the Dockerfile says about the program inside, tried on that program; no Docker needed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import yaml

from otelbridge import Settings
from tests.stack.live.service import Service

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
HEALTH = json.loads(re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", TEXT, re.M)[-1])


def test_the_health_check_tells_up_from_down(tmp_path: Path) -> None:
    """Its command ends with 0 while the service runs and with another code when it does not."""
    with Service(directory=tmp_path, endpoint="http://127.0.0.1:9", environ={"OTELBRIDGE_SERVER_DRAIN_SECONDS": "0"}) as service:
        command = [sys.executable, *(word.replace(":8787", f":{service.port}") for word in HEALTH[1:])]
        assert HEALTH[0] == "python"
        up = subprocess.run(command, capture_output=True, text=True)
    down = subprocess.run(command, capture_output=True, text=True)
    assert up.returncode == 0, up.stderr
    assert down.returncode != 0


def test_compose_asks_the_same() -> None:
    """The compose file's health check of the service is the image's."""
    assert yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["otelbridge"]["healthcheck"]["test"] == ["CMD", *HEALTH]


def test_its_variables_are_settings() -> None:
    """The image's own OTELBRIDGE_ variables are known, its data is on the volume, and its user is not root."""
    environ = dict(re.findall(r"\b(OTELBRIDGE_\w+)=(\S+)", TEXT))
    settings = Settings(environ=environ)
    assert [str(settings.data_dir)] == re.findall(r"^VOLUME (\S+)$", TEXT, re.M)
    assert settings.server.host == "0.0.0.0"
    assert re.findall(r"^USER (\S+)$", TEXT, re.M)[-1] == "10001:10001"
