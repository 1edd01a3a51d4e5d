"""The Grafana dashboards, as `python -m stack dashboards` writes them to collector/grafana/dashboards.

Made here and not by hand in JSON, so that every panel has a unit, a description and a hint for when it is empty.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["DASHBOARDS", "FOLDER", "write"]

FOLDER = Path(__file__).parent.parent / "collector" / "grafana" / "dashboards"
Panel = dict[str, Any]

_SOURCES = {name: {"type": name, "uid": name} for name in ("prometheus", "loki", "jaeger")}
_JOB = 'job=~"$service"'
_LINES = '{service_name=~"$service"}'
_WORKER = f"{_LINES} | workerId=`$worker`"
# The bridge's own metrics are of the service otelbridge, whatever the workers' service is called.
_BRIDGE = 'job=~".*otelbridge"'
_ALL = f"(sum(rate(faas_invocations_total{{{_JOB}}}[$__rate_interval])) + (sum(rate(faas_errors_total{{{_JOB}}}[$__rate_interval])) or vector(0)))"
_LEVELS = {"error": "red", "warn": "orange", "info": "green", "debug": "blue"}


def metric(query: str, legend: str = "", *, instant: bool = False) -> Panel:
    """A PromQL query."""
    kind = {"instant": True, "range": False, "format": "table"} if instant else {"range": True}
    return {"datasource": _SOURCES["prometheus"], "expr": query, "legendFormat": legend, "exemplar": not instant, **kind}


def logs(query: str, legend: str = "", *, instant: bool = False) -> Panel:
    """A LogQL query."""
    return {
        "datasource": _SOURCES["loki"],
        "expr": query,
        "legendFormat": legend,
        "queryType": "instant" if instant else "range",
        "maxLines": 500,
    }


def traces(tags: str, limit: int = 100) -> Panel:
    """A search of Jaeger; `tags` in logfmt, as its search page takes them."""
    return {"datasource": _SOURCES["jaeger"], "queryType": "search", "service": "$service", "tags": tags, "limit": limit}


def panel(
    kind: str, title: str, text: str, empty: str, *queries: Panel, unit: str = "short", size: tuple[int, int] = (12, 8), **more: Any
) -> Panel:
    """One panel: `text` explains it, `empty` is what it shows without data; size in grid units, the width is 24."""
    defaults: dict[str, Any] = {"unit": unit, "noValue": empty, "min": 0, **more.pop("defaults", {})}
    if kind == "timeseries":
        defaults["custom"] = {"fillOpacity": 10, "showPoints": "never", "lineWidth": 1, **more.pop("custom", {})}
    targets = [{**query, "refId": chr(ord("A") + n)} for n, query in enumerate(queries)]
    return {
        "type": kind,
        "title": title,
        "description": text,
        "datasource": targets[0]["datasource"],
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": more.pop("overrides", [])},
        "gridPos": {"w": size[0], "h": size[1]},
        "options": more.pop("options", {}),
        **more,
    }


def colours(names: dict[str, str]) -> list[Panel]:
    """One colour for each series name, the same in every panel."""
    return [
        {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}]}
        for name, colour in names.items()
    ]


def stat(
    title: str, text: str, empty: str, *queries: Panel, unit: str = "short", reduce: str = "lastNotNull", width: int = 4, **more: Any
) -> Panel:
    """A number."""
    options = {"reduceOptions": {"calcs": [reduce], "fields": more.pop("fields", "")}, "graphMode": more.pop("graph", "area")}
    return panel("stat", title, text, empty, *queries, unit=unit, size=(width, 4), options=options, **more)


def worker_links() -> list[Panel]:
    """From a workerId to its dashboard."""
    link = {
        "title": "Open ${__value.text}",
        "url": "/d/otelbridge-worker?var-worker=${__value.raw}&${service:queryparam}&${__url_time_range}",
    }
    return [{"matcher": {"id": "byName", "options": "workerId"}, "properties": [{"id": "links", "value": [link]}]}]


def quantiles(metric_name: str) -> list[Panel]:
    """p50, p95 and p99 of a histogram."""
    return [
        metric(f"histogram_quantile({q}, sum by (le) (rate({metric_name}_bucket{{{_JOB}}}[$__rate_interval])))", name)
        for q, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    ]


def top_workers(title: str, text: str, empty: str, query: str, size: tuple[int, int] = (8, 9)) -> Panel:
    """A table of workerIds and a count."""
    return panel(
        "table",
        title,
        text,
        empty,
        logs(f"topk(10, sum by (workerId) (count_over_time({query} [$__range])))", instant=True),
        size=size,
        overrides=worker_links(),
        transformations=[
            {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": {"Value #A": "Count"}}},
            {"id": "sortBy", "options": {"sort": [{"field": "Count", "desc": True}]}},
        ],
    )


_TRAFFIC = "No invocations in this time range. Call a worker: curl http://127.0.0.1:8787/w/<workerId>/"
_NO_LOGS = "No log lines in this time range."

FLEET = [
    stat("Invocations", "Invocations per second, failed ones too.", _TRAFFIC, metric(_ALL), unit="reqps"),
    stat(
        "Failed",
        "Share of invocations whose outcome was not ok, or that answered with a 5xx status.",
        _TRAFFIC,
        metric(f"(sum(rate(faas_errors_total{{{_JOB}}}[$__rate_interval])) or vector(0)) / ({_ALL} > 0)"),
        unit="percentunit",
        defaults={
            "max": 1,
            "thresholds": {"mode": "absolute", "steps": [{"color": "green", "value": None}, {"color": "red", "value": 0.05}]},
        },
    ),
    stat("p95", "95 % of invocations took no longer than this.", _TRAFFIC, quantiles("faas_invoke_duration_seconds")[1], unit="s"),
    stat(
        "Cold starts",
        "Share of invocations that waited for their worker to be loaded.",
        _TRAFFIC,
        metric(f"(sum(rate(faas_coldstarts_total{{{_JOB}}}[$__rate_interval])) or vector(0)) / ({_ALL} > 0)"),
        unit="percentunit",
    ),
    stat(
        "CPU",
        "Cores that workers keep busy, on all machines together.",
        _TRAFFIC,
        metric(f"sum(rate(faas_cpu_usage_seconds_sum{{{_JOB}}}[$__rate_interval]))"),
        unit="short",
        defaults={"decimals": 3},
    ),
    stat(
        "Workers that logged",
        "Different workerIds among the log lines of this time range.",
        _NO_LOGS,
        logs(f"count(sum by (workerId) (count_over_time({_LINES} | workerId!=`` [$__range])))", instant=True),
        graph="none",
    ),
    panel(
        "timeseries",
        "Invocations and failures",
        "Per second, by what triggered them. Timeouts are invocations that exceeded their CPU or wall time.",
        _TRAFFIC,
        metric(f"sum by (faas_trigger) (rate(faas_invocations_total{{{_JOB}}}[$__rate_interval]))", "ok, {{faas_trigger}}"),
        metric(f"sum by (faas_trigger) (rate(faas_errors_total{{{_JOB}}}[$__rate_interval]))", "failed, {{faas_trigger}}"),
        metric(f"sum(rate(faas_timeouts_total{{{_JOB}}}[$__rate_interval]))", "timeouts"),
        unit="reqps",
    ),
    panel(
        "timeseries",
        "Duration of invocations",
        "Percentiles over all workers. The points are examples: each leads to its trace.",
        _TRAFFIC,
        *quantiles("faas_invoke_duration_seconds"),
        unit="s",
    ),
    panel(
        "timeseries",
        "HTTP status",
        "Responses per second by status code.",
        _TRAFFIC,
        metric(
            f"sum by (http_response_status_code) (rate(http_server_request_duration_seconds_count{{{_JOB}}}[$__rate_interval]))",
            "{{http_response_status_code}}",
        ),
        unit="reqps",
    ),
    panel(
        "timeseries",
        "Cold starts",
        "How long loading a worker took. A cold start also runs the worker's top level.",
        "No cold starts in this time range: every worker was warm.",
        *quantiles("faas_init_duration_seconds"),
        unit="s",
    ),
    panel(
        "timeseries",
        "CPU per invocation",
        "Percentiles of the CPU time of one invocation.",
        _TRAFFIC,
        *quantiles("faas_cpu_usage_seconds"),
        unit="s",
    ),
    panel(
        "timeseries",
        "Memory per invocation",
        "Percentiles of the memory of a worker's instance at the end of an invocation.",
        _TRAFFIC,
        *quantiles("faas_mem_usage_bytes"),
        unit="bytes",
    ),
    panel(
        "timeseries",
        "Log lines by level",
        "Lines per interval.",
        _NO_LOGS,
        logs(f"sum by (detected_level) (count_over_time({_LINES} | workerId!=`` [$__auto]))", "{{detected_level}}"),
        custom={"drawStyle": "bars", "fillOpacity": 80, "stacking": {"mode": "normal"}},
        overrides=colours(_LEVELS),
        size=(24, 7),
    ),
    top_workers(
        "Most errors",
        "The workers with the most error lines and exceptions. A click opens the worker.",
        "No errors in this time range.",
        f"{_LINES} | workerId!=`` | severity_number >= 17",
    ),
    top_workers("Most lines", "The workers that log the most. A click opens the worker.", _NO_LOGS, f"{_LINES} | workerId!=``"),
    panel(
        "table",
        "Exceptions",
        "What workers threw, by worker and type.",
        "No exceptions in this time range.",
        logs(
            f"topk(20, sum by (workerId, exception_type) (count_over_time({_LINES} | event_name=`exception` [$__range])))",
            instant=True,
        ),
        size=(8, 9),
        overrides=worker_links(),
        transformations=[{"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": {"Value #A": "Count"}}}],
    ),
]

_OUTCOMES = ("ok", "exception", "exceededCpu", "exceededMemory", "exceededWallTime", "canceled", "loadShed")
_COUNT_TRACES = {"reduceOptions": {"calcs": ["count"], "fields": "/^Trace ID$/"}}
_NO_TRACES = "No traces of this worker in this time range."

WORKER = [
    stat("Log lines", "Lines of this worker.", _NO_LOGS, logs(f"sum(count_over_time({_WORKER} [$__range]))", instant=True), graph="none"),
    stat(
        "Errors",
        "Lines of level error, exceptions among them.",
        "None.",
        logs(f"sum(count_over_time({_WORKER} | severity_number >= 17 [$__range])) or vector(0)", instant=True),
        graph="none",
    ),
    stat(
        "Exceptions",
        "What it threw.",
        "None.",
        logs(f"sum(count_over_time({_WORKER} | event_name=`exception` [$__range])) or vector(0)", instant=True),
        graph="none",
    ),
    *(
        stat(
            f"Duration, {name}",
            "Of the newest 500 invocations in the time range, from their traces.",
            _NO_TRACES,
            traces("workerId=$worker", 500),
            unit="µs",
            reduce=name,
            fields="/^Duration$/",
            graph="none",
        )
        for name in ("p50", "p95", "p99")
    ),
    panel(
        "bargauge",
        "Outcomes",
        "Invocations by outcome, from their traces; at most the newest 500 of each.",
        _NO_TRACES,
        *(traces(f"workerId=$worker otelbridge.outcome={outcome}", 500) for outcome in _OUTCOMES),
        size=(8, 8),
        options={**_COUNT_TRACES, "orientation": "horizontal", "displayMode": "basic"},
        overrides=[
            {"matcher": {"id": "byFrameRefID", "options": chr(ord("A") + n)}, "properties": [{"id": "displayName", "value": outcome}]}
            for n, outcome in enumerate(_OUTCOMES)
        ],
    ),
    panel(
        "timeseries",
        "Log lines by level",
        "Lines per interval.",
        _NO_LOGS,
        logs(f"sum by (detected_level) (count_over_time({_WORKER} [$__auto]))", "{{detected_level}}"),
        custom={"drawStyle": "bars", "fillOpacity": 80, "stacking": {"mode": "normal"}},
        overrides=colours(_LEVELS),
        size=(16, 8),
    ),
    panel(
        "logs",
        "Logs",
        "Newest first. Open a line for its fields; its trace_id leads to the trace.",
        "No log lines of this worker in this time range, or none that match the search above.",
        logs(f"{_WORKER} |~ `(?i)$search`"),
        size=(24, 12),
        options={"showTime": True, "wrapLogMessage": True, "enableLogDetails": True, "sortOrder": "Descending", "dedupStrategy": "none"},
    ),
    panel(
        "table",
        "Traces",
        "The newest 100 invocations. A click on an id opens the trace, and from a span there its logs.",
        _NO_TRACES,
        traces("workerId=$worker", 100),
        size=(12, 10),
    ),
    panel(
        "table",
        "Failed traces",
        "Invocations with an error status: a failed outcome or a 5xx.",
        "No failed invocation of this worker in this time range.",
        traces("workerId=$worker error=true", 100),
        size=(12, 10),
    ),
]


def ledger(name: str) -> str:
    """Records per second of one column of the loss ledger."""
    return f"sum by (signal) (rate(otelbridge_export_{name}_total{{{_BRIDGE}}}[$__rate_interval]))"


_NO_BRIDGE = "No metrics of a bridge. Is OTEL_EXPORTER_OTLP_ENDPOINT set, and does `otelbridge check` reach the collector?"
_NO_COLLECTOR = "No metrics of a collector yet; it sends its own every 10 s."
_GOOD_IS_ZERO = {"thresholds": {"mode": "absolute", "steps": [{"color": "green", "value": None}, {"color": "red", "value": 1}]}}

BRIDGE = [
    stat(
        "Export lag",
        "Age of the oldest record that no destination has taken yet.",
        _NO_BRIDGE,
        metric(f"max(otelbridge_export_lag_seconds{{{_BRIDGE}}})"),
        unit="s",
        width=6,
    ),
    stat("Waiting", "Records whose fate is not known yet.", _NO_BRIDGE, metric(f"sum(otelbridge_export_queued{{{_BRIDGE}}})"), width=6),
    stat(
        "Rejected",
        "Records that a destination refused for good, since the bridge started.",
        _NO_BRIDGE,
        metric(f"sum(otelbridge_export_rejected_total{{{_BRIDGE}}})"),
        width=6,
        defaults=_GOOD_IS_ZERO,
    ),
    stat(
        "Dropped",
        "Records that were given up (spool or disk full, a limit), since the bridge started.",
        _NO_BRIDGE,
        metric(
            f"(sum(otelbridge_export_dropped_total{{{_BRIDGE}}}) or vector(0)) + sum(otelbridge_spool_untold_drops{{{_BRIDGE}}})",
        ),
        width=6,
        defaults=_GOOD_IS_ZERO,
    ),
    panel(
        "timeseries",
        "Emitted and delivered",
        "Records per second. The lines of a signal lie on each other while all is well.",
        _NO_BRIDGE,
        metric(ledger("emitted"), "emitted, {{signal}}"),
        metric(ledger("delivered"), "delivered, {{signal}}"),
        unit="cps",
    ),
    panel(
        "table",
        "Loss ledger",
        "emitted = delivered + queued + rejected + dropped, per destination and signal.",
        _NO_BRIDGE,
        *(
            metric(f"sum by (destination, signal) (otelbridge_export_{name}{{{_BRIDGE}}})", instant=True)
            for name in ("emitted_total", "delivered_total", "queued", "rejected_total")
        ),
        transformations=[
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {"Time": True},
                    "renameByName": {"Value #A": "emitted", "Value #B": "delivered", "Value #C": "queued", "Value #D": "rejected"},
                },
            },
        ],
    ),
    panel(
        "timeseries",
        "Spool",
        "Bytes on disk between workers and everything that reads their telemetry. It grows while a destination is away.",
        _NO_BRIDGE,
        metric(f"sum by (instance, spool) (otelbridge_spool_size_bytes{{{_BRIDGE}}})", "{{spool}} {{instance}}"),
        unit="bytes",
    ),
    panel(
        "timeseries",
        "Export lag by signal",
        "Age of the oldest record under way.",
        _NO_BRIDGE,
        metric(f"max by (destination, signal) (otelbridge_export_lag_seconds{{{_BRIDGE}}})", "{{destination}} {{signal}}"),
        unit="s",
    ),
    panel(
        "timeseries",
        "Requests to destinations",
        "Export requests per second, and those that failed and were tried again.",
        _NO_BRIDGE,
        metric(ledger("attempts"), "sent, {{signal}}"),
        metric(ledger("failures"), "failed, {{signal}}"),
        unit="reqps",
    ),
    panel(
        "timeseries",
        "Time of a request",
        "Mean time a destination took to answer.",
        _NO_BRIDGE,
        metric(
            f"sum by (signal) (rate(otelbridge_export_request_time_seconds_total{{{_BRIDGE}}}[$__rate_interval]))"
            f" / (sum by (signal) (rate(otelbridge_export_attempts_total{{{_BRIDGE}}}[$__rate_interval])) > 0)",
            "{{signal}}",
        ),
        unit="s",
    ),
    panel(
        "timeseries",
        "Collector: queue on disk",
        "Records that wait for their store, by exporter.",
        _NO_COLLECTOR,
        metric("sum by (exporter) (otelcol_exporter_queue_size)", "{{exporter}}"),
    ),
    panel(
        "timeseries",
        "Collector: taken and refused",
        "Log records and spans per second. What it refuses, the bridge keeps and sends again.",
        _NO_COLLECTOR,
        metric("sum(rate(otelcol_receiver_accepted_log_records_total[$__rate_interval]))", "logs taken"),
        metric("sum(rate(otelcol_receiver_accepted_spans_total[$__rate_interval]))", "spans taken"),
        metric("sum(rate(otelcol_receiver_refused_log_records_total[$__rate_interval]))", "logs refused"),
        metric("sum(rate(otelcol_receiver_refused_spans_total[$__rate_interval]))", "spans refused"),
        unit="cps",
    ),
]


def service() -> Panel:
    """The variable $service: one of the services that workers run as."""
    return {
        "name": "service",
        "label": "Service",
        "type": "query",
        "datasource": _SOURCES["prometheus"],
        "query": {"query": "label_values(faas_invoke_duration_seconds_count, job)", "refId": "service"},
        "definition": "label_values(faas_invoke_duration_seconds_count, job)",
        "refresh": 2,
        "sort": 1,
        "includeAll": False,
    }


def text_box(name: str, label: str, text: str, value: str = "") -> Panel:
    """A variable that is typed: workerIds come by the thousand, and Loki has no list of them."""
    options = {"text": value, "value": value}
    return {"name": name, "label": label, "description": text, "type": "textbox", "query": value, "current": options, "options": [options]}


def dashboard(name: str, title: str, text: str, panels: list[Panel], variables: list[Panel]) -> Panel:
    """A dashboard; panels are laid out in order, from left to right."""
    x = y = row = 0
    placed = []
    for number, one in enumerate(panels, 1):
        width, height = one["gridPos"]["w"], one["gridPos"]["h"]
        if x + width > 24:
            x, y, row = 0, y + row, 0
        placed.append({"id": number, **one, "gridPos": {"x": x, "y": y, "w": width, "h": height}})
        x, row = x + width, max(row, height)
    links = [
        {"title": "otelbridge", "type": "dashboards", "tags": ["otelbridge"], "asDropdown": True, "includeVars": True, "keepTime": True}
    ]
    return {
        "uid": f"otelbridge-{name}",
        "title": title,
        "description": text,
        "tags": ["otelbridge"],
        "schemaVersion": 41,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "links": links,
        "templating": {"list": variables},
        "panels": placed,
    }


DASHBOARDS = {
    "fleet": dashboard("fleet", "Workers", "All dynamic workers: traffic, failures, latency, cost, logs.", FLEET, [service()]),
    "worker": dashboard(
        "worker",
        "One worker",
        "Logs, traces and outcomes of one workerId.",
        WORKER,
        [
            service(),
            text_box("worker", "workerId", "Exactly as in the URL", "hello"),
            text_box("search", "Search", "Text or regular expression"),
        ],
    ),
    "bridge": dashboard("bridge", "otelbridge", "The bridge itself: spool, export, loss ledger; and the collector's queue.", BRIDGE, []),
}


def write(folder: Path = FOLDER) -> None:
    """Write the files that Grafana reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in DASHBOARDS.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
