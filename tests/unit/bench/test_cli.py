"""The command line of the harness: arguments to options, errors to one line each."""

from __future__ import annotations

import importlib.util
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyforward
from pyforward.client import Target
from pyforward.config import Config, settings
from pyforward.config.models import MASK
from pyforward.errors import HostError
from pyforward_bench import __main__, cli, guard, joins, load, loss
from pyforward_bench.measuring import Output

URL = "http://127.0.0.1:1/whep/x"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in settings():
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.delenv("PYFORWARD_TOKEN", raising=False)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code if isinstance(ended.value.code, int) else 0


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command line makes of its arguments; nothing is run."""
    given: dict[str, Any] = {}

    def fake(config: Config, target: Target, options: object, output: Output) -> int:
        given.update(config=config, target=target, options=options, output=output)
        return 0

    for command in (load, joins, loss):
        monkeypatch.setattr(command, "run", fake)
    return given


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"pyforward-bench {pyforward.__version__}\n"


def test_load(asked: dict[str, Any], tmp_path: Path) -> None:
    assert run("load", URL, "--viewers=7") == 0
    assert asked["options"] == load.Options(7)
    assert asked["options"].probes_asked == 7
    assert asked["target"] == Target(URL)
    assert (asked["output"].path, asked["output"].as_json) == (None, False)
    path = tmp_path / "x.json"
    words = ["--ramp=200/s", "--duration=2.5", "--probes=3", guard.OPTION, "--json"]
    assert run("load", URL, "--viewers=2000", *words, f"--output={path}") == 0
    assert asked["options"] == load.Options(2000, 200.0, 2.5, 3, True)
    assert (asked["output"].path, asked["output"].as_json) == (path, True)
    assert run("load", URL, "--viewers=2000") == 0
    assert asked["options"].probes_asked == 50


def test_joins(asked: dict[str, Any]) -> None:
    assert run("joins", URL, "--rate=300/s", "--count=9") == 0
    assert asked["options"] == joins.Options(300.0, 9)
    assert run("joins", URL, "--rate", "0.5", "--count=9", "--hold=3", "--probes=0") == 0
    assert asked["options"] == joins.Options(0.5, 9, 3.0, 0)


@pytest.mark.parametrize("command", [("load", "--viewers=1"), ("joins", "--rate=1", "--count=1")])
def test_where_prometheus_asks(command: tuple[str, ...], asked: dict[str, Any]) -> None:
    name, *own = command
    assert run(name, URL, *own, "--metrics=[::1]:9101") == 0
    assert asked["options"].metrics == ("::1", 9101)
    asked.clear()
    assert run(name, URL, *own, "--metrics=9101") == 2
    assert not asked


def test_loss(asked: dict[str, Any]) -> None:
    assert run("loss", URL, "--loss=5%") == 0
    assert asked["options"] == loss.Options(0.05)
    words = ["--burst=3", "--rtt=40ms", "--jitter=5", "--reorder=0.01", "--viewers=2"]
    assert run("loss", URL, "--loss=0.1", *words, "--duration=1", "--audio", "--seed=9") == 0
    assert asked["options"] == loss.Options(0.1, 3.0, 40.0, 5.0, 0.01, 2, 1.0, True, 9)


@pytest.mark.parametrize(
    "command",
    [("load", "--viewers=1"), ("joins", "--rate=1", "--count=1"), ("loss", "--loss=1%")],
)
def test_every_option_of_a_server(
    command: tuple[str, ...], asked: dict[str, Any], tmp_path: Path
) -> None:
    name, *own = command
    words = ["--token=t", "--header=X-One: 1", "--insecure", f"--ca-file={tmp_path}"]
    assert run(name, URL, *own, *words, "--patience=2.5", "--engine-shards=1") == 0
    assert asked["target"] == Target(URL, "t", {"X-One": "1"}, tmp_path, True, 2.5)
    assert asked["config"].engine.shards == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--viewers=0",),
        ("--viewers=many",),
        ("--viewers=1", "--ramp=0"),
        ("--viewers=1", "--ramp=fast"),
        ("--viewers=1", "--duration=-1"),
        ("--viewers=1", "--probes=-1"),
    ],
)
def test_arguments_that_are_none(arguments: tuple[str, ...], asked: dict[str, Any]) -> None:
    assert run("load", URL, *arguments) == 2
    assert not asked


def test_without_the_extra(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pylibsrtp" else real(name)
    )
    assert run("load", URL, "--viewers=1") == 3
    told = capsys.readouterr().err
    assert told == "pyforward-bench: needs pylibsrtp: pip install 'pyforward[bench]'\n"
    assert not asked


def test_errors_are_a_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise HostError("No memory.")

    monkeypatch.setattr(load, "run", fail)
    assert run("load", URL, "--viewers=1") == 3
    assert capsys.readouterr().err == "pyforward-bench: No memory.\n"


def test_ctrl_c_ends_the_process_until_there_is_something_to_end_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, seen = signal.getsignal(signal.SIGINT), []
    monkeypatch.setattr(cli, "main", lambda: seen.append(signal.getsignal(signal.SIGINT)))
    try:
        __main__.main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIG_DFL]


def test_somebody_elses_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("load", "http://192.0.2.1/whep/secret", "--viewers=1") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pyforward-bench: 192.0.2.1 is not this machine")
    assert "secret" not in line


# What arguments are written as --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (cli.share, "5%", 0.05),
        (cli.share, "0.05", 0.05),
        (cli.share, "0", 0.0),
        (cli.share, "100%", 1.0),
        (cli.milliseconds, "40ms", 40.0),
        (cli.milliseconds, "40", 40.0),
        (cli.a_second, "300/s", 300.0),
        (cli.a_second, "0.5", 0.5),
        (cli.burst, "1", 1.0),
    ],
)
def test_numbers(read: Callable[[str], float], text: str, value: float) -> None:
    assert read(text) == value
    assert read(str(read(text))) == value, "a default is read too"


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (cli.share, "5"),
        (cli.share, "-1%"),
        (cli.share, "nan"),
        (cli.share, "x%"),
        (cli.milliseconds, "-1"),
        (cli.milliseconds, "1s"),
        (cli.milliseconds, "inf"),
        (cli.a_second, "0"),
        (cli.a_second, "nan"),
        (cli.burst, "0.5"),
        (cli.burst, "nan"),
    ],
)
def test_what_is_no_such_number(read: Callable[[str], float], text: str) -> None:
    with pytest.raises(
        ValueError, match=rf"^{re.escape(text)} is no (share|rate|time|mean length)"
    ):
        read(text)


def test_what_is_kept_of_the_arguments(asked: dict[str, Any]) -> None:
    url = "https://me:pass@host:8443/whep/secret?key=secret"
    words = ["--token", "secret", "--header=X: secret", "--header", "Y: secret", "--token=secret"]
    assert run("load", url, "--viewers=1", guard.OPTION, *words) == 0
    kept = asked["output"].argv
    assert "secret" not in " ".join(kept)
    assert "pass" not in " ".join(kept)
    assert kept[:4] == ("load", "https://host:8443/…", "--viewers=1", guard.OPTION)
    url = "HTTP://me:pass@host/whep/secret"
    assert run("load", url, "--viewers=1") == 0
    assert asked["output"].argv[1] == "http://host/…"
    assert run("load", "http://me:pass@[host/secret", "--viewers=1") == 0
    assert asked["output"].argv[1] == MASK
    assert kept[4:] == ("--token", MASK, f"--header={MASK}", "--header", MASK, f"--token={MASK}")
