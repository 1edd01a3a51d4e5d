"""Settings: order of sources, messages of errors, and the table in docs/settings.md."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelbridge.errors import SettingsError
from otelbridge.settings import Settings, entries

DOCS = Path(__file__).parent.parent / "docs" / "settings.md"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_defaults_stand_when_nothing_is_given(directory: Path) -> None:
    """With no file, no variable and no flag every value is its default and says so."""
    settings = Settings(environ={})
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8787)
    assert settings.data_dir == Path(".otelbridge")
    assert set(settings.sources.values()) == {"default"}


def test_flags_win_over_environment_over_file(directory: Path) -> None:
    """The order is flag, environment, file, default, and each value tells its source."""
    (directory / "otelbridge.toml").write_text("[server]\nport = 1\nhost = '::1'\nprocesses = 3\n")
    settings = Settings(environ={"OTELBRIDGE_SERVER_PORT": "2", "OTELBRIDGE_SERVER_HOST": "localhost"}, flags={"server.port": 3})
    assert (settings.server.port, settings.server.host, settings.server.processes) == (3, "localhost", 3)
    assert settings.sources["server.port"] == "flag"
    assert settings.sources["server.host"] == "environment OTELBRIDGE_SERVER_HOST"
    assert settings.sources["server.processes"] == "file otelbridge.toml"
    assert settings.sources["server.drain_seconds"] == "default"


def test_pyproject_is_read_when_there_is_no_otelbridge_toml(directory: Path) -> None:
    """[tool.otelbridge] of pyproject.toml counts, and otelbridge.toml beats it."""
    (directory / "pyproject.toml").write_text(
        "[tool.otelbridge.observability]\nhead_sampling_rate = 0.5\n[tool.otelbridge.observability.logs]\npersist = false\n"
    )
    settings = Settings(environ={})
    assert settings.observability.head_sampling_rate == 0.5
    assert settings.observability.logs.persist is False
    (directory / "otelbridge.toml").write_text("")
    assert Settings(environ={}).observability.head_sampling_rate == 1.0


def test_paths_of_a_file_are_meant_from_that_file(directory: Path) -> None:
    """A relative path in a settings file is relative to the file, not to the current directory."""
    (directory / "conf").mkdir()
    (directory / "conf" / "o.toml").write_text("data_dir = 'data'\n")
    settings = Settings(environ={"OTELBRIDGE_CONFIG": "conf/o.toml"})
    assert settings.data_dir == Path("conf/data")
    assert settings.cache_dir == Path("conf/data/cache")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "[server]\nprot = 1\n", "Unknown setting server.prot in otelbridge.toml. Did you mean server.port?", id="misspelt key"
        ),
        pytest.param("[servre]\nport = 1\n", "Unknown setting servre in otelbridge.toml. Did you mean server?", id="misspelt section"),
        pytest.param("server = 1\n", "server in otelbridge.toml is a section: write it as a table [server].", id="value for a section"),
        pytest.param(
            "[server]\nport = 'x'\n",
            "server.port can't be 'x' (file otelbridge.toml); allowed: a whole number from 0 to 65535.",
            id="wrong type",
        ),
        pytest.param("[server\n", "The settings file otelbridge.toml can't be read", id="not TOML"),
        pytest.param("[[export.destinations]]\nname='a'\nendpoint='ftp://x'\n", "export.destinations can't be", id="bad destination"),
        pytest.param(
            "[[export.destinations]]\nname='a'\nendpoint='http://x'\n[[export.destinations]]\nname='a'\nendpoint='http://y'\n",
            "two destinations are called 'a'",
            id="same destination twice",
        ),
    ],
)
def test_a_bad_file_is_refused_by_name(directory: Path, text: str, message: str) -> None:
    """An error names the setting, where it came from and what is allowed."""
    (directory / "otelbridge.toml").write_text(text)
    with pytest.raises(SettingsError) as raised:
        Settings(environ={})
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"OTELBRIDGE_SERVER_PROT": "1"}, "Unknown environment variable OTELBRIDGE_SERVER_PROT. Did you mean OTELBRIDGE_SERVER_PORT?"),
        ({"OTELBRIDGE_SERVER_PORT": "70000"}, "server.port can't be '70000' (environment OTELBRIDGE_SERVER_PORT); allowed:"),
        ({"OTELBRIDGE_STORE_ENABLED": "maybe"}, "allowed: true or false"),
        ({"OTELBRIDGE_OBSERVABILITY_HEAD_SAMPLING_RATE": "nan"}, "allowed: a number from 0 to 1"),
        ({"OTELBRIDGE_SERVER_DRAIN_SECONDS": "inf"}, "server.drain_seconds can't be 'inf'"),
        ({"OTELBRIDGE_LIMITS_CPU_MS": "70000"}, "more than limits_max.cpu_ms, which is 60000 (default)"),
        ({"OTELBRIDGE_CONFIG": "nowhere.toml"}, "The settings file nowhere.toml does not exist."),
    ],
)
def test_a_bad_variable_is_refused_by_name(directory: Path, environ: dict[str, str], message: str) -> None:
    """An unknown or unusable variable is an error, never ignored."""
    with pytest.raises(SettingsError) as raised:
        Settings(environ=environ)
    assert message in str(raised.value)


def test_a_secret_is_never_shown(directory: Path) -> None:
    """Neither an error nor the listing of settings contains the token."""
    settings = Settings(environ={"OTELBRIDGE_AUTH_TOKEN": "hunter2"})
    assert "hunter2" not in str(list(settings.shown()))
    with pytest.raises(SettingsError) as raised:
        Settings(environ={}, flags={"auth.token": 5})
    assert "5" not in str(raised.value)


def test_variables_may_carry_units_and_lists(directory: Path) -> None:
    """Sizes, durations, lists and booleans read as people write them; an empty variable counts as unset."""
    settings = Settings(
        environ={
            "OTELBRIDGE_SPOOL_MAX_BYTES": "2GiB",
            "OTELBRIDGE_STORE_RETENTION_SECONDS": "2d",
            "OTELBRIDGE_OUTBOUND_ALLOW": "a.example, *.b.example",
            "OTELBRIDGE_OUTBOUND_ALLOW_PRIVATE": "1",
            "OTELBRIDGE_SERVER_PORT": "",
        }
    )
    assert settings.spool.max_bytes == 2 << 30
    assert settings.store.retention_seconds == 172_800
    assert settings.outbound.allow == ["a.example", "*.b.example"]
    assert settings.outbound.allow_private is True
    assert settings.sources["server.port"] == "default"


def test_a_lower_maximum_lowers_the_default_limit(directory: Path) -> None:
    """Whoever lowers a maximum need not lower the default below it by hand."""
    assert Settings(environ={}, flags={"limits_max.cpu_ms": 100}).limits.cpu_ms == 100


@pytest.mark.parametrize(
    ("host", "exposed"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("10.0.0.1", False)]
)
def test_errors_are_exposed_on_loopback_only(directory: Path, host: str, exposed: bool) -> None:
    """Unless it is set, expose_errors follows the address that the service listens on."""
    assert Settings(environ={}, flags={"server.host": host}).expose_errors is exposed
    assert Settings(environ={}, flags={"server.host": host, "server.expose_errors": True}).expose_errors is True


@given(st.sampled_from(sorted(entries())), st.text(max_size=20))
def test_any_text_in_a_variable_is_a_value_or_a_settings_error(key: str, text: str) -> None:
    """Whatever a variable holds, the answer is a checked value or a SettingsError that names the setting."""
    try:
        Settings(environ={entries()[key].variable: text})
    except SettingsError as e:
        assert key in str(e)


def test_every_setting_is_documented() -> None:
    """docs/settings.md has a row per setting with its variable, default and text, and no other rows."""
    rows = [line for line in DOCS.read_text("utf-8").splitlines() if line.startswith("| `")]
    assert rows == [entry.row() for entry in entries().values()]
