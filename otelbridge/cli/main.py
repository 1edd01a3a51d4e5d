"""The commands. Each imports what it needs when it runs: `otelbridge --help` must not pay for the engine."""

from __future__ import annotations

import sys
from typing import Any

import click

import otelbridge
from otelbridge.cli.output import fail
from otelbridge.errors import BridgeError

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(otelbridge.__version__, prog_name="otelbridge")
def cli() -> None:
    """Run dynamic workers in WebAssembly sandboxes and see what they do, as OpenTelemetry."""


@cli.command()
@click.option("--host", help="Address to listen on (127.0.0.1).")
@click.option("--port", type=int, help="Port to listen on (8787).")
@click.option("--processes", type=int, help="Loader processes; 0: one per core.")
@click.option("--data-dir", type=click.Path(file_okay=False), help="Where workers, spool and logs are kept (.otelbridge).")
@click.option("--config", type=click.Path(dir_okay=False, exists=True), help="Settings file (otelbridge.toml).")
@click.option("--reload", "reload_dir", type=click.Path(file_okay=False, exists=True), help="Load worker files from here, again whenever one changes.")
@click.option("--samples", is_flag=True, help="Load two sample workers, hello and shaky.")
@click.option("--insecure", is_flag=True, help="Listen beyond this machine although no token is set.")
def serve(config: str | None, samples: bool, insecure: bool, reload_dir: str | None, **flags: Any) -> None:
    """Run the service."""
    from otelbridge.cli.serve import run_service

    given = {"data_dir": flags["data_dir"], "server.host": flags["host"], "server.port": flags["port"], "server.processes": flags["processes"], "server.reload": reload_dir}
    run_service(config=config, flags={k: v for k, v in given.items() if v is not None}, samples=samples, insecure=insecure)


@cli.command()
@click.argument("file", type=click.Path(dir_okay=False, exists=True))
@click.option("--method", default="GET", show_default=True)
@click.option("--path", default="/", show_default=True)
@click.option("--data", help="Request body; @FILE reads it from a file.")
@click.option("--header", "headers", multiple=True, help="NAME: VALUE; may be repeated.")
def run(file: str, method: str, path: str, data: str | None, headers: tuple[str, ...]) -> None:
    """Run a worker file once, without a service: body to stdout, logs to stderr, exit 1 when it fails."""
    from otelbridge.cli.run import run_file

    sys.exit(run_file(file, method=method, path=path, data=data, headers=headers))


@cli.group()
@click.option("--url", envvar="OTELBRIDGE_URL", default="http://127.0.0.1:8787", show_default=True)
@click.option("--token", envvar="OTELBRIDGE_TOKEN")
@click.pass_context
def workers(context: click.Context, url: str, token: str | None) -> None:
    """List, register, show and remove workers."""
    from otelbridge.cli.client import Client

    context.obj = Client(url, token)


@workers.command("list")
@click.pass_obj
def workers_list(client: Any) -> None:
    """All registered workers."""
    from otelbridge.cli.output import table

    rows = client.get("/v1/workers")["workers"]
    table(rows, ["workerId", "version", "mainModule", "isolation"])


@workers.command("put")
@click.argument("worker_id")
@click.argument("file", type=click.Path(dir_okay=False, exists=True))
@click.pass_obj
def workers_put(client: Any, worker_id: str, file: str) -> None:
    """Register a worker from a .js, .wasm or .json (WorkerCode) file."""
    from otelbridge.cli.output import emit

    emit(client.put_worker(worker_id, file))


@workers.command("show")
@click.argument("worker_id")
@click.pass_obj
def workers_show(client: Any, worker_id: str) -> None:
    """One worker with its sources."""
    from otelbridge.cli.output import emit

    emit(client.get(client.path("/v1/workers", worker_id)))


@workers.command("rm")
@click.argument("worker_id")
@click.pass_obj
def workers_rm(client: Any, worker_id: str) -> None:
    """Remove a worker."""
    client.request("DELETE", client.path("/v1/workers", worker_id))
    click.echo(f"removed {worker_id}", err=True)


@cli.command()
@click.argument("query", default="")
@click.option("--since", default="1h", show_default=True)
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000))
@click.option("--url", envvar="OTELBRIDGE_URL", default="http://127.0.0.1:8787", show_default=True)
@click.option("--token", envvar="OTELBRIDGE_TOKEN")
def logs(query: str, since: str, limit: int, url: str, token: str | None) -> None:
    """Search the log store, oldest line last."""
    from otelbridge.cli.client import Client
    from otelbridge.cli.output import print_record

    found = Client(url, token).get("/v1/logs", q=query, since=since, limit=str(limit))["logs"]
    for record in reversed(found):
        print_record(record)


@cli.command()
@click.argument("worker", required=False)
@click.option("--format", "form", type=click.Choice(["pretty", "json"]), help="pretty on a terminal, else json.")
@click.option("--level", multiple=True)
@click.option("--status", multiple=True, help="ok, error, canceled, a code or 5xx.")
@click.option("--method", multiple=True)
@click.option("--header", multiple=True, help="NAME or NAME:VALUE.")
@click.option("--search", help="Text in the line.")
@click.option("--sampling-rate", type=click.FloatRange(0, 1))
@click.option("--ip", multiple=True)
@click.option("--url", envvar="OTELBRIDGE_URL", default="http://127.0.0.1:8787", show_default=True)
@click.option("--token", envvar="OTELBRIDGE_TOKEN")
def tail(worker: str | None, form: str | None, url: str, token: str | None, **filters: Any) -> None:
    """Show records as they happen."""
    from otelbridge.cli.client import Client
    from otelbridge.cli.tail import follow

    follow(Client(url, token), worker, form, filters)


@cli.command()
@click.option("--url", envvar="OTELBRIDGE_URL", default="http://127.0.0.1:8787", show_default=True)
@click.option("--token", envvar="OTELBRIDGE_TOKEN")
def exports(url: str, token: str | None) -> None:
    """The loss ledger: what was emitted, delivered, queued, rejected and dropped."""
    from otelbridge.cli.client import Client
    from otelbridge.cli.output import emit

    emit(Client(url, token).get("/v1/exports"))


@cli.command()
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--url", envvar="OTELBRIDGE_URL", default="http://127.0.0.1:8787", show_default=True)
@click.option("--token", envvar="OTELBRIDGE_TOKEN")
def query(file: Any, url: str, token: str | None) -> None:
    """Run a query document (JSON, as for POST /v1/query) from FILE or stdin."""
    from otelbridge.cli.client import Client
    from otelbridge.cli.output import emit

    emit(Client(url, token).request("POST", "/v1/query", file.read(), "application/json"))


@cli.command()
@click.option("--config", type=click.Path(dir_okay=False, exists=True))
@click.option("--probe/--no-probe", default=True, help="Ask each destination whether it is there.")
def check(config: str | None, probe: bool) -> None:
    """Show every setting with its source, and what is sent where."""
    from otelbridge.cli.check import report

    sys.exit(report(config, probe=probe))


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script: eval "$(otelbridge completion bash)"."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    if made is None:
        fail(f"no completion for {shell}")
    click.echo(made(cli, {}, "otelbridge", "_OTELBRIDGE_COMPLETE").source())


def main() -> None:
    """Run a command; an error of ours is one line and its exit code, never a traceback."""
    try:
        cli.main(standalone_mode=False, complete_var="_OTELBRIDGE_COMPLETE")
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as e:
        e.show()
        sys.exit(e.exit_code)
    except BridgeError as e:
        fail(str(e), e.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
