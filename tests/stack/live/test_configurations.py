"""Configuration files read by the programs that they are for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stack.programs import build


def run(command: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environ)


@pytest.mark.parametrize("name", ["otel-collector.yaml", "otel-collector-minimal.yaml"])
def test_the_collector_accepts_its_files(repository: Path, name: str) -> None:
    """`otelcol validate` finds nothing wrong with the defaults, which are the compose file's."""
    done = run([str(build("collector")), "validate", f"--config={repository / 'collector' / name}"])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("profile", "services"),
    [
        ("default", {"otelbridge", "collector", "loki", "jaeger", "prometheus", "grafana"}),
        ("minimal", {"otelbridge", "collector-minimal"}),
    ],
)
def test_compose_loads_each_profile(repository: Path, profile: str, services: set[str]) -> None:
    """The loader of docker compose itself resolves the file, its variables and its profile."""
    secrets = {"OTELBRIDGE_AUTH_TOKEN": "t", "GRAFANA_ADMIN_PASSWORD": "p"}
    done = run([str(build("compose")), str(repository / "docker-compose.yml")], COMPOSE_PROFILES=profile, **secrets)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["services"]) == services


def test_compose_asks_for_secrets(repository: Path) -> None:
    """Without the secrets nothing starts, and the message says how to get them."""
    done = run([str(build("compose")), str(repository / "docker-compose.yml")], OTELBRIDGE_AUTH_TOKEN="", GRAFANA_ADMIN_PASSWORD="")
    assert done.returncode == 1
    assert "make env" in done.stderr


def test_kubernetes_accepts_the_manifests(repository: Path, tmp_path: Path) -> None:
    """kustomize renders deploy/kubernetes, and every resource fits Kubernetes' own schemas, without unknown fields."""
    done = run([str(build("kustomize")), "build", str(repository / "deploy" / "kubernetes")])
    assert done.returncode == 0, done.stderr
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(done.stdout)
    checker = Path(sys.executable).with_name("kubernetes-validate")
    checked = run([str(checker), "--strict", "-k", "1.34", str(rendered)])
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("passed for resource") == done.stdout.count("\nkind: ")
