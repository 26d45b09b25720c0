"""The command line: options derived from the settings, exit codes, one line an error."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import pyforward
from pyforward import cli
from pyforward.config import settings


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
