"""`otelbridge workers`: list, put, show and remove the workers of a service."""

from __future__ import annotations

from pathlib import Path

import click

from otelbridge.cli.client import Absent, Client, Refused, service_options, worker_path
from otelbridge.cli.completion import complete_worker
from otelbridge.cli.output import emit, fail, is_pretty, jsonl, say, table

__all__ = ["WORKER_TYPES", "workers"]

# File names that are workers, and the content type each is sent with. Text forms of wasm are translated first.
WORKER_TYPES = {
    ".js": "application/javascript",
    ".mjs": "application/javascript",
    ".wasm": "application/wasm",
    ".wat": "application/wasm",
    ".json": "application/json",
}


@click.group()
def workers() -> None:
    """List, put, show and remove workers."""


@workers.command("list")
@service_options
def list_workers(url: str, token: str | None) -> None:
    """List the registered workers."""
    rows = Client(url, token).get("/v1/workers")["workers"]
    if not is_pretty():
        for row in rows:
            jsonl(row)
    elif rows:
        table(
            rows,
            ["workerId", "version", "mainModule", "isolation", "updated"],
            headings=["worker", "version", "main", "isolation", "updated"],
        )
    else:
        say("No workers yet. Register one with `otelbridge workers put ID FILE`.")


@workers.command("put")
@click.argument("worker_id", shell_complete=complete_worker)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@service_options
def put_worker(worker_id: str, file: Path, url: str, token: str | None) -> None:
    """Register a worker from a file: .js, .mjs, .wasm, .wat, or .json with WorkerCode."""
    body, content_type = worker_file(file)
    entry = Client(url, token).call("PUT", worker_path(worker_id), body, content_type)
    emit(entry)
    for warning in entry.get("warnings", ()):
        say(f"warning: {warning}")
    say(f"try: curl {url}{worker_path(worker_id).replace('/v1/workers', '/w')}/")


@workers.command("show")
@click.argument("worker_id", shell_complete=complete_worker)
@service_options
def show_worker(worker_id: str, url: str, token: str | None) -> None:
    """Show one worker with its counters and sources."""
    emit(Client(url, token).get(worker_path(worker_id)))


@workers.command("rm")
@click.argument("worker_ids", nargs=-1, required=True, shell_complete=complete_worker)
@service_options
def remove_workers(worker_ids: tuple[str, ...], url: str, token: str | None) -> None:
    """Remove workers. Their logs stay. An id that is not there keeps none of the others; the exit code is then 1."""
    client = Client(url, token)
    missing = []
    for worker_id in worker_ids:
        try:
            client.open("DELETE", worker_path(worker_id)).close()
        except Refused as e:
            if e.status != 404:
                client.explain(e)
            missing.append(worker_id)
        except Absent as e:
            client.explain_absence(e)
        else:
            say(f"removed {worker_id}")
    if missing:
        fail(f"no worker has the id {', '.join(repr(one) for one in missing)}")


def worker_file(file: Path) -> tuple[bytes, str]:
    """What to send for a worker file: the body and its content type."""
    content_type = WORKER_TYPES.get(file.suffix)
    if content_type is None:
        compiled = " TypeScript has to be compiled first, for example by esbuild." if file.suffix in (".ts", ".tsx", ".mts") else ""
        fail(f"{file.name}: a worker is a file of type {', '.join(WORKER_TYPES)}.{compiled}", 2)
    try:
        return (wat_file(file) if file.suffix == ".wat" else file.read_bytes()), content_type
    except OSError as e:
        fail(f"{file} can't be read: {e.strerror}.", 2)


def wat_file(file: Path) -> bytes:
    """A file with the text form of a wasm module, as its binary form."""
    from otelbridge.sandbox import wat
    from otelbridge.sandbox.wasm import Failure

    try:
        return wat(file.read_text("utf-8"))
    except (Failure, ValueError) as e:
        fail(f"{file.name} is not a wasm module in text form: {e}", 2)
