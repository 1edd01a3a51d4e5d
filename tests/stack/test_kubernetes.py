"""deploy/kubernetes as files; `make test-stack` renders them and checks their schemas."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from otelbridge import Settings
from otelbridge.errors import SettingsError
from tests.stack.live.service import Service
from tests.stack.live.stores import eventually

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
OBJECTS: list[dict[str, Any]] = [
    one for file in sorted(FOLDER.glob("*.yaml")) if file.name != "kustomization.yaml" for one in yaml.safe_load_all(file.read_text())
]
SETS = {one["metadata"]["name"]: one["spec"] for one in OBJECTS if one["kind"] == "StatefulSet"}
PODS = {name: spec["template"]["spec"] for name, spec in SETS.items()}
each = pytest.mark.parametrize("name", PODS)


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one.get("value", "from a secret") for one in container["env"]}


def test_the_bridge_takes_its_variables() -> None:
    """The settings know every variable that the manifest and the compose file set."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["otelbridge"]["environment"]
    plain = {name: re.sub(r"\$\{\w+(?::-(.*?)|:\?.*)\}", lambda found: found[1] or "t", value) for name, value in compose.items()}
    for environ in (variables(PODS["otelbridge"]["containers"][0]), plain):
        assert Settings(environ={k: v for k, v in environ.items() if v}).auth.token


def test_service_variables_would_be_refused() -> None:
    """What Kubernetes injects for the Service named otelbridge is no setting, hence enableServiceLinks: false."""
    with pytest.raises(SettingsError, match="OTELBRIDGE_SERVICE_HOST"):
        Settings(environ={"OTELBRIDGE_SERVICE_HOST": "10.0.0.1"})


@each
def test_a_pod_is_closed(name: str) -> None:
    """No root, no service links, no token of the cluster; each container with a read-only root, without capabilities, with limits and probes."""
    pod = PODS[name]
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in pod["containers"]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)


@each
def test_what_must_last_is_on_a_volume(name: str) -> None:
    """Each replica has a claim that outlives it, and every mount is of a volume that exists."""
    assert SETS[name]["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    claims = {claim["metadata"]["name"] for claim in SETS[name]["volumeClaimTemplates"]}
    volumes = {volume["name"] for volume in PODS[name]["volumes"]}
    mounts = {mount["name"] for container in PODS[name]["containers"] for mount in container["volumeMounts"]}
    assert claims
    assert claims <= mounts <= claims | volumes


@each
def test_a_pod_has_time_to_drain(name: str) -> None:
    """SIGKILL comes later than the bridge's own end of draining, the pause before SIGTERM included."""
    pause = sum(c["lifecycle"]["preStop"]["sleep"]["seconds"] for c in PODS[name]["containers"] if "lifecycle" in c)
    assert PODS[name]["terminationGracePeriodSeconds"] > pause + 2 * Settings(environ={}).server.drain_seconds


def test_every_selector_finds_pods() -> None:
    """Services, budgets and policies select labels that pods have."""
    labels = [spec["template"]["metadata"]["labels"] for spec in SETS.values()]
    for one in OBJECTS:
        spec = one.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector") or {}
        wanted = selector.get("matchLabels", selector)
        assert any(wanted.items() <= have.items() for have in labels), one["metadata"]["name"]


def test_workers_are_files_that_exist() -> None:
    """What kustomization.yaml puts into the ConfigMap is there."""
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    files = [file for generator in kustomization["configMapGenerator"] for file in generator["files"]]
    assert files
    assert all((FOLDER / file).is_file() for file in files)
    assert all((FOLDER / path).exists() for path in kustomization["resources"])


def test_a_changed_config_map_is_loaded(tmp_path: Path) -> None:
    """Workers in a folder as Kubernetes mounts a ConfigMap (links through ..data, swapped at once) run, and their next version does."""
    folder = tmp_path / "workers"
    for version in ("first", "second"):
        (folder / f"..{version}").mkdir(parents=True)
        (folder / f"..{version}" / "mapped.js").write_text(f"export default {{ fetch() {{ return new Response('{version}'); }} }};")
    (folder / "..data").symlink_to("..first")
    (folder / "mapped.js").symlink_to("..data/mapped.js")
    environ = {"OTELBRIDGE_SERVER_RELOAD": str(folder), "OTELBRIDGE_SERVER_DRAIN_SECONDS": "0"}
    with Service(directory=tmp_path / "data", endpoint="http://127.0.0.1:9", environ=environ) as service:
        assert eventually(lambda: service.call("mapped").body == b"first")
        (folder / "..next").symlink_to("..second")
        (folder / "..next").rename(folder / "..data")
        assert eventually(lambda: service.call("mapped").body == b"second")
