"""``make observe``: a server with the demo stream, Prometheus with the alerts and, where it is
installed, Grafana with the boards. Everything is on loopback and ends with Ctrl-C.

What is not installed is named, and the rest runs: ``apt install prometheus``; Grafana as
https://grafana.com/docs says, or ``deploy/compose.yaml``, which brings both.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
GRAFANA_HOME = Path("/usr/share/grafana")
READY_WITHIN_S = 30.0


def main() -> int:
    """Starts what there is, says where it answers and waits."""
    options = _options()
    # The folder goes after the programs that write into it.
    with tempfile.TemporaryDirectory(prefix="pyforward-observe-") as place, ExitStack() as running:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        folder = Path(place)
        url = _server(running, folder, options.server)
        print(f"server      {url}/   stream demo")
        prometheus = _prometheus(running, folder, url, options.prometheus)
        if prometheus:
            print(f"Prometheus  {prometheus}/alerts")
            _grafana(running, folder, prometheus, options.grafana)
        print("Ctrl-C ends all of them.", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make observe")
    parser.add_argument("--server", default="127.0.0.1:8080", help="where the server answers")
    parser.add_argument("--prometheus", default="127.0.0.1:9090")
    parser.add_argument("--grafana", default="127.0.0.1:3000")
    return parser.parse_args()


def _server(running: ExitStack, folder: Path, bind: str) -> str:
    ready = folder / "ready"
    command = [sys.executable, "-m", "pyforward", "demo", "--http-bind", bind]
    command += ["--ready-file", str(ready), "--media-port", "0"]
    process = running.enter_context(_program(command, folder / "server.log"))
    until = time.monotonic() + READY_WITHIN_S
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > until:
            sys.exit((folder / "server.log").read_text())
        time.sleep(0.1)
    return str(json.loads(ready.read_text())["http_url"])


def _prometheus(running: ExitStack, folder: Path, server: str, listen: str) -> str:
    if shutil.which("prometheus") is None:
        print("Prometheus  is not installed: apt install prometheus, or use deploy/compose.yaml")
        return ""
    rules = ROOT / "grafana" / "alerts" / "pyforward.rules.yml"
    configuration = {
        "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": "pyforward", "static_configs": [{"targets": [urlsplit(server).netloc]}]}
        ],
    }
    # JSON is YAML, so that the package needs nothing to write it.
    (folder / "prometheus.yml").write_text(json.dumps(configuration))
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={listen}"]
    command += ["--enable-feature=exemplar-storage"]
    running.enter_context(_program(command, folder / "prometheus.log"))
    return f"http://{listen}"


def _grafana(running: ExitStack, folder: Path, prometheus: str, listen: str) -> None:
    if shutil.which("grafana") is None or not GRAFANA_HOME.is_dir():
        print("Grafana     is not installed: import grafana/dashboards/*.json into yours")
        return
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
    running.enter_context(_program(command, folder / "grafana.log", environment))
    print(f"Grafana     http://{listen}/d/pyforward-broadcast")


@contextmanager
def _program(
    command: list[str], log: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs while inside, and what it says goes to ``log``."""
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
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
