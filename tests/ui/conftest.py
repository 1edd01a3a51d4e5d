"""Browser tests need Chromium and are `make test-ui`; the others here run with `make test`."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("TEST_UI") else ["test_page_*.py"]
