"""Requests and responses of WASI commands: CGI (RFC 3875) without a server's file system."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from otelbridge.sandbox.core.exchange import Answer, check_answer
from otelbridge.sandbox.stop import Stop

__all__ = ["decode", "environment"]


def environment(method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes) -> dict[str, str]:
    """The meta-variables of a request."""
    parts = urlsplit(url)
    path = parts.path or "/"
    env = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": "otelbridge",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": parts.hostname or "",
        "SERVER_PORT": str(_port(parts.netloc, parts.scheme)),
        "REQUEST_METHOD": method,
        "REQUEST_URI": path + (f"?{parts.query}" if parts.query else ""),
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(path),
        "QUERY_STRING": parts.query,
        "CONTENT_LENGTH": str(len(body)) if body else "",
    }
    if parts.scheme == "https":
        env["HTTPS"] = "on"
    for name, value in headers:
        # "X-A" and "X_A" would meet in one variable, and HTTP_PROXY is read as a setting by many programs (httpoxy).
        key = name.upper().replace("-", "_")
        if "_" in name or key == "PROXY":
            continue
        if key == "CONTENT_TYPE":
            env[key] = value
        elif key != "CONTENT_LENGTH":
            key = f"HTTP_{key}"
            env[key] = f"{env[key]}{'; ' if key == 'HTTP_COOKIE' else ', '}{value}" if key in env else value
    return {name: value.replace("\0", "") for name, value in env.items()}


def _port(netloc: str, scheme: str) -> int:
    _, _, port = netloc.rpartition("@")[2].rpartition(":")
    return int(port) if port.isdigit() and len(port) < 6 else (443 if scheme == "https" else 80)


def decode(output: bytes) -> Answer:
    """A command's response: headers, an empty line, the body. Stop("exception", "TypeError") when it is not one."""
    head, body = _head(output)
    status: int | None = None
    headers: list[tuple[str, str]] = []
    for line in head:
        name, colon, value = line.partition(":")
        if not colon:
            raise _wrong(f"a line of its head is no header: {line[:100]!r}")
        value = value.strip(" \t")
        if name.lower() == "status":
            code = value.split(" ", 1)[0]
            if not (code.isascii() and code.isdigit() and len(code) == 3):
                raise _wrong(f"its status is no number: {value[:100]!r}")
            status = int(code)
        else:
            headers.append((name, value))
    if status is None:
        status = 302 if any(name.lower() == "location" for name, _ in headers) else 200
    return check_answer(status, headers, body)


def _head(output: bytes) -> tuple[list[str], bytes]:
    lines: list[str] = []
    at = 0
    while True:
        end = output.find(b"\n", at)
        if end < 0:
            raise _wrong("it has no empty line between headers and body" if output else "it wrote nothing to stdout")
        line = output[at:end].removesuffix(b"\r")
        at = end + 1
        if not line:
            return lines, output[at:]
        try:
            lines.append(line.decode())
        except UnicodeDecodeError:
            raise _wrong("its headers are not UTF-8") from None


def _wrong(why: str) -> Stop:
    return Stop("exception", "TypeError", f"The command's response is not valid: {why}")
