"""docker-compose.yml, its variables, its mounts and its promises; no Docker needed."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack import processes
from stack.__main__ import write_env
from stack.programs import PROGRAMS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
each = pytest.mark.parametrize("name", SERVICES)


def test_it_fits_the_specification() -> None:
    """The compose specification's own JSON schema accepts the file."""
    command = [
        str(Path(sys.executable).with_name("check-jsonschema")),
        "--builtin-schema",
        "vendor.compose-spec",
        str(ROOT / "docker-compose.yml"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@each
def test_what_it_mounts_exists(name: str) -> None:
    """Every file and folder of the repository that a service mounts or is built from is there, and every volume is declared."""
    service = SERVICES[name]
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume
    build = service.get("build")
    if build is not None:
        assert (ROOT / (build if isinstance(build, str) else build["context"]) / "Dockerfile").is_file()


@each
def test_it_is_closed(name: str) -> None:
    """Ports only on loopback, no capability, a read-only root, a health check, limits, and a pinned image."""
    service = SERVICES[name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "healthcheck" in service
    assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])
    assert re.search(r":(v?\d+\.\d+\.\d+|\$\{OTELBRIDGE_VERSION:-\d+\.\d+\.\d+\})$", service["image"]), service["image"]


def test_only_three_ports_are_published() -> None:
    """The API, Grafana and Jaeger's page; the stores are reachable from inside only."""
    assert {name for name, service in SERVICES.items() if service.get("ports")} == {"otelbridge", "grafana", "jaeger"}
    assert COMPOSE["networks"]["telemetry"]["internal"] is True
    assert all("telemetry" in service["networks"] for service in SERVICES.values())


def test_what_waits_names_a_condition() -> None:
    """depends_on names a service with a health check and waits for it."""
    for service in SERVICES.values():
        for other, rule in service.get("depends_on", {}).items():
            assert rule["condition"] == "service_healthy"
            assert "healthcheck" in SERVICES[other]


def test_every_variable_is_in_the_example() -> None:
    """.env.example lists exactly the variables the file reads, secrets without a value."""
    read = set(re.findall(r"\$\{([A-Z_]+)", TEXT))
    example = (ROOT / ".env.example").read_text()
    listed = set(re.findall(r"^#?([A-Z_]+)=", example, re.M))
    assert listed - {"COMPOSE_PROFILES"} == read
    secrets = set(re.findall(r"^([A-Z_]+)=$", example, re.M))
    assert secrets == {"OTELBRIDGE_AUTH_TOKEN", "GRAFANA_ADMIN_PASSWORD"}
    assert all(f"${{{name}:?" in TEXT for name in secrets)


def test_env_is_written_once_with_new_secrets(tmp_path: Path) -> None:
    """`make env` fills in the secrets, for its owner's eyes only, and never overwrites a file."""
    target = tmp_path / ".env"
    assert write_env(target) == 0
    first = target.read_text()
    values = re.findall(r"^(?:OTELBRIDGE_AUTH_TOKEN|GRAFANA_ADMIN_PASSWORD)=(\w{48})$", first, re.M)
    assert len(set(values)) == 2
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert write_env(target) == 0
    assert target.read_text() == first


def test_versions_are_those_that_are_tested() -> None:
    """The images are of the versions that `make test-stack` builds and runs."""
    for name in ("jaeger", "prometheus", "collector"):
        assert SERVICES[name]["image"].rpartition(":")[2].removeprefix("v") == PROGRAMS[name].version
    assert f"VERSION={PROGRAMS['collector'].version}" in (ROOT / "collector" / "Dockerfile").read_text()


def test_flags_are_those_that_are_tested() -> None:
    """Prometheus is started with the same flags here and without Docker, addresses and folders apart."""
    assert set(processes.PROMETHEUS_FLAGS) <= set(SERVICES["prometheus"]["command"])
    assert len(SERVICES["prometheus"]["command"]) == len(list(processes.PROMETHEUS_FLAGS)) + 2


def test_the_image_gets_what_it_copies() -> None:
    """Whatever the Dockerfile copies from the context exists and is not kept out by .dockerignore."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+)$", (ROOT / "Dockerfile").read_text(), re.M) for word in line.split()[:-1]]
    assert copied
    assert set(copied) == allowed
    assert all((ROOT / name).exists() for name in copied)
