"""Grafana's files: complete, up to date, and linked to each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.dashboards import DASHBOARDS, FOLDER, write

PROVISIONING = FOLDER.parent / "provisioning"
SOURCES: list[dict[str, Any]] = yaml.safe_load((PROVISIONING / "datasources" / "otelbridge.yaml").read_text())["datasources"]
PANELS = [pytest.param(panel, id=f"{name}-{panel['title']}") for name, board in DASHBOARDS.items() for panel in board["panels"]]


def test_files_are_as_made(tmp_path: Path) -> None:
    """The JSON in the repository is what stack/dashboards.py makes: `python -m stack dashboards` has been run."""
    write(tmp_path)
    assert {f.name: f.read_text() for f in tmp_path.iterdir()} == {f.name: f.read_text() for f in FOLDER.iterdir()}


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_explains_itself(panel: dict[str, Any]) -> None:
    """It has a unit, a description, a hint for when it is empty, and asks a source that is provisioned."""
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["description"].endswith(".")
    assert defaults["unit"]
    assert len(defaults["noValue"]) >= 5
    uids = {source["uid"]: source["type"] for source in SOURCES}
    for target in panel["targets"]:
        assert uids[target["datasource"]["uid"]] == target["datasource"]["type"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_lie_beside_each_other(name: str) -> None:
    """No two panels of a dashboard overlap, and none leaves its 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARDS[name]["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_sources_are_linked_both_ways() -> None:
    """A log line leads to its trace, a span to its lines, an example point to its trace; each to a source that exists."""
    by_uid = {source["uid"]: source for source in SOURCES}
    assert by_uid["loki"]["jsonData"]["derivedFields"][0]["datasourceUid"] in by_uid
    assert by_uid["jaeger"]["jsonData"]["tracesToLogsV2"]["datasourceUid"] == "loki"
    assert by_uid["prometheus"]["jsonData"]["exemplarTraceIdDestinations"][0]["datasourceUid"] == "jaeger"
    assert f"/d/{DASHBOARDS['worker']['uid']}" in by_uid["loki"]["jsonData"]["derivedFields"][1]["url"]
