"""The service's own log on stderr: lines of text for people, or of JSON for what collects the logs of a machine."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import msgspec

from otelbridge.cli.output import say
from otelbridge.model.record import clean_text, rfc3339

__all__ = ["JsonLines", "log_to_stderr", "tell"]

_encode = msgspec.json.Encoder().encode


class JsonLines(logging.Formatter):
    """One JSON object for each record: time, level, logger, message; process, workerId and exception where they are known.

    A log call says whom it is about with `extra={"worker_id": ...}`.
    """

    def __init__(self, process: str | None = None) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": rfc3339(int(record.created * 1_000_000) * 1_000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _clean(record.getMessage()),
        }
        if self._process is not None:
            line["process"] = self._process
        worker_id = getattr(record, "worker_id", None)
        if worker_id is not None:
            line["workerId"] = _clean(str(worker_id))
        if record.exc_info:
            line["exception"] = _clean(self.formatException(record.exc_info))
        return _encode(line).decode()


def _clean(text: str) -> str:
    """A text that can be encoded: lone surrogates stand in names of files and in what exceptions quote."""
    return clean_text(text.encode("utf-8", "replace").decode())


def log_to_stderr(form: Literal["text", "json"], *, process: str | None = None) -> None:
    """Log from now on so, also when it was done otherwise before. `process`: its name, in a service of several."""
    named = "" if process is None else f" {process}"
    text = logging.Formatter(f"%(asctime)s %(levelname)s{named} %(name)s: %(message)s")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(process) if form == "json" else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def tell(message: str) -> None:
    """A line of the service to whoever started it: talk, or a record of the log where that is read by machines."""
    if any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers):
        logging.getLogger("otelbridge.serve").info("%s", message.strip())
    else:
        say(message)
