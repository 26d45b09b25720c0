"""``make observe``: a server with the demo stream, Prometheus with the alerts and, where it is
installed, Grafana with the boards. Everything is on loopback and ends with Ctrl-C.

What is not installed is named, and the rest runs: ``apt install prometheus``; Grafana as
https://grafana.com/docs says, or ``deploy/compose.yaml``, which brings both. Whatever else goes
wrong ends all of it with a sentence and exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
GRAFANA_HOME = Path("/usr/share/grafana")
READY_WITHIN_S = 30.0
LAST_LINES = 5


@dataclass(frozen=True)
class Program:
    """One that was started here. What it says goes to ``log``."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def demand(self) -> None:
        """Ends all of it, with the program's last words, if it has ended."""
        code = self.process.poll()
        if code is not None:
            said = self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
            sys.exit("\n".join([f"{self.name} has ended ({code}). It said last:", *said]))


def main() -> int:
    """Starts what there is, says where it answers and waits."""
    options = _options()
    # The folder goes after the programs that write into it.
    with tempfile.TemporaryDirectory(prefix="pyforward-observe-") as place, ExitStack() as running:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        folder = Path(place)
        try:
            url, server = _server(running, folder, options.server)
            programs = [server]
            print(f"server      {url}/   stream demo")
            prometheus = f"http://{options.prometheus}"
            if started := _prometheus(running, folder, url, options):
                programs.append(started)
                print(f"Prometheus  {prometheus}/alerts")
                load = f"load {url}/whep/demo --viewers 50 --metrics {options.bench}"
                print(f"load test   pyforward-bench {load}")
                programs += _grafana(running, folder, prometheus, options.grafana)
            print("Ctrl-C ends all of them.", flush=True)
            while True:
                for program in programs:
                    program.demand()
                time.sleep(1)
        except KeyboardInterrupt:
            return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make observe")
    parser.add_argument("--server", default="127.0.0.1:8080", help="where the server answers")
    parser.add_argument("--prometheus", default="127.0.0.1:9090")
    parser.add_argument("--grafana", default="127.0.0.1:3000")
    parser.add_argument("--bench", default="127.0.0.1:9101", help="a load test's --metrics")
    return parser.parse_args()


def _server(running: ExitStack, folder: Path, bind: str) -> tuple[str, Program]:
    """Where it answers, and itself."""
    ready = folder / "ready"
    command = [sys.executable, "-m", "pyforward", "demo", "--http-bind", bind]
    command += ["--ready-file", str(ready), "--media-port", "0"]
    server = running.enter_context(_program("The server", command, folder / "server.log"))
    until = time.monotonic() + READY_WITHIN_S
    while not ready.exists():
        server.demand()
        if time.monotonic() > until:
            sys.exit(f"The server does not answer within {READY_WITHIN_S:.0f} s.")
        time.sleep(0.1)
    return str(json.loads(ready.read_text())["http_url"]), server


def _prometheus(
    running: ExitStack, folder: Path, server: str, options: argparse.Namespace
) -> Program | None:
    if shutil.which("prometheus") is None:
        print("Prometheus  is not installed: apt install prometheus, or use deploy/compose.yaml")
        return None
    listen = options.prometheus
    _demand_free("Prometheus", listen, "--prometheus")
    rules = ROOT / "grafana" / "alerts" / "pyforward.rules.yml"
    jobs = {"pyforward": urlsplit(server).netloc, "pyforward-bench": options.bench}
    configuration = {
        "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [target]}]}
            for job, target in jobs.items()
        ],
    }
    # JSON is YAML, so that the package needs nothing to write it.
    (folder / "prometheus.yml").write_text(json.dumps(configuration))
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={listen}"]
    command += ["--enable-feature=exemplar-storage"]
    started = running.enter_context(_program("Prometheus", command, folder / "prometheus.log"))
    _wait_for(started, f"http://{listen}/-/ready")
    return started


def _grafana(running: ExitStack, folder: Path, prometheus: str, listen: str) -> Sequence[Program]:
    if shutil.which("grafana") is None or not GRAFANA_HOME.is_dir():
        print("Grafana     is not installed: import grafana/dashboards/*.json into yours")
        return ()
    _demand_free("Grafana", listen, "--grafana")
    host, _, port = listen.rpartition(":")
    environment = {
        "PROMETHEUS_URL": prometheus,
        "PYFORWARD_BOARDS": str(ROOT / "grafana" / "dashboards"),
        "GF_PATHS_PROVISIONING": str(ROOT / "grafana" / "provisioning"),
        "GF_PATHS_DATA": str(folder / "grafana"),
        "GF_SERVER_HTTP_ADDR": host,
        "GF_SERVER_HTTP_PORT": port,
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
    }
    command = ["grafana", "server", "--homepath", str(GRAFANA_HOME)]
    log = folder / "grafana.log"
    started = running.enter_context(_program("Grafana", command, log, environment))
    _wait_for(started, f"http://{listen}/api/health")
    print(f"Grafana     http://{listen}/d/pyforward-broadcast")
    return (started,)


def _demand_free(name: str, listen: str, option: str) -> None:
    """Whoever listens there already would answer in the place of what is to be started."""
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host.strip("[]"), int(port)), family=family).close()
    except (OSError, ValueError) as error:
        why = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
        sys.exit(
            f"{name} cannot listen at {listen} ({why}). End what does, or choose another address: "
            f'make observe ARGS="{option} 127.0.0.1:PORT"'
        )


def _wait_for(program: Program, url: str) -> None:
    """Returns once it answers there."""
    until = time.monotonic() + READY_WITHIN_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < until:
        program.demand()
        with suppress(OSError), opener.open(url, timeout=2):
            program.demand()
            return
        time.sleep(0.1)
    sys.exit(f"{program.name} does not answer at {url} within {READY_WITHIN_S:.0f} s.")


@contextmanager
def _program(
    name: str, command: list[str], log: Path, environment: dict[str, str] | None = None
) -> Iterator[Program]:
    """A program that runs while inside."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            env=os.environ | (environment or {}),
            # Ctrl-C is for us: we end them in order.
            start_new_session=True,
        )
    try:
        yield Program(name, process, log)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
