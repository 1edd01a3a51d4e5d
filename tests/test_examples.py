"""The example programs do what they say. Those in examples/guests are tested in tests/sandbox."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from tests.e2e.test_main_job import load_demo

ROOT = Path(__file__).parent.parent


def test_embedding_in_an_aiohttp_application(tmp_path: Path) -> None:
    """A tenant's worker answers, its failure has an id, its logs come back on demand, reach its tail and a collector."""
    demo = load_demo()
    port = demo.free_port()
    with demo.Sink() as sink:
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        env = {"PORT": str(port), "OTELBRIDGE_DATA_DIR": str(tmp_path / "data"), "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url}
        url = f"http://127.0.0.1:{port}"
        with demo.running([sys.executable, str(ROOT / "examples" / "embedding.py")], port, tmp_path / "out", **env):
            assert demo.ask("GET", f"{url}/ada/greet")[::2] == (200, b"hello from ada")
            assert demo.ask("POST", f"{url}/bob/greet", b"x")[::2] == (200, b"hello from bob")
            status, _, body = demo.ask("GET", f"{url}/ada/fail")
            failed = json.loads(body)
            assert (status, failed["error"]) == (502, "this tenant has a bug")
            debug = json.loads(demo.ask("GET", f"{url}/ada/greet", x_debug="1")[2])
            assert (debug["body"], debug["logsState"]) == ("hello from ada", "complete")
            assert [log["message"] for log in debug["logs"]] == [[{"tenant": "ada", "pathname": "/greet"}]]

            def of(worker_id: str) -> list[str]:
                records = [record for resource, record in sink.logs if resource["workerId"] == worker_id]
                return [demo.attributes(record.attributes)["faas.invocation_id"] for record in records]

            assert demo.until(lambda: failed["invocationId"] in of("ada") and of("bob"))
        sink.shutdown()
    assert "{'workerId': 'bob', 'level': 'log', 'message': [{'tenant': 'bob', 'pathname': '/greet'}]}" in (tmp_path / "out").read_text()
