"""What deploy/ holds, as far as it can be run without containers and without systemd as init.

The RUN lines of the container file are executed as they stand, in a clean folder and an environment
that has nothing of ours. Not covered: the base images, lines that install Debian's packages or make
users (their packages are looked up instead), and that nothing outside the image is needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.ports import free_port
from tests.e2e.prometheus import Prometheus
from tests.e2e.server import ROOT, wait_for

DEPLOY = ROOT / "deploy"

# The machine's own ways to registries and toolchains; nothing that pyforward reads.
KEPT = re.compile(r"^(PATH|HOME|TMPDIR|PIP_.*|CARGO_.*|RUSTUP_.*|SSL_.*|.*_proxy)$")


def instructions() -> list[tuple[str, str]]:
    """The container file's instructions, with continued lines as one."""
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


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


def test_packages_of_the_image_are_debian_s() -> None:
    if shutil.which("apt-cache") is None:
        pytest.skip("this machine has no apt")
    for name, rest in instructions():
        found = re.search(r"install --yes --no-install-recommends ([\w .-]+?)(?: &&|$)", rest)
        if name == "RUN" and found:
            for package in found[1].split():
                told = subprocess.run(
                    ["apt-cache", "show", package], capture_output=True, check=False
                )
                assert told.returncode == 0, package


def test_run_lines_give_a_server(tmp_path: Path) -> None:
    source, installed = tmp_path / "src", tmp_path / "opt" / "pyforward"
    copy_of_what_is_tracked(source)
    environment = {k: v for k, v in os.environ.items() if KEPT.match(k)}
    # Quick to make, and what is made of others' crates is shared.
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "native" / "target"))
    environment |= {"PYFORWARD_BUILD_PROFILE": "dev", "CARGO_TARGET_DIR": target}
    ran = 0
    for name, rest in instructions():
        if name == "RUN" and not rest.startswith(("apt-get", "useradd")):
            line = rest.replace("/opt/pyforward", str(installed)).replace(
                "python3 ", f"{sys.executable} "
            )
            answer = subprocess.run(
                ["/bin/sh", "-c", line],
                cwd=source,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert answer.returncode == 0, f"{rest}: {answer.stderr[-3000:]}"
            ran += 1
    assert ran == 2
    serves(entrypoint(installed), tmp_path, environment)


def copy_of_what_is_tracked(target: Path) -> None:
    """As ``COPY . .`` would of a clean clone."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def entrypoint(installed: Path) -> list[str]:
    """What the image starts."""
    told = {
        name: json.loads(rest) for name, rest in instructions() if name in ("ENTRYPOINT", "CMD")
    }
    words = [*told["ENTRYPOINT"], *told["CMD"]]
    return [word.replace("/opt/pyforward", str(installed)) for word in words]


def serves(words: list[str], folder: Path, environment: dict[str, str]) -> None:
    ready = folder / "ready"
    more = ["--http-bind", "127.0.0.1:0", "--media-port", "0", "--ready-file", str(ready)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*words, *more], cwd=folder, env=environment, stdout=log, stderr=log
        )
    try:
        wait_for("the server", lambda: ready.exists() or process.poll() is not None, 30)
        assert process.poll() is None, (folder / "log").read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_one_command_starts_what_there_is() -> None:
    if shutil.which("prometheus") is None:
        pytest.skip("this machine has no prometheus")
    server, scraper = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    words = [sys.executable, "scripts/observe.py", "--server", server, "--prometheus", scraper]
    process = subprocess.Popen(
        words,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    prometheus = Prometheus(f"http://{scraper}")

    def scraped() -> bool:
        assert process.poll() is None, shlex.join(words)
        with contextlib.suppress(OSError, ValueError):
            return prometheus.is_up("pyforward")
        return False

    try:
        wait_for("a scrape", scraped, 60)
        live = prometheus.query('count(pyforward_streams_live{job="pyforward"} == 1)')
        assert live, "the demo is published"
    finally:
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    for word in (server, scraper, "Grafana", "Ctrl-C"):
        assert word in told
