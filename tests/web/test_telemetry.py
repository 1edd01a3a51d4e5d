"""Search, queries and live tail over HTTP: from a worker's console.log() to what a client reads."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from otelbridge.web import Service
from otelbridge.web.remote import Remote

TALK = """export default { async fetch(request) {
  console.log({ user: 'u-1', n: 5 }); console.error('bad thing');
  if (request.url.endsWith('/wait')) { await scheduler.wait(300); console.log('after the wait'); }
  return new Response('ok');
} }"""


async def until(running: Any, path: str, wanted: int) -> Any:
    """The records of a search, once there are so many: what was just logged takes a moment to the store."""
    while True:
        status, _, body = await running.ask("GET", path)
        assert status == 200, body
        if len(body.get("logs") or body.get("invocations") or []) >= wanted:
            return body
        await asyncio.sleep(0.01)


async def test_what_a_worker_logged_can_be_found(running: Any) -> None:
    """A call's lines and its end are records with its ids; search, pages, invocations and their trace item agree."""
    await running.put("talk", TALK)
    _, headers, _ = await running.ask("GET", "/w/talk/path?secret=1")
    invocation = headers["otelbridge-invocation-id"]
    body = await until(running, f"/v1/logs?q=invocation:{invocation}&order=asc", 3)
    assert [record["kind"] for record in body["logs"]] == ["log", "log", "invocation"]
    assert body["logs"][0]["fields"] == {"user": "u-1", "n": 5}
    assert {record["traceId"] for record in body["logs"]} == {headers["otelbridge-trace-id"]}
    assert {record["workerId"] for record in body["logs"]} == {"talk"}
    first = (await running.ask("GET", f"/v1/logs?q=invocation:{invocation}&limit=2"))[2]
    rest = (await running.ask("GET", f"/v1/logs?q=invocation:{invocation}&limit=2&cursor={first['nextCursor']}"))[2]
    assert first["logs"] + rest["logs"] == body["logs"][::-1]
    assert rest["nextCursor"] is None
    listed = (await until(running, f"/v1/invocations?q=invocation:{invocation}", 1))["invocations"]
    assert [(i["invocationId"], i["outcome"]) for i in listed] == [(invocation, "ok")]
    status, _, item = await running.ask("GET", f"/v1/invocations/{invocation}")
    assert (status, item["workerId"], len(item["logs"])) == (200, "talk", 2)
    assert (await running.ask("GET", "/v1/invocations/" + "0" * 32))[0] == 404


async def test_queries_count_and_group(running: Any) -> None:
    """The query builder, SQL and the lookups answer over HTTP."""
    await running.put("counted", TALK)
    await asyncio.gather(*(running.ask("GET", "/w/counted/") for _ in range(3)))
    await until(running, "/v1/logs?q=worker:counted%20kind:invocation", 3)
    query = {"view": "calculations", "q": "worker:counted", "calculations": [{"operator": "count"}], "groupBy": ["level"]}
    status, _, answer = await running.ask("POST", "/v1/query", json=query)
    assert status == 200
    assert {row["groups"]["level"]: row["values"]["count"] for row in answer["calculations"]}["error"] == 3
    status, _, answer = await running.ask("POST", "/v1/sql", json={"sql": "select count(*) + ? as n from logs", "params": [1]})
    assert (status, answer["columns"], answer["rows"][0][0] > 9) == (200, ["n"], True)
    status, _, answer = await running.ask("POST", "/v1/sql", json={"sql": "delete from logs"})
    assert status == 400, answer
    assert "user" in [key["key"] for key in (await running.ask("GET", "/v1/keys?prefix=us"))[2]["keys"]]
    assert (await running.ask("GET", "/v1/values?key=worker&prefix=count"))[2]["values"][0]["value"] == "counted"
    counters = (await running.ask("GET", "/v1/workers/counted"))[2]["counters"]
    assert counters["invocations"] == 3


@pytest.mark.parametrize(
    ("path", "column"),
    [("/v1/logs?q=level:nonsense", True), ("/v1/logs?q=%22open", True), ("/v1/logs?since=soon", False), ("/v1/logs?cursor=x", False)],
)
async def test_a_query_that_cannot_be_read_is_pointed_at(running: Any, path: str, column: bool) -> None:
    """Errors of the query language are 400 with the column where the text is wrong."""
    status, _, body = await running.ask("GET", path)
    assert (status, body["type"]) == (400, "urn:otelbridge:problem:invalid-query")
    assert ("column" in body) is column


@pytest.mark.parametrize(
    "document", [[], {"view": "nothing"}, {"calculations": [{"operator": "guess"}]}, {"view": "calculations"}, {"limit": 0}, {"extra": 1}]
)
async def test_a_query_document_is_checked(running: Any, document: Any) -> None:
    """Whatever is wrong with a query document is a 400 that says what."""
    status, _, body = await running.ask("POST", "/v1/query", json=document)
    assert (status, body["type"]) == (400, "urn:otelbridge:problem:invalid-query")


async def test_the_live_tail_shows_lines_while_the_worker_runs(running: Any) -> None:
    """A line is seen before the invocation has ended; filters hold; a resumed tail goes on behind the last id."""
    await running.put("live", TALK)
    async with running.session.get(f"{running.url}/v1/tail?worker=live&level=error&level=log") as tail:
        assert tail.headers["content-type"] == "text/event-stream"
        await tail.content.readuntil(b"\n\n")
        call = asyncio.create_task(running.ask("GET", "/w/live/wait"))
        seen: list[dict[str, str]] = []
        while not any("bad thing" in event.get("data", "") for event in seen):
            seen.append(await next_event(tail.content))
        assert not call.done()
        await call
        while not any("after the wait" in event.get("data", "") for event in seen):
            seen.append(await next_event(tail.content))
    place = next(event["id"] for event in seen if "bad thing" in event.get("data", ""))
    async with running.session.get(f"{running.url}/v1/tail?worker=live&level=log", headers={"last-event-id": place}) as tail:
        while "data" not in (event := await next_event(tail.content)):
            pass
        assert json.loads(event["data"])["text"] == "after the wait"


async def next_event(content: Any) -> dict[str, str]:
    """The fields of the next event of a stream."""
    text = (await content.readuntil(b"\n\n")).decode()
    return dict(line.partition(": ")[::2] for line in text.split("\n") if line)


async def test_a_wrong_filter_is_a_problem(running: Any) -> None:
    """A filter that can't be used is told before the stream begins."""
    for query in ("status=maybe", "sampling-rate=2", "worke=x"):
        status, headers, _ = await running.ask("GET", f"/v1/tail?{query}")
        assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert (await running.ask("GET", "/v1/tail", headers={"last-event-id": "nonsense"}))[0] == 400


async def test_a_stop_ends_live_tails(serve: Any) -> None:
    """A stop does not wait for those who watch: their streams end at once, properly."""
    running = await serve(server__drain_seconds=20)
    async with running.session.get(f"{running.url}/v1/tail") as tail:
        await tail.content.readuntil(b"\n\n")
        await running.service.aclose()
        assert await tail.content.read() == b""


async def test_the_ledger_and_the_metrics_are_there(running: Any) -> None:
    """/v1/exports and /metrics answer, also when nothing is exported."""
    status, _, ledger = await running.ask("GET", "/v1/exports")
    assert status == 200
    assert {"destinations", "workers", "total"} <= set(ledger)
    status, headers, _ = await running.ask("GET", "/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")


async def test_without_a_store_the_rest_works(serve: Any) -> None:
    """With store.enabled off, searches are 503; workers still run, and their lines are seen live."""
    running = await serve(store__enabled=False)
    await running.put("quiet", TALK)
    async with running.session.get(f"{running.url}/v1/tail") as tail:
        await tail.content.readuntil(b"\n\n")
        assert (await running.ask("GET", "/w/quiet/"))[0] == 200
        assert json.loads((await next_event(tail.content))["data"])["workerId"] == "quiet"
    for method, path in (("GET", "/v1/logs"), ("GET", "/v1/invocations"), ("GET", "/v1/keys")):
        status, _, body = await running.ask(method, path)
        assert (status, body["type"]) == (503, "urn:otelbridge:problem:store-off")


async def test_workers_run_unobserved_when_that_is_wanted(serve: Any) -> None:
    """With observability.enabled off nothing of a call is kept or shown, but a run still gives its caller the logs."""
    running = await serve(observability__enabled=False)
    await running.put("unseen", TALK)
    assert (await running.ask("GET", "/w/unseen/"))[0] == 200
    status, _, result = await running.ask("POST", "/v1/run", json={"code": TALK})
    assert (status, len(result["logs"]), result["logsState"]) == (200, 2, "complete")
    status, _, body = await running.ask("GET", "/v1/tail")
    assert (status, body["type"]) == (503, "urn:otelbridge:problem:live-tail-off")
    assert (await running.ask("GET", "/v1/logs"))[2]["logs"] == []


RUN = """export default { async fetch(request) {
  console.log('first'); await scheduler.wait(2000); console.warn({ second: true });
  if (request.url.endsWith('/throw')) throw new Error('no');
  return new Response('done');
} }"""


async def test_a_line_is_seen_before_an_await_ends(running: Any) -> None:
    """A line logged before an await of 2 s comes to the live tail, and to who ran the code, while it waits."""
    request = {"code": RUN, "workerId": "waits", "request": {"url": "/x"}}
    async with running.session.get(f"{running.url}/v1/tail?worker=waits") as tail:
        await tail.content.readuntil(b"\n\n")
        headers = {"accept": "text/event-stream"}
        async with running.session.post(f"{running.url}/v1/run", json=request, headers=headers) as run:
            assert (run.status, run.headers["content-type"]) == (200, "text/event-stream")
            mine, seen = await next_event(run.content), await next_event(tail.content)
            began = json.loads(mine["data"])
            assert (mine["event"], began["text"]) == ("log", "first")
            assert json.loads(seen["data"]) == began
            rest = [await next_event(run.content) for _ in range(3)]
            # Only now it has ended; 1 s is the limit of these tests' workers, so the wait of 2 s was cut.
            assert [event["event"] for event in rest] == ["exception", "invocation", "result"]
            assert json.loads(rest[1]["data"])["invocationId"] == began["invocationId"]
            result = json.loads(rest[2]["data"])
            assert (result["error"]["outcome"], result["logsState"]) == ("exceededWallTime", "complete")
            assert result["invocationId"] == began["invocationId"]
            assert await run.content.read() == b""


async def test_a_run_that_cannot_begin_is_a_problem(running: Any) -> None:
    """A stream begins only when there is something to stream: wrong code is 422 as without one."""
    headers = {"accept": "text/event-stream"}
    for document, status in (({"code": {"mainModule": "x.js", "modules": {}}}, 422), ({"code": 1}, 422), ([], 422)):
        answer = await running.ask("POST", "/v1/run", json=document, headers=headers)
        assert (answer[0], answer[1]["content-type"]) == (status, "application/problem+json"), answer[2]


async def test_a_run_that_breaks_off_has_a_result(running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the bridge after the first event is an error in the `result` event, not a stream that breaks off."""
    plane, real = running.bridge.data, running.bridge.data.run

    async def fails(*args: Any, **options: Any) -> Any:
        await real(*args, **options)
        raise RuntimeError("a defect")

    monkeypatch.setattr(plane, "run", fails)
    request = {"code": "export default { fetch() { console.log('x'); return new Response() } }"}
    async with running.session.post(f"{running.url}/v1/run", json=request, headers={"accept": "text/event-stream"}) as run:
        while (event := await next_event(run.content))["event"] != "result":
            pass
        result = json.loads(event["data"])
        assert (result["response"], result["error"]["outcome"], result["logsState"]) == (None, "internalError", "partial")
        assert await run.content.read() == b""


async def test_who_leaves_a_run_ends_it(running: Any) -> None:
    """When the client of a stream goes away, the code is stopped."""
    request = {"code": RUN, "workerId": "left"}
    async with running.session.get(f"{running.url}/v1/tail?worker=left") as tail:
        await tail.content.readuntil(b"\n\n")
        async with running.session.post(f"{running.url}/v1/run", json=request, headers={"accept": "text/event-stream"}) as run:
            await next_event(run.content)
            run.close()
        while (event := await next_event(tail.content)).get("event") != "invocation":
            pass
        assert json.loads(event["data"])["outcome"] == "canceled"


async def test_a_tail_can_follow_one_invocation_and_oneself(running: Any) -> None:
    """`invocation` and `ip=self` are filters too."""
    await running.put("mine", TALK)
    async with running.session.get(f"{running.url}/v1/tail?worker=mine&ip=self") as tail:
        await tail.content.readuntil(b"\n\n")
        _, headers, _ = await running.ask("GET", "/w/mine/")
        invocation = headers["otelbridge-invocation-id"]
        event = await next_event(tail.content)
        assert json.loads(event["data"])["invocationId"] == invocation
        place = event["id"]
    await running.ask("GET", "/w/mine/")
    async with running.session.get(f"{running.url}/v1/tail?invocation={invocation}", headers={"last-event-id": place}) as tail:
        await tail.content.readuntil(b"\n\n")
        _, headers, _ = await running.ask("GET", "/w/mine/")
        found = [json.loads((await next_event(tail.content))["data"]) for _ in range(3)]
        assert {record["invocationId"] for record in found} == {invocation}


async def test_logs_come_inline_where_that_is_allowed(serve: Any) -> None:
    """A call with `otelbridge-logs: inline` gets response and logs in one document, if the settings allow it."""
    running = await serve(server__allow_inline_logs=True)
    await running.put("inline", TALK)
    status, headers, document = await running.ask("GET", "/w/inline/", headers={"otelbridge-logs": "inline"})
    assert status == 200
    assert document["response"]["body"] == "ok"
    assert [log["message"] for log in document["logs"]] == [[{"user": "u-1", "n": 5}], ["bad thing"]]
    assert document["logsState"] == "complete"
    assert len(headers["otelbridge-invocation-id"]) == 32
    assert len(headers["otelbridge-trace-id"]) == 32
    assert (await running.ask("GET", "/w/inline/"))[2] == "ok"


async def test_logs_never_come_inline_by_default(running: Any) -> None:
    """The header is not even looked at: workers of others may log what their callers should not see."""
    await running.put("closed", TALK)
    assert (await running.ask("GET", "/w/closed/", headers={"otelbridge-logs": "inline"}))[2] == "ok"


async def test_the_hub_knows_whose_request_a_loader_passes_on(serve: Any, tmp_path: Path) -> None:
    """Through a loader, `ip=self` is the client's own address; a client that names another in the header is not believed."""
    running = await serve()
    await running.put("mine", TALK)
    hub_socket = socket.socket(socket.AF_UNIX)
    hub_socket.bind(str(tmp_path / "hub"))
    async with (
        Service(bridge=running.bridge, trusted=True) as hub,
        Remote(str(tmp_path / "hub")) as remote,
        Service(bridge=running.bridge, remote=remote) as front,
    ):
        await hub.listen_unix(hub_socket)
        url = await front.listen("127.0.0.1", 0)
        headers = {"otelbridge-client-ip": "192.0.2.1"}
        async with running.session.get(f"{url}/v1/tail?ip=self&worker=mine", headers=headers) as tail:
            await tail.content.readuntil(b"\n\n")
            await running.ask("GET", "/w/mine/")
            assert json.loads((await next_event(tail.content))["data"])["workerId"] == "mine"
