"""How settings are read: find the file, put flags, environment, file and defaults in order, check each value alone."""

from __future__ import annotations

import difflib
import functools
import ipaddress
import math
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_type_hints

import msgspec

from otelbridge.errors import SettingsError
from otelbridge.settings import sections
from otelbridge.settings.sections import Section, Tree

__all__ = ["Entry", "Settings", "check_exposure", "entries"]

PREFIX: Final = "OTELBRIDGE_"
# Not settings of the service: which file to read, and where the client commands go.
OTHER_VARIABLES: Final = frozenset({"OTELBRIDGE_CONFIG", "OTELBRIDGE_URL", "OTELBRIDGE_TOKEN"})

_SIZE = re.compile(r"^(\d+)\s*([KMGT]i?)?B?$", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}


class Entry(msgspec.Struct, frozen=True):
    """One setting: its dotted key, its environment variable, type, default and what is said about it."""

    key: str
    variable: str
    type: Any
    default: Any
    text: str
    allowed: str
    secret: bool

    def row(self) -> str:
        """The setting as a row of the table in docs/settings.md."""
        default = "" if self.default is None else f"`{_shown(self.default, self)}`"
        return f"| `{self.key}` | `{self.variable}` | {default} | {self.allowed} | {self.text} |"


@functools.cache
def entries() -> dict[str, Entry]:
    """All settings by dotted key, in the order of the documentation."""
    return {entry.key: entry for entry in _walk(Tree, "")}


class Settings:
    """All settings, checked. Sections are attributes (`settings.server.port`); `sources` says where each value came from.

    `environ`: the environment, os.environ by default. `file`: a TOML file; by default $OTELBRIDGE_CONFIG, otelbridge.toml or
    [tool.otelbridge] in pyproject.toml of the current directory. `flags`: values by dotted key; None counts as not given.
    Raises SettingsError, which names the setting, its source and what is allowed.
    """

    data_dir: Path
    server: sections.ServerSettings
    auth: sections.AuthSettings
    outbound: sections.OutboundSettings
    limits: sections.LimitSettings
    limits_max: sections.MaximumSettings
    sandbox: sections.SandboxSettings
    spool: sections.SpoolSettings
    store: sections.StoreSettings
    export: sections.ExportSettings
    observability: sections.ObservabilitySettings
    service: sections.ServiceSettings
    telemetry: sections.TelemetrySettings
    log: sections.LogSettings

    def __init__(
        self,
        *,
        environ: Mapping[str, str] | None = None,
        file: Path | str | None = None,
        flags: Mapping[str, Any] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        known = entries()
        self.file, in_file = _read_file(environ, file, known)
        in_environment = _read_environment(environ, known)
        in_flags = {key: value for key, value in (flags or {}).items() if value is not None}
        _refuse_unknown(in_flags, known, "a flag")

        self.sources: dict[str, str] = {}
        values: dict[str, Any] = {}
        for key, entry in known.items():
            if key in in_flags:
                source, value = "flag", in_flags[key]
            elif key in in_environment:
                source, value = f"environment {entry.variable}", in_environment[key]
            elif key in in_file:
                source, value = f"file {self.file}", in_file[key]
            else:
                source, value = "default", entry.default
            self.sources[key] = source
            values[key] = entry.default if source == "default" else _convert(entry, value, source)
        for name in sections.LimitSettings.__struct_fields__:
            if self.sources[f"limits.{name}"] == "default":  # whoever lowers a maximum need not lower the default too
                values[f"limits.{name}"] = min(values[f"limits.{name}"], values[f"limits_max.{name}"])
        if self.file is not None:
            _anchor(values, self.sources, self.file.parent)
        self._set(values)
        self._check_together()

    @property
    def loopback(self) -> bool:
        """Whether the service is bound to this machine only."""
        return is_loopback(self.server.host)

    @property
    def expose_errors(self) -> bool:
        """`server.expose_errors`, decided: on while bound to loopback unless it is set."""
        return self.loopback if self.server.expose_errors is None else self.server.expose_errors

    @property
    def cache_dir(self) -> Path:
        """`sandbox.cache_dir`, decided: in the data directory unless it is set."""
        return self.sandbox.cache_dir or self.data_dir / "cache"

    @property
    def images_dir(self) -> Path:
        """Where the processes of one service keep what they share for as long as it lives."""
        return self.data_dir / "images"

    def dump(self) -> bytes:
        """All values, for another process to restore(). They hold secrets: not for a command line."""
        values = {key: _value_of(self, key) for key in entries()}
        return msgspec.json.encode({"values": values, "sources": self.sources}, enc_hook=str)

    @classmethod
    def restore(cls, dumped: bytes) -> Settings:
        """The settings that dump() was called on, whatever files and environment say by now."""
        stored = msgspec.json.decode(dumped)
        settings = cls.__new__(cls)
        settings.file = None
        settings.sources = stored["sources"]
        known = entries()
        settings._set({key: msgspec.convert(value, known[key].type, dec_hook=_path) for key, value in stored["values"].items()})
        return settings

    def _set(self, values: Mapping[str, Any]) -> None:
        for name in Tree.__struct_fields__:
            setattr(self, name, _build(_hints(Tree)[name], name, values))

    def shown(self) -> Iterator[tuple[str, str, str]]:
        """Key, value as text with secrets masked, and source of every setting."""
        for key, entry in entries().items():
            yield key, _shown(_value_of(self, key), entry), self.sources[key]

    def _check_together(self) -> None:
        for name in sections.LimitSettings.__struct_fields__:
            value, most = getattr(self.limits, name), getattr(self.limits_max, name)
            if value > most:
                raise SettingsError(
                    f"limits.{name} is {value} ({self.sources[f'limits.{name}']}), more than limits_max.{name}, which is {most}"
                    f" ({self.sources[f'limits_max.{name}']}). Lower the one or raise the other."
                )
        names = [d.name for d in self.export.destinations]
        for name in names:
            if names.count(name) > 1:
                raise SettingsError(f"export.destinations ({self.sources['export.destinations']}): two destinations are called {name!r}.")


def check_exposure(settings: Settings, *, insecure: bool) -> None:
    """Refuse, with a SettingsError, an address that others can reach while there is no token."""
    if not settings.loopback and settings.auth.token is None and not insecure:
        raise SettingsError(
            f"server.host is {settings.server.host} ({settings.sources['server.host']}), which others can reach, and auth.token is not set."
            " Set OTELBRIDGE_AUTH_TOKEN, listen on 127.0.0.1, or say --insecure."
        )


def is_loopback(host: str) -> bool:
    """Whether a host that one listens on can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


# ------------------------------------------------------------------------------------------------ the three sources


def _read_file(environ: Mapping[str, str], file: Path | str | None, known: Mapping[str, Entry]) -> tuple[Path | None, dict[str, Any]]:
    named = file or environ.get("OTELBRIDGE_CONFIG")
    for path in [Path(named)] if named else [Path("otelbridge.toml"), Path("pyproject.toml")]:
        try:
            tree = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            if named:
                raise SettingsError(f"The settings file {path} does not exist.") from None
            continue
        except (OSError, ValueError) as e:
            if not named and path.name == "pyproject.toml":
                continue  # somebody else's file; not ours to judge
            raise SettingsError(f"The settings file {path} can't be read: {e}.") from e
        if path.name == "pyproject.toml":
            tree = tree.get("tool", {}).get("otelbridge")
            if tree is None:
                continue
        return path, dict(_flatten(tree, "", known, path))
    return None, {}


def _flatten(tree: Mapping[str, Any], prefix: str, known: Mapping[str, Entry], path: Path) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        key = prefix + name
        if key in known:
            yield key, value
        elif any(k.startswith(key + ".") for k in known):
            if not isinstance(value, Mapping):
                raise SettingsError(f"{key} in {path} is a section: write it as a table [{key}].")
            yield from _flatten(value, key + ".", known, path)
        else:
            names = sorted({prefix + k.removeprefix(prefix).split(".")[0] for k in known if k.startswith(prefix)} | set(known))
            raise SettingsError(f"Unknown setting {key} in {path}.{_did_you_mean(key, names)}")


def _read_environment(environ: Mapping[str, str], known: Mapping[str, Entry]) -> dict[str, Any]:
    by_variable = {entry.variable: entry for entry in known.values()}
    found = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or name in OTHER_VARIABLES:
            continue
        if name not in by_variable:
            raise SettingsError(f"Unknown environment variable {name}.{_did_you_mean(name, [*by_variable, *OTHER_VARIABLES])}")
        if text.strip():  # empty means unset, as with the OTEL_* variables
            found[by_variable[name].key] = text.strip()
    return found


def _refuse_unknown(given: Mapping[str, Any], known: Mapping[str, Entry], where: str) -> None:
    for key in given:
        if key not in known:
            raise SettingsError(f"Unknown setting {key} in {where}.{_did_you_mean(key, list(known))}")


def _did_you_mean(word: str, words: list[str]) -> str:
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else " See docs/settings.md for all settings."


# ------------------------------------------------------------------------------------------------------- one value


def _convert(entry: Entry, value: Any, source: str) -> Any:
    given = value
    try:
        if isinstance(value, str):
            value = _from_text(entry, value)
        value = msgspec.convert(value, entry.type, strict=not isinstance(given, str), dec_hook=_path)
        if isinstance(value, float) and not math.isfinite(value):
            raise msgspec.ValidationError("Expected a finite number")
        return value
    except (msgspec.ValidationError, msgspec.DecodeError) as e:
        shown = "the given value" if entry.secret else f"{given!r:.200}"
        where = f" ({e})" if entry.key == "export.destinations" else ""
        raise SettingsError(f"{entry.key} can't be {shown} ({source}); allowed: {entry.allowed}.{where}") from e


def _from_text(entry: Entry, text: str) -> Any:
    if entry.key == "export.destinations":
        return msgspec.json.decode(text)
    if _kind(entry.type) is msgspec.inspect.ListType:
        return [item.strip() for item in text.split(",") if item.strip()]
    if entry.key.endswith("_bytes") and (size := _SIZE.match(text)):
        unit = (size[2] or "").lower()
        return int(size[1]) * ((1024 if unit.endswith("i") else 1000) ** _POWERS[unit[0]] if unit else 1)
    if entry.key.endswith("_seconds") and (duration := _DURATION.match(text)):
        seconds = float(duration[1]) * _SECONDS[duration[2]]
        return int(seconds) if seconds.is_integer() else seconds
    return text


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str | Path) and str(value):
        return Path(value)
    raise msgspec.ValidationError(f"Expected a path, got {value!r}")


def _value_of(settings: Settings, key: str) -> Any:
    value: Any = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _anchor(values: dict[str, Any], sources: Mapping[str, str], directory: Path) -> None:
    """Relative paths in a file are meant from that file."""
    for key, value in values.items():
        if isinstance(value, Path) and sources[key].startswith("file "):
            values[key] = directory / value


def _build(kind: Any, prefix: str, values: Mapping[str, Any]) -> Any:
    if not (isinstance(kind, type) and issubclass(kind, Section)):
        return values[prefix]
    hints = _hints(kind)
    return kind(**{name: _build(hints[name], f"{prefix}.{name}", values) for name in kind.__struct_fields__})


# ---------------------------------------------------------------------------------------------------- the catalogue


@functools.cache
def _hints(kind: type[Section]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _walk(kind: type[Section], prefix: str) -> Iterator[Entry]:
    hints = _hints(kind)
    for field in msgspec.structs.fields(kind):
        declared = hints[field.name]
        key = prefix + field.name
        if isinstance(declared, type) and issubclass(declared, Section):
            yield from _walk(declared, key + ".")
            continue
        meta = declared.__metadata__[0]
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        variable = PREFIX + key.replace(".", "_").upper()
        yield Entry(key, variable, declared, default, meta.description, _allowed(key, declared), bool((meta.extra or {}).get("secret")))


def _kind(declared: Any) -> type:
    return type(_bare(declared))


def _bare(declared: Any) -> Any:
    """msgspec's description of a type, without metadata and without None."""
    info = msgspec.inspect.type_info(declared)
    while isinstance(info, msgspec.inspect.Metadata | msgspec.inspect.UnionType):
        info = (
            info.type
            if isinstance(info, msgspec.inspect.Metadata)
            else next(t for t in info.types if not isinstance(t, msgspec.inspect.NoneType))
        )
    return info


def _allowed(key: str, declared: Any) -> str:
    info = _bare(declared)
    if isinstance(info, msgspec.inspect.BoolType):
        return "true or false"
    if isinstance(info, msgspec.inspect.IntType | msgspec.inspect.FloatType):
        word = "a whole number" if isinstance(info, msgspec.inspect.IntType) else "a number"
        bounds = f" above {info.gt:g}" if info.gt is not None else f" from {info.ge}" if info.ge is not None else ""
        bounds += f" to {info.le}" if info.le is not None else ""
        unit = ", or text like 16MiB" if key.endswith("_bytes") else ", or text like 90s, 1h, 7d" if key.endswith("_seconds") else ""
        return word + bounds + unit
    if isinstance(info, msgspec.inspect.ListType):
        return "a list of tables" if key == "export.destinations" else "a list of words (in a variable: with commas)"
    return "a path" if isinstance(info, msgspec.inspect.CustomType) else "text, not empty"


def _shown(value: Any, entry: Entry) -> str:
    if value is None:
        return "unset"
    if entry.secret:
        return "********"
    if entry.key == "export.destinations":
        return ", ".join(f"{d.name} ({d.protocol} {d.endpoint})" for d in value) or "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return str(value)
