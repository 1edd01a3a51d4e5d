"""The promise of the project: what a worker logs and throws arrives behind a real collector, under its own id."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"

WAT = """(module
  (import "otelbridge" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "hello from wasm")
  (data (i32.const 64) "{\\"status\\":200,\\"headers\\":[],\\"body\\":\\"from wasm\\"}")
  (func (export "otelbridge_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "otelbridge_fetch") (param i32 i32) (result i64)
    (call $log (i32.const 3) (i32.const 16) (i32.const 15))
    (i64.or (i64.shl (i64.const 64) (i64.const 32)) (i64.const 46))))
"""


def load_demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("otelbridge_demo", DEMO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any, str]]:
    """The demo's module, the sink behind the collector, and the service's URL."""
    demo = load_demo()
    folder = tmp_path_factory.mktemp("world")
    with demo.Sink() as sink:
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        with demo.collector(sink, folder) as endpoint, demo.service(endpoint, folder) as url:
            yield demo, sink, url
        sink.shutdown()


def of_worker(found: list[Any], worker_id: str) -> list[Any]:
    return [item for resource, item in found if resource.get("workerId") == worker_id]


def test_the_seeds_worker_arrives_in_a_real_collector(world: tuple[Any, Any, str]) -> None:
    """A logged object and a thrown error of worker demo arrive with its resource, body, severity and trace id."""
    demo, sink, url = world
    assert demo.ask("PUT", f"{url}/v1/workers/demo", demo.WORKER.encode(), content_type="application/javascript")[0] == 201
    status, headers, _ = demo.ask("GET", f"{url}/w/demo/some/path")
    assert status == 500
    assert demo.until(lambda: len(of_worker(sink.logs, "demo")) >= 3 and of_worker(sink.spans, "demo"))
    logged, error, thrown = of_worker(sink.logs, "demo")
    assert demo.value_of(logged.body) == {"user": "u-42", "path": "/some/path"}
    assert (logged.severity_number, error.severity_number, thrown.severity_number) == (9, 17, 17)
    assert demo.attributes(thrown.attributes)["exception.message"] == "the seed worker throws"
    assert thrown.event_name == "exception"
    trace_id = headers["otelbridge-trace-id"]
    assert {record.trace_id.hex() for record in (logged, error, thrown)} == {trace_id}
    spans = of_worker(sink.spans, "demo")
    server = next(span for span in spans if span.kind == 2)
    assert server.trace_id.hex() == trace_id
    assert server.span_id == logged.span_id
    assert demo.attributes(server.attributes)["otelbridge.outcome"] == "exception"


def test_a_wasm_guest_arrives_like_javascript(world: tuple[Any, Any, str]) -> None:
    """A module in WebAssembly that logs through the guest ABI is exported under its own id."""
    from otelbridge.sandbox import wat

    demo, sink, url = world
    status, _, answer = demo.ask("PUT", f"{url}/v1/workers/wasm", wat(WAT), content_type="application/wasm")
    assert status == 201, answer
    assert demo.ask("GET", f"{url}/w/wasm/")[2] == b"from wasm"
    assert demo.until(lambda: of_worker(sink.logs, "wasm"))
    (record,) = of_worker(sink.logs, "wasm")
    assert (demo.value_of(record.body), record.severity_text, record.severity_number) == ("hello from wasm", "warn", 13)
    assert len(record.trace_id) == 16


def test_a_failed_load_is_a_record_too(world: tuple[Any, Any, str]) -> None:
    """Code that does not load gets 422 and leaves an exception under the worker's id."""
    demo, sink, url = world
    status, headers, _ = demo.ask("PUT", f"{url}/v1/workers/broken", b"export default {", content_type="application/javascript")
    assert (status, headers["content-type"]) == (422, "application/problem+json")
    assert demo.until(lambda: of_worker(sink.logs, "broken"))
    assert of_worker(sink.logs, "broken")[0].event_name == "exception"


def test_sigterm_flushes_and_ends_with_zero(tmp_path: Path) -> None:
    """A service that is told to stop sends what it has and exits with 0."""
    demo = load_demo()
    with demo.Sink() as sink:
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        port = demo.free_port()
        command = [str(Path(sys.executable).parent / "otelbridge"), "serve", "--samples"]
        env = {"OTELBRIDGE_DATA_DIR": str(tmp_path / "data"), "OTELBRIDGE_SERVER_PORT": str(port), "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url}
        with demo.running(command, port, tmp_path / "out", **env) as process:
            assert demo.ask("GET", f"http://127.0.0.1:{port}/w/hello/x")[0] == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        assert len(of_worker(sink.logs, "hello")) >= 2
        sink.shutdown()


def test_a_killed_service_loses_nothing_it_answered(tmp_path: Path) -> None:
    """Records of a response that a client has received survive SIGKILL and are sent after the restart."""
    demo = load_demo()
    port = demo.free_port()
    command = [str(Path(sys.executable).parent / "otelbridge"), "serve", "--samples"]
    env = {"OTELBRIDGE_DATA_DIR": str(tmp_path / "data"), "OTELBRIDGE_SERVER_PORT": str(port)}
    with demo.Sink() as sink:
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        dead = f"http://127.0.0.1:{demo.free_port()}"  # nobody listens there
        with demo.running(command, port, tmp_path / "out", OTEL_EXPORTER_OTLP_ENDPOINT=dead, **env) as process:
            answered = [demo.ask("GET", f"http://127.0.0.1:{port}/w/hello/{n}")[1]["otelbridge-invocation-id"] for n in range(20)]
            process.kill()
            process.wait()
        with demo.running(command, port, tmp_path / "out2", OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, **env):

            def arrived() -> set[str]:
                return {demo.attributes(r.attributes)["faas.invocation_id"] for r in of_worker(sink.logs, "hello")}

            assert demo.until(lambda: arrived() >= set(answered))
        sink.shutdown()


def test_run_prints_body_and_logs_apart(tmp_path: Path) -> None:
    """`otelbridge run` gives the body on stdout, logs on stderr, and 1 for a failed outcome."""
    good, bad = tmp_path / "good.js", tmp_path / "bad.js"
    good.write_text("export default { fetch(r) { console.warn('careful', { n: 1 }); return new Response('body') } }")
    bad.write_text("export default { fetch(r) { throw new Error('no') } }")
    program = str(Path(sys.executable).parent / "otelbridge")
    done = subprocess.run([program, "run", str(good)], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, b"body")
    assert b"careful" in done.stderr
    done = subprocess.run([program, "run", str(bad)], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"no" in done.stderr
