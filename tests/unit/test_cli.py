"""The command line: options derived from the settings, exit codes, one line an error."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyforward
from pyforward import cli
from pyforward.client import Target
from pyforward.config import Config, settings
from pyforward.media import Demo


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in settings():
        monkeypatch.delenv(setting.variable, raising=False)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code if isinstance(ended.value.code, int) else 0


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, object]]:
    assert run("serve", "--print-config", *arguments) == 0
    return tomllib.loads(capsys.readouterr().out)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"pyforward {pyforward.__version__}\n"


def test_every_setting_has_its_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "--limits-body-bytes", "2048")["limits"]["body_bytes"] == 2048
    flags = [
        f"{s.flag}={','.join(s.default) if isinstance(s.default, tuple) else s.default}"
        for s in settings()
        if not s.secret
    ]
    assert printed(capsys, *flags) == printed(capsys)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (["--no-engine-gso"], False),
        (["--engine-gso=false"], False),
        (["--engine-gso", "false"], False),
        (["--engine-gso"], True),
        (["--no-engine-gso", "--engine-gso", "--media-port", "0"], True),
    ],
)
def test_ways_to_write_a_switch(
    written: list[str], value: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(capsys, *written)["engine"]["gso"] is value


def test_flag_before_environment_before_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[media]\nport = 1\n[ice]\nnode = 'f1'\n[dtls]\nthreads = 3\n")
    monkeypatch.setenv("PYFORWARD_MEDIA__PORT", "2")
    monkeypatch.setenv("PYFORWARD_ICE__NODE", "e2")
    shown = printed(capsys, "--config", str(file), "--media-port", "3")
    assert shown["media"]["port"] == 3
    assert shown["ice"]["node"] == "e2"
    assert shown["dtls"]["threads"] == 3


def test_secrets_are_not_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYFORWARD_AUTH__ADMIN_TOKEN", "hush-hush")
    assert printed(capsys)["auth"]["admin_token"] == "********"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--media-port", "x"], "pyforward: --media-port: media.port = 'x': "),
        (["--http-bind", "0.0.0.0:0"], "http.allow_open"),
        (["--config", "/does/not/exist.toml"], "/does/not/exist.toml"),
        (["--http-bnd", "x"], "--http-bnd"),
    ],
)
def test_configuration_errors_exit_with_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("serve", *arguments) == 2
    told = capsys.readouterr()
    assert says in told.err
    assert "Traceback" not in told.err
    assert not told.out


def test_usage_errors_exit_with_2() -> None:
    assert run("frobnicate") == 2


def test_the_page_to_open_stands_by_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def serve(_: Config, *, on_ready: Callable[[str], None] | None, **__: object) -> int:
        if on_ready is not None:
            on_ready("http://127.0.0.1:8080")
        return 0

    monkeypatch.setattr("pyforward.server.serve", serve)
    assert run("demo") == 0
    told = "Open http://127.0.0.1:8080/ in a browser. Ctrl-C stops the demo."
    assert capsys.readouterr().out.splitlines() == ["", f"    {told}", ""]
    assert run("serve") == 0
    assert capsys.readouterr().out == ""


# watch and publish --------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command line makes of its arguments; nothing is run."""
    given: dict[str, Any] = {}

    def fake(config: Config, target: Target, *source: object, **options: object) -> int:
        given.update(options, config=config, target=target, source=source)
        return 0

    monkeypatch.setattr("pyforward.client.run.watch", fake)
    monkeypatch.setattr("pyforward.client.run.publish", fake)
    monkeypatch.delenv("PYFORWARD_TOKEN", raising=False)
    return given


def test_watch_by_default(asked: dict[str, Any]) -> None:
    assert run("watch", "http://h/whep/x") == 0
    assert asked["target"] == Target("http://h/whep/x")
    assert (asked["count"], asked["duration_s"], asked["as_json"]) == (1, None, False)


def test_every_option_of_a_server(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--token=t", "--header=X-One: 1", "--header", "X-Two:a: b", "--insecure"]
    options += [f"--ca-file={tmp_path}", "--patience=2.5", "--duration=3"]
    target = Target("http://h/x", "t", {"X-One": "1", "X-Two": "a: b"}, tmp_path, True, 2.5)
    assert run("watch", "http://h/x", "--count=7", "--json", *options) == 0
    assert asked["target"] == target
    assert (asked["count"], asked["duration_s"], asked["as_json"]) == (7, 3.0, True)
    assert run("publish", "test", "http://h/x", "--bursty", *options) == 0
    assert asked["target"] == target
    assert (asked["bursty"], asked["duration_s"]) == (True, 3.0)
    assert isinstance(asked["source"][0], Demo)
    monkeypatch.setenv("PYFORWARD_TOKEN", "from the environment")
    assert run("watch", "http://h/x") == 0
    assert asked["target"].token == "from the environment"


def test_settings_that_mean_something_to_a_client(asked: dict[str, Any]) -> None:
    assert run("watch", "http://h/x", "--ice-connect-timeout-s=2", "--no-engine-gso") == 0
    assert asked["config"].ice.connect_timeout_s == 2
    assert not asked["config"].engine.gso
    assert run("watch", "http://h/x", "--http-bind=127.0.0.1:0") == 2


@pytest.mark.parametrize("header", ["nonsense", ": value", "", "  : x"])
def test_a_header_that_is_none(
    header: str, asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("watch", "http://h/x", f"--header={header}") == 2
    assert "write it as 'Name: value'" in capsys.readouterr().err
    assert not asked


@pytest.mark.parametrize(
    "arguments",
    [
        ("watch",),
        ("publish", "test"),
        ("watch", "http://h/x", "--count=0"),
        ("watch", "http://h/x", "--duration=-1"),
        ("watch", "http://h/x", "--patience=-1"),
        ("watch", "http://h/x", "--count=many"),
    ],
)
def test_arguments_that_are_none(arguments: tuple[str, ...], asked: dict[str, Any]) -> None:
    assert run(*arguments) == 2
    assert not asked


def test_a_file_that_is_not_there(
    asked: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "film.mp4"
    assert run("publish", str(missing), "http://h/x") == 2
    assert capsys.readouterr().err == f"pyforward: There is no file {missing}.\n"
    assert not asked
