"""otelbridge inside an aiohttp application of your own: it loads each tenant's worker on demand, and watches what it does.

    .venv/bin/python examples/embedding.py
    curl http://127.0.0.1:8080/ada/greet
    curl http://127.0.0.1:8080/ada/fail           # 502, with the id to look for in the telemetry
    curl -H 'x-debug: 1' http://127.0.0.1:8080/ada/greet     # the logs of this very call, in its answer

With OTEL_EXPORTER_OTLP_ENDPOINT set, the same records go to a collector, each with its workerId.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from otelbridge import Bridge, BridgeTail, Limits, Request, Settings, TailWorker, TraceItem, WorkerCode, WorkerError

BRIDGE = web.AppKey("bridge", Bridge)

# What a tenant would have uploaded.
SOURCE = """export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    console.log({ tenant: env.TENANT, pathname });
    if (pathname === '/fail') throw new Error('this tenant has a bug');
    return new Response(`hello from ${env.TENANT}`);
  },
};
"""


class DynamicWorkerTail(TailWorker):
    """Runs after each response with what the invocation left behind; `props` say whose it was."""

    async def tail(self, events: Sequence[TraceItem]) -> None:
        for event in events:
            for log in event.logs:
                print({"workerId": self.props["workerId"], "level": log.level, "message": log.message}, flush=True)


def code_of(tenant: str) -> WorkerCode:
    """Called only when the tenant's worker is not loaded yet; may be async, to fetch the code from somewhere."""
    return WorkerCode(
        main_module="index.js",
        modules={"index.js": SOURCE},
        env={"TENANT": tenant},
        global_outbound=None,  # no network
        limits=Limits(cpu_ms=50, memory_mb=64),
        tails=[DynamicWorkerTail(props={"workerId": tenant}), BridgeTail()],  # BridgeTail: export, store, live tail
    )


async def call(request: web.Request) -> web.Response:
    """One request of a tenant's client: the worker answers it."""
    tenant = request.match_info["tenant"]
    bridge = request.app[BRIDGE]
    entry = bridge.loader.get(tenant, lambda: code_of(tenant)).get_entrypoint()
    session = await bridge.log_session(entry)
    url = f"http://{tenant}.example/{request.match_info['path']}"
    try:
        answer = await session.fetch(Request(request.method, url, headers=list(request.headers.items()), body=await request.read()))
        body = await answer.bytes()
    except WorkerError as e:
        return web.json_response({"error": e.message, "invocationId": e.invocation_id}, status=502)
    if "x-debug" in request.headers:
        logs = await session.get_logs(timeout=1.0)
        return web.json_response({"body": body.decode("utf-8", "replace"), "logs": logs.items, "logsState": logs.state})
    return web.Response(status=answer.status, body=body)


async def bridge_of(app: web.Application) -> AsyncIterator[None]:
    """The bridge lives as long as the application."""
    async with Bridge(Settings()) as bridge:
        app[BRIDGE] = bridge
        yield


def main() -> None:
    """Serve on 127.0.0.1, port 8080 or $PORT."""
    app = web.Application()
    app.router.add_route("*", "/{tenant}/{path:.*}", call)
    app.cleanup_ctx.append(bridge_of)
    web.run_app(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")), print=None)


if __name__ == "__main__":
    main()
