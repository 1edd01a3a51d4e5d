"""The service's HTTP API, as the client commands use it. Standard library only: these commands should start at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlencode

import click

from otelbridge.cli.output import fail, waiting
from otelbridge.errors import SettingsError

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from urllib.error import HTTPError

__all__ = ["Absent", "Client", "Refused", "client_of", "service_options", "with_query", "worker_path"]

DEFAULT_URL = "http://127.0.0.1:8787"


class Refused(Exception):
    """The service answered with an error. `retry`: whether it may go away by itself."""

    def __init__(self, message: str, *, status: int, column: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.column = column

    @property
    def retry(self) -> bool:
        return self.status >= 500


class Absent(Exception):
    """Nothing answers, or the connection broke."""


class Client:
    """One service."""

    def __init__(self, url: str, token: str | None, *, timeout_s: float | None = 60.0) -> None:
        if not url.startswith(("http://", "https://")):
            fail(f"--url must begin with http:// or https://, not {url}", 2)
        self.url = url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s

    def get(self, path: str, query: Iterable[tuple[str, Any]] = ()) -> Any:
        """A JSON document."""
        return self.call("GET", with_query(path, query))

    def call(self, method: str, path: str, body: bytes | None = None, content_type: str | None = None) -> Any:
        """A JSON document, None for an empty answer. An error ends the command, with what to do next."""
        try:
            with (
                waiting(f"waiting for {self.url}"),
                self.open(method, path, body, {"content-type": content_type} if content_type else {}) as answer,
            ):
                data = answer.read()
        except Refused as e:
            self.explain(e)
        except Absent as e:
            self.explain_absence(e)
        return json.loads(data) if data else None

    def open(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> HTTPResponse:
        """An open answer. Raises Refused or Absent."""
        # Imported late: these modules cost more than all the rest of `otelbridge --help`.
        from http.client import HTTPException
        from urllib.error import HTTPError, URLError
        from urllib.request import ProxyHandler, Request, build_opener

        sent = dict(headers or {})
        if self._token:
            sent["authorization"] = f"Bearer {self._token}"
        # A proxy of the environment is for the world outside; a service on this machine is not there.
        local = any(name in self.url for name in ("//127.", "//localhost", "//[::1]"))
        opener = build_opener(ProxyHandler({})) if local else build_opener()
        try:
            return opener.open(Request(self.url + path, data=body, method=method, headers=sent), timeout=self._timeout_s)  # type: ignore[no-any-return]
        except HTTPError as e:
            with e:
                raise _refused(e) from None
        except URLError as e:
            raise Absent(str(e.reason)) from None
        except (OSError, HTTPException) as e:
            raise Absent(str(e) or type(e).__name__) from None

    def explain(self, error: Refused) -> NoReturn:
        """End the command with what the service said, and what to do about it."""
        hint = {401: " Give --token, or set OTELBRIDGE_TOKEN."}.get(error.status, "")
        fail(f"{error}{hint}")

    def explain_absence(self, error: Absent) -> NoReturn:
        """End the command because nothing answers."""
        fail(f"{self.url} does not answer ({error}). Start it with `otelbridge serve`, or say where it is with --url or OTELBRIDGE_URL.")


def with_query(path: str, query: Iterable[tuple[str, Any]]) -> str:
    """A path with a query; members without a value are left out."""
    pairs = [(name, value) for name, value in query if value is not None]
    return f"{path}?{urlencode(pairs)}" if pairs else path


def worker_path(worker_id: str) -> str:
    """The path of a worker, whatever characters its id has."""
    return f"/v1/workers/{quote(worker_id, safe='')}"


def service_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --url and --token, for commands that ask a service."""
    url = click.option("--url", envvar="OTELBRIDGE_URL", default=default_url, help=f"The service to ask.  [default: {DEFAULT_URL}]")
    token = click.option("--token", envvar=["OTELBRIDGE_TOKEN", "OTELBRIDGE_AUTH_TOKEN"], help="Its auth.token.")
    return url(token(command))


def default_url() -> str:
    """Where `otelbridge serve` listens when it is started here: the port, and the address, of its variables and its settings
    file. SettingsError as it would say."""
    if _has_file():
        from otelbridge.settings import Settings  # late: it takes longer than all the rest

        try:
            server = Settings().server
        except SettingsError:
            context = click.get_current_context(silent=True)
            if context is not None and context.resilient_parsing:
                return DEFAULT_URL  # shell completion: no words but those that are offered
            raise
        host, port = server.host, str(server.port)
    else:
        host, port = os.environ.get("OTELBRIDGE_SERVER_HOST", ""), os.environ.get("OTELBRIDGE_SERVER_PORT", "")
    everywhere = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}
    host = everywhere.get(host) or (f"[{host}]" if ":" in host else host)
    return f"http://{host}:{port if port.isdigit() and int(port) else 8787}"


def _has_file() -> bool:
    """Whether there may be a settings file: a pyproject.toml mostly has nothing for us."""
    if os.environ.get("OTELBRIDGE_CONFIG") or Path("otelbridge.toml").exists():
        return True
    try:
        return b"otelbridge" in Path("pyproject.toml").read_bytes()
    except OSError:
        return False


def client_of(context: click.Context) -> Client:
    """A client for shell completion: quick, and silent when there is no service."""
    options = {**(context.parent.params if context.parent else {}), **context.params}
    return Client(options.get("url") or default_url(), options.get("token"), timeout_s=0.5)


def _refused(error: HTTPError) -> Refused:
    try:
        problem = json.loads(error.read())
        text = f"{problem['title']}: {problem['detail']}"
        if isinstance(problem.get("column"), int):
            return Refused(text, status=error.code, column=problem["column"])
        return Refused(text, status=error.code)
    except (ValueError, KeyError, TypeError):
        text = f"{error.url} answered {error.code} {error.reason}, and not as otelbridge does. If this is another program, "
        return Refused(text + "say where otelbridge is with --url or OTELBRIDGE_URL.", status=error.code)
