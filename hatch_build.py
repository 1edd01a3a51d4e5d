"""Hatchling's hook: a wheel or an editable installation gets the JavaScript engine built from source."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

__all__ = ["EngineHook"]


class EngineHook(BuildHookInterface[Any]):
    """Puts engine.wasm and the licence texts of what it bundles into the package before its files are collected."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the engine, or take it from the user's cache; `version` is 'standard' or 'editable'."""
        # A build front end runs this file from elsewhere, so the folder with the `engine` package is not on the path.
        sys.path.insert(0, self.root)
        try:
            from engine.build import build, install
        finally:
            sys.path.remove(self.root)
        root = Path(self.root)
        install(build(root), root)
