"""The server as a process: ready file, probes, signals, exit codes. The packet engine is a stand-in
here, so that an engine that hangs can be had.

The server ends itself after 1.9 s whatever hangs; the tests allow twice that, because a busy
machine is slow in letting a process go.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pyforward.health import READY_FILE
from tests.e2e.certificates import certified

ROOT = Path(__file__).parents[2]
ALLOWED_S = 4.0
LAUNCH = """
import sys, threading
from tests.unit.fake_native import FakeNativeEngine, FakeNativeModule
from pyforward import commands
how = sys.argv.pop(1)
if how != "real":
    sys.modules["pyforward._native"] = FakeNativeModule()
if how == "deaf":
    FakeNativeEngine.submit = lambda self, asked: None
if how == "stuck":
    FakeNativeEngine.stop = lambda self: threading.Event().wait()
if how == "missing":
    sys.modules["pyforward._native"] = None
from pyforward.cli import main
main()
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, engine: str = "well", **variables: str) -> subprocess.Popen[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYFORWARD_")}
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", LAUNCH, engine, *arguments],
                cwd=ROOT,
                env=environment | {"PYTHONUNBUFFERED": "1"} | variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def ready(process: subprocess.Popen[str], file: Path) -> dict[str, object]:
    """Waits for the ready file, which appears whole."""
    until = time.monotonic() + 60
    while not file.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
    told = json.loads(file.read_text())
    assert isinstance(told, dict)
    return told


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def serve(tmp_path: Path, *more: str, command: str = "serve") -> Sequence[str]:
    ports = ("--http-bind", "127.0.0.1:0", "--media-port", "0")
    return (command, *ports, "--ready-file", str(tmp_path / "ready"), *more)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str, float]:
    since = time.monotonic()
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err, time.monotonic() - since


def test_ready_file_probes_and_metrics(tmp_path: Path, start: Start) -> None:
    process = start(*serve(tmp_path))
    told = ready(process, tmp_path / "ready")
    assert told["pid"] == process.pid
    assert {"address": "127.0.0.1", "port": 40000} in list(told["media"])  # type: ignore[call-overload]
    url = str(told["http_url"])
    assert status(f"{url}/healthz") == 200
    assert status(f"{url}/readyz") == 200
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as response:
        assert b"\npyforward_viewers 0.0\n" in response.read()
    asked = urllib.request.Request(
        f"{url}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    with urllib.request.urlopen(asked, timeout=5) as response:
        assert response.headers["Content-Type"].startswith("application/openmetrics-text")
        assert response.read().endswith(b"# EOF\n")
    assert [path.name for path in tmp_path.iterdir()] == ["ready"]


def health(file: Path) -> tuple[int, str]:
    """What the check of a container says: exit code and line."""
    answer = subprocess.run(
        [sys.executable, "-m", "pyforward.health"],
        cwd=ROOT,
        # A proxy that is not there: nobody asks it about this machine.
        env=os.environ | {READY_FILE: str(file), "http_proxy": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.returncode, answer.stderr


def test_its_health_is_asked_where_it_says_it_is(tmp_path: Path, start: Start) -> None:
    file = tmp_path / "ready"
    assert health(file) == (
        1,
        f"pyforward: {file} names no server: none runs, or its --ready-file is another one.\n",
    )
    certificate, key = certified(tmp_path)
    tls = ("--http-tls-cert", str(certificate), "--http-tls-key", str(key))
    for more in ((), tls):
        words = ("serve", "--http-bind", "127.0.0.1:0", "--media-port", "0", *more)
        process = start(*words, **{READY_FILE: str(file)})
        told = ready(process, file)
        assert health(file) == (0, "")
        process.send_signal(signal.SIGKILL)
        ended(process)
        code, line = health(file)
        assert (code, line.startswith(f"pyforward: {told['http_url']} does not answer: ")) == (
            1,
            True,
        )
        file.unlink()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(number: signal.Signals, tmp_path: Path, start: Start) -> None:
    process = start(*serve(tmp_path))
    ready(process, tmp_path / "ready")
    process.send_signal(number)
    code, _, err, took_s = ended(process)
    assert code == 0, err
    assert took_s < ALLOWED_S
    assert "Traceback" not in err
    assert not (tmp_path / "ready").exists()


def test_while_farewells_are_said_it_is_not_ready(tmp_path: Path, start: Start) -> None:
    process = start(*serve(tmp_path), engine="deaf")
    url = str(ready(process, tmp_path / "ready")["http_url"])
    process.send_signal(signal.SIGTERM)
    until = time.monotonic() + ALLOWED_S
    while (answer := status(f"{url}/readyz")) == 200:
        assert time.monotonic() < until
    assert answer == 503
    _, _, err, took_s = ended(process)
    assert took_s < ALLOWED_S, err


def test_an_engine_that_hangs_does_not_keep_the_process(tmp_path: Path, start: Start) -> None:
    process = start(*serve(tmp_path), engine="stuck")
    ready(process, tmp_path / "ready")
    process.send_signal(signal.SIGTERM)
    code, _, err, took_s = ended(process)
    assert code == 1
    assert took_s < ALLOWED_S
    assert "Timeout" in err


def test_a_second_signal_ends_it_at_once(tmp_path: Path, start: Start) -> None:
    process = start(*serve(tmp_path), engine="deaf")
    url = str(ready(process, tmp_path / "ready")["http_url"])
    process.send_signal(signal.SIGTERM)
    while status(f"{url}/readyz") == 200:
        pass
    process.send_signal(signal.SIGTERM)
    code, _, _, _ = ended(process)
    assert code == -signal.SIGTERM


def test_the_demo_prints_its_page_and_is_live(tmp_path: Path, start: Start) -> None:
    process = start(*serve(tmp_path, command="demo"), engine="real")
    url = str(ready(process, tmp_path / "ready")["http_url"])
    with urllib.request.urlopen(f"{url}/api/streams", timeout=5) as response:
        (item,) = json.load(response)["items"]
    assert (item["name"], item["state"]) == ("demo", "live")
    process.send_signal(signal.SIGINT)
    code, out, err, _ = ended(process)
    assert code == 0, err
    assert f"{url}/" in out


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="with one core nothing is left")
def test_whoever_is_pinned_shares_its_core_with_no_other_thread(
    tmp_path: Path, start: Start
) -> None:
    ours, *others = sorted(os.sched_getaffinity(0))
    process = start(*serve(tmp_path, "--engine-cores", str(ours), command="demo"), engine="real")
    url = str(ready(process, tmp_path / "ready")["http_url"])
    # Its publisher is there, so that threads for handshakes are.
    assert status(f"{url}/metrics") == 200
    runs_on = {"shard": set[int](), "others": set[int]()}
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        is_shard = (task / "comm").read_text().startswith("shard-")
        runs_on["shard" if is_shard else "others"] |= os.sched_getaffinity(int(task.name))
    assert runs_on["others"] == set(others)
    # The demo's publisher has shards too, which are not pinned.
    assert runs_on["shard"] == {ours, *others}


@pytest.mark.parametrize(
    ("arguments", "engine", "code", "says"),
    [
        (("--media-port", "-1"), "well", 2, "media.port"),
        (("--http-bind", "0.0.0.0:0"), "well", 2, "http.allow_open"),
        (("--http-bind", "192.0.2.1:0"), "well", 2, "http.allow_open"),
        (("--http-bind", "192.0.2.1:0", "--http-allow-open"), "well", 3, "no such address"),
        (("--http-tls-cert", "none.pem", "--http-tls-key", "none.pem"), "well", 2, "none.pem"),
        (("--dtls-cert-file", "none.pem", "--dtls-key-file", "none.pem"), "well", 2, "none.pem"),
        (("--ready-file", "/does/not/exist/file"), "well", 3, "--ready-file"),
        (("--engine-cores", "0,-1"), "well", 2, "engine.cores"),
        (("--engine-cores", "1023"), "real", 3, "engine.cores has core 1023"),
        ((), "missing", 3, "make build"),
    ],
)
def test_what_stops_a_start_is_one_line_and_an_exit_code(
    arguments: tuple[str, ...], engine: str, code: int, says: str, tmp_path: Path, start: Start
) -> None:
    exit_code, _, err, _ = ended(start(*serve(tmp_path, *arguments), engine=engine))
    assert exit_code == code
    (line,) = [line for line in err.splitlines() if line.startswith("pyforward: ")]
    assert says in line
    assert "Traceback" not in err


def test_a_port_in_use(tmp_path: Path, start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = start(*serve(tmp_path, "--http-bind", f"127.0.0.1:{port}"))
        code, _, err, _ = ended(process)
    assert code == 3
    assert "port is in use" in err
    assert "Traceback" not in err
