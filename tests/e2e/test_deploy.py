"""What deploy/ holds, as far as it can be run without container engine and systemd as init.

The container file is carried out line by line, in a Debian made for it; see ``images``.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pyforward.health import READY_FILE
from tests.conftest import MISSING_TOOL
from tests.e2e import images
from tests.e2e.ports import free_port
from tests.e2e.prometheus import Prometheus
from tests.e2e.server import ROOT, wait_for

DEPLOY = ROOT / "deploy"


def test_the_unit_is_one_that_systemd_accepts(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("this machine has no systemd-analyze")
    # It insists that the program is there: a name of the same file stands in for it.
    unit = tmp_path / "pyforward.service"
    text = (DEPLOY / "pyforward.service").read_text()
    assert text.count("/opt/pyforward/bin/pyforward ") == 1
    unit.write_text(text.replace("/opt/pyforward/bin/pyforward ", f"{sys.executable} "))
    answer = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stderr.strip()) == (0, "")


def test_the_unit_names_a_document_that_the_installation_leaves_there() -> None:
    (document,) = re.findall(
        r"^Documentation=file:///opt/pyforward/share/doc/pyforward/(.*)$",
        (DEPLOY / "pyforward.service").read_text(),
        re.MULTILINE,
    )
    assert (ROOT / "docs" / document).exists()
    assert (
        "cp -r docs /opt/pyforward/share/doc/pyforward\n"
        in (ROOT / "docs" / "operate" / "deploy.md").read_text()
    )


@pytest.mark.skipif(bool(images.lacks()), reason=f"{MISSING_TOOL}{images.lacks()}")
def test_the_container_file_gives_a_server() -> None:
    # Not pytest's own folder, which would keep whole Debians.
    with tempfile.TemporaryDirectory() as place:
        serves(made(Path(place)))


def made(place: Path) -> images.Stage:
    source = place / "src"
    copy_of_what_is_tracked(source)
    # Quick to make; a target of its own, because what is made there is linked to Debian's libc.
    environment = {"PYFORWARD_BUILD_PROFILE": "dev", "CARGO_HOME": f"{images.TARGET}/home"}
    environment["CARGO_TARGET_DIR"] = images.TARGET
    image = images.built(
        DEPLOY / "Containerfile",
        source,
        place / "stages",
        ROOT / "native" / "target" / "image",
        environment,
    )
    assert image.user == "pyforward"
    assert not (image.root / "src").exists(), "what builds the wheel stays behind"
    return image


def copy_of_what_is_tracked(target: Path) -> None:
    """As ``COPY . .`` would of a clean clone."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def serves(image: images.Stage) -> None:
    """What the image starts takes joins, is healthy by its own check, and stops as it is told."""
    more = ("--http-bind", "127.0.0.1:0", "--media-port", "0")
    ready = image.root / image.variables[READY_FILE].lstrip("/")
    log = image.root / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            image.command([*image.starts, *more]),
            env=image.environment(),
            stdout=file,
            stderr=file,
        )
    try:
        wait_for("the server", lambda: ready.exists() or process.poll() is not None, 30)
        assert process.poll() is None, log.read_text()
        subprocess.run(image.command(image.health), env=image.environment(), check=True)
        # The first process of its container: what signals it ignores it really ignores.
        (server,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert image.told["STOPSIGNAL"] == "SIGTERM"
        os.kill(int(server), signal.SIGTERM)
        assert process.wait(10) == 0, log.read_text()
        check = image.command(image.health)
        assert subprocess.run(check, env=image.environment(), check=False).returncode == 1
    finally:
        process.kill()
        process.wait()


def observe(server: str, scraper: str) -> subprocess.Popen[str]:
    """``make observe`` with these addresses."""
    if shutil.which("prometheus") is None:
        pytest.skip("this machine has no prometheus")
    return subprocess.Popen(
        [sys.executable, "scripts/observe.py", "--server", server, "--prometheus", scraper],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_one_command_starts_what_there_is() -> None:
    server, scraper = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    process = observe(server, scraper)
    prometheus = Prometheus(f"http://{scraper}")

    def scraped() -> bool:
        assert process.poll() is None, process.communicate()
        with contextlib.suppress(OSError, ValueError):
            return prometheus.is_up("pyforward")
        return False

    try:
        wait_for("a scrape", scraped, 60)
        live = prometheus.query('count(pyforward_streams_live{job="pyforward"} == 1)')
        assert live, "the demo is published"
        jobs = {target["labels"]["job"]: target for target in prometheus.targets()}
        bench = jobs["pyforward-bench"]["labels"]["instance"]
    finally:
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    for word in (server, scraper, f"--metrics {bench}", "Grafana", "Ctrl-C"):
        assert word in told


def test_somebody_else_s_prometheus_is_not_announced_as_its_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        scraper = f"127.0.0.1:{other.getsockname()[1]}"
        process = observe("127.0.0.1:0", scraper)
        told, complained = process.communicate(timeout=60)
    assert process.returncode == 1
    assert scraper not in told
    assert f"cannot listen at {scraper} (Address already in use)" in complained
    assert "--prometheus 127.0.0.1:PORT" in complained


def test_what_ends_while_it_is_observed_ends_the_rest() -> None:
    process = observe("127.0.0.1:0", f"127.0.0.1:{free_port()}")
    assert process.stdout is not None
    assert any(line.startswith("Ctrl-C") for line in process.stdout), process.communicate()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (prometheus,) = [
        int(child)
        for child in children
        if Path(f"/proc/{child}/comm").read_text() == "prometheus\n"
    ]
    os.kill(prometheus, signal.SIGKILL)
    try:
        _, complained = process.communicate(timeout=60)
    finally:
        process.terminate()
    assert process.returncode == 1
    assert "Prometheus has ended (-9)" in complained
    assert [child for child in children if Path(f"/proc/{child}").exists()] == []
