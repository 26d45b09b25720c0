"""A real Prometheus that scrapes real servers every second, and what it answers."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.e2e.ports import free_port
from tests.e2e.server import ROOT, wait_for

RULES = ROOT / "grafana" / "alerts" / "pyforward.rules.yml"


@dataclass
class Prometheus:
    """One that answers."""

    url: str

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The samples of an instant query of this moment."""
        query = urllib.parse.urlencode({"query": expr})
        answer = self._get(f"/api/v1/query?{query}")
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    def is_up(self, job: str) -> bool:
        """Whether the job's last scrape went well."""
        return any(float(one["value"][1]) for one in self.query(f'up{{job="{job}"}}'))

    def targets(self) -> list[dict[str, Any]]:
        """What it scrapes, and how that went."""
        return list(self._get("/api/v1/targets")["data"]["activeTargets"])

    def exemplars(self, expr: str) -> list[dict[str, Any]]:
        """Those of the last minute."""
        span = urllib.parse.urlencode({"query": expr, "start": "0", "end": "99999999999"})
        return list(self._get(f"/api/v1/query_exemplars?{span}")["data"])

    def _get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as refused:
            return json.loads(refused.read())


@contextlib.contextmanager
def scraping(jobs: Mapping[str, str]) -> Iterator[Prometheus]:
    """Prometheus with the project's rules, scraping these URLs by job, each second."""
    if shutil.which("prometheus") is None:
        pytest.skip("this machine has no prometheus")
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "prometheus.yml").write_text(yaml.safe_dump(_configuration(jobs)))
        port = free_port()
        with (place / "log").open("w") as log:
            process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={place / 'prometheus.yml'}",
                    f"--storage.tsdb.path={place / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                    "--enable-feature=exemplar-storage",
                ],
                stdout=log,
                stderr=log,
            )
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        try:
            wait_for("Prometheus", lambda: _answers(prometheus, process, place / "log"), 60)
            yield prometheus
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _configuration(jobs: Mapping[str, str]) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [urlsplit(url).netloc]}]}
            for job, url in jobs.items()
        ],
    }


def _answers(prometheus: Prometheus, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()[-2000:]
    with contextlib.suppress(OSError, ValueError):  # not there yet, or "Service Unavailable"
        return bool(prometheus.targets())
    return False
