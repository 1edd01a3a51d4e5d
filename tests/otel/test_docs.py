"""docs/export.md and docs/telemetry.md name every variable, attribute and metric there is. Run this file to write the tables anew:
python -m tests.otel.test_docs"""

from __future__ import annotations

import re
from pathlib import Path

from otelbridge.otel.aggregate import INSTRUMENTS
from otelbridge.otel.environment import LOGS, Environment
from otelbridge.otel.ledger import Account, Ledger
from otelbridge.otel.measures import measures

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
SIGNAL = re.compile(r"OTEL_EXPORTER_OTLP_(LOGS|TRACES|METRICS)_(?!TEMPORALITY|DEFAULT)")

WHAT = {
    "OTEL_SDK_DISABLED": 'Only `true` turns export off, of every destination.',
    "OTEL_SERVICE_NAME": "`service.name`, unless the setting has it.",
    "OTEL_RESOURCE_ATTRIBUTES": "`key=value,…`, percent-encoded.",
    "OTEL_PROPAGATORS": "Without `tracecontext`, `traceparent` is neither read nor sent.",
    "OTEL_TRACES_SAMPLER": "When set, it decides on spans instead of `observability.traces`.",
    "OTEL_TRACES_SAMPLER_ARG": "The share that is kept by the `traceidratio` samplers.",
    "OTEL_EXPORTER_OTLP_*_ENDPOINT": "Of a signal: taken as it is. The common one is a base: `/v1/logs`, `/v1/traces`, `/v1/metrics` are added (not for gRPC).",
    "OTEL_*_EXPORTER": "`otlp`, `console`, `none`, or a list. `otlp` where an endpoint is set.",
    "OTEL_EXPORTER_OTLP_*_PROTOCOL": "`http/protobuf`, `http/json`, `grpc`.",
    "OTEL_EXPORTER_OTLP_*_INSECURE": "`true`: a gRPC endpoint without a scheme is not encrypted.",
    "OTEL_EXPORTER_OTLP_*_HEADERS": "`key=value,…`, values percent-encoded. Never shown.",
    "OTEL_EXPORTER_OTLP_*_COMPRESSION": "`gzip` or `none`.",
    "OTEL_EXPORTER_OTLP_*_TIMEOUT": "Milliseconds of one attempt.",
    "OTEL_EXPORTER_OTLP_*_CERTIFICATE": "PEM file of the authorities to trust.",
    "OTEL_EXPORTER_OTLP_*_CLIENT_CERTIFICATE": "PEM file of the exporter's own certificate.",
    "OTEL_EXPORTER_OTLP_*_CLIENT_KEY": "PEM file of its key.",
    "OTEL_B*_MAX_QUEUE_SIZE": "Records in memory at a time; the rest waits in the spool. Nothing is dropped.",
    "OTEL_B*_SCHEDULE_DELAY": "Milliseconds until a batch leaves that is not full.",
    "OTEL_B*_EXPORT_TIMEOUT": "Read and shown; an export is tried until it is settled, so nothing ends by it.",
    "OTEL_B*_MAX_EXPORT_BATCH_SIZE": "Most records of a request.",
    "OTEL_*_ATTRIBUTE_COUNT_LIMIT": "Most attributes of a record; `OTEL_ATTRIBUTE_COUNT_LIMIT` is the common one. Those beyond are counted in the record.",
    "OTEL_*_ATTRIBUTE_VALUE_LENGTH_LIMIT": "Most characters of an attribute's text; `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT` is the common one.",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "`cumulative`, `delta` or `lowmemory` (as delta).",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "`explicit_bucket_histogram` or `base2_exponential_bucket_histogram`.",
    "OTEL_METRIC_EXPORT_INTERVAL": "Milliseconds between metrics.",
    "OTEL_METRIC_EXPORT_TIMEOUT": "Read and shown; an export of metrics has an interval's time, at least 5 s. What did not get through is in the next one.",
    "OTEL_METRICS_EXEMPLAR_FILTER": "`trace_based`, `always_on`, `always_off`.",
    "OTEL_CONFIG_FILE": "Not supported; a warning says so.",
}  # fmt: skip


def general(name: str) -> str:
    """A variable's name with a star where there is one for each signal."""
    name = SIGNAL.sub(r"OTEL_EXPORTER_OTLP_*_", name)
    name = re.sub(r"^OTEL_(LOGS|TRACES|METRICS)_EXPORTER$", "OTEL_*_EXPORTER", name)
    name = re.sub(r"^OTEL_(BLRP|BSP)_", "OTEL_B*_", name)
    return re.sub(r"^OTEL_(LOGRECORD|SPAN)_ATTRIBUTE", "OTEL_*_ATTRIBUTE", name)


def variables() -> str:
    """The table of variables."""
    names: dict[str, list[str]] = {}
    for shown in Environment({}).shown:
        names.setdefault(general(shown.name), []).append(f"`{shown.name}` {shown.value}")
    lines = ["| variable | default | what |", "|---|---|---|"]
    for name, of in names.items():
        values = {one.partition(" ")[2] for one in of}
        default = values.pop() if len(values) == 1 else ", ".join(of)
        common = f"`{name.replace('_*_', '_')}`, `{name.replace('*', '{LOGS,TRACES,METRICS}')}`" if "OTLP_*" in name else ""
        shown_name = common or ", ".join(f"`{one.split('`')[1]}`" for one in of)
        lines.append(f"| {shown_name} | {default} | {WHAT[name]} |")
    return "\n".join(lines) + "\n"


class Lane:
    """A lane that has seen everything."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.ledger.accounts["w"] = Account(2, 1, 0, {"sampled": 1})
        self.sender = type("Sender", (), {"attempts": 1, "failures": 1, "seconds": 1.0})
        self.intake = type("Intake", (), {"truncated": 1})
        self.undecodable = 0

    def lag_s(self) -> float:
        return 0.0


def metrics(spool: Path) -> str:
    """The table of metrics."""
    lines = ["| metric | kind | unit | what |", "|---|---|---|---|"]
    for name, instrument in INSTRUMENTS.items():
        lines.append(f"| `{name}` | {'histogram' if instrument.bounds else 'counter'} | {instrument.unit} | {instrument.text} |")
    for measure in measures({("otlp", LOGS): Lane()}, [spool], {}):
        lines.append(f"| `{measure.name}` | {'counter' if measure.grows else 'gauge'} | {measure.unit} | {measure.text} |")
    return "\n".join(lines) + "\n"


def part_of(page: str, mark: str) -> str:
    return (DOCS / page).read_text("utf-8").partition(f"<!-- {mark} -->\n")[2].strip()


def test_the_variables_are_all_in_the_page() -> None:
    """The table of docs/export.md has every variable that is read, with its default."""
    assert part_of("export.md", "variables") == variables().strip()


def test_the_metrics_are_all_in_the_page(tmp_path: Path) -> None:
    """The table of docs/telemetry.md has every metric with its kind and unit."""
    assert part_of("telemetry.md", "metrics") == metrics(tmp_path).strip()


def test_every_attribute_is_in_the_page() -> None:
    """Each attribute that the code can set is named in docs/telemetry.md."""
    page = (DOCS / "telemetry.md").read_text("utf-8")
    source = "".join(path.read_text("utf-8") for path in (ROOT / "otelbridge" / "otel").glob("*.py") if path.name not in ("points.py",))
    found = set(
        re.findall(r'"((?:otelbridge|faas|http|url|server|client|user_agent|exception|error|rpc|messaging|log)\.[a-z_.]+[a-z])"', source)
    )
    internal = {name for name in found if name.startswith(("otelbridge.otel", "otelbridge.spool", "otelbridge.export."))}
    missing = {name for name in found - internal if f"`{name}`" not in page}
    assert missing == set()
    assert len(found - internal) > 40


def test_every_reason_is_in_the_ledgers_page() -> None:
    """Each reason that records are dropped for is explained."""
    page = (DOCS / "loss-ledger.md").read_text("utf-8")
    for reason in ("sampled", "filtered", "disabled", "retries_exhausted", "spool_full", "disk_full", "io_error", "too_large", "closed"):
        assert f"`{reason}`" in page


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name, mark, table in (("export.md", "variables", variables()), ("telemetry.md", "metrics", metrics(Path(folder)))):
            head = (DOCS / name).read_text("utf-8").partition(f"<!-- {mark} -->\n")[0]
            (DOCS / name).write_text(f"{head}<!-- {mark} -->\n\n{table}", "utf-8")
