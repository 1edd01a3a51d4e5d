"""The tests in live/ need the real programs, which take Go and minutes to build: `make test-stack` runs them, `make test` does not."""

from __future__ import annotations

import os

collect_ignore = [] if os.environ.get("TEST_STACK") else ["live"]
