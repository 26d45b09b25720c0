"""``pyforward-bench rig``: its ground in namespaces, a row from end to end, and that nothing is
left of it, whatever ends it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from pyforward.errors import HostError
from pyforward_bench import results
from pyforward_bench.results import Results, Row
from pyforward_bench.rig import command, launch
from tests.e2e.server import ROOT, wait_for

LONGEST_S = 120.0

pytestmark = pytest.mark.namespaces

PROGRAM = (sys.executable, "-m", "pyforward_bench")

# A row that takes seconds: nothing is built for it, and it has one short round.
SHORT = ("r04", "--quick", "--rounds", "1", "--seconds", "0.5")


@pytest.fixture(autouse=True)
def permitted() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this machine has no second core")
    if shutil.which("ip") is None:
        pytest.skip("this machine has no iproute2 (ip)")
    if shutil.which("nft") is None:
        pytest.skip("this machine has no nftables (nft)")
    try:
        command.permitted()
    except HostError:
        pytest.skip("this machine has no permission for network namespaces")


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYFORWARD_")}
    return kept | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "bench")))}


@dataclass
class Run:
    """A run that was begun."""

    process: subprocess.Popen[str]
    path: Path

    def ended(self, limit_s: float = LONGEST_S) -> int:
        return self.process.wait(limit_s)

    @property
    def results(self) -> Results:
        return results.read(self.path)

    def row(self, name: str) -> Row:
        return next(row for row in self.results.rows if row.row == name)

    def family(self) -> dict[str, int]:
        """Its descendants by what they are, as :data:`MARKS` tells them."""
        found = {}
        for pid in descendants(self.process.pid):
            words = command_line(pid)
            for name, mark in MARKS.items():
                if re.search(mark, words):
                    found[name] = pid
        return found


MARKS = {
    "run": "-m pyforward_bench.rig",
    "server": "-m pyforward serve",
    "publisher": "-m pyforward_bench publish",
    "namespace": r"holding\.py$",
    "folder": r"holding\.py (\S+)$",
}


@contextlib.contextmanager
def begun(path: Path, *arguments: str, within: tuple[str, ...] = ()) -> Iterator[Run]:
    process = subprocess.Popen(
        [
            *within,
            sys.executable,
            "-m",
            "pyforward_bench",
            "rig",
            *arguments,
            "--output",
            str(path),
        ],
        cwd=path.parent,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Run(process, path)
    finally:
        process.kill()
        process.communicate()


def test_results_that_cannot_be_written_are_known_before_the_run(tmp_path: Path) -> None:
    with begun(tmp_path, *SHORT) as run:  # a directory
        said, _ = run.process.communicate(timeout=LONGEST_S)
    assert run.process.returncode == 3
    (line,) = said.splitlines()
    assert line.startswith(f"pyforward-bench: The results could not be written to {tmp_path}")


def descendants(pid: int) -> set[int]:
    parents = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (path / "stat").read_text()
                parents[int(path.name)] = int(stat.rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return ""


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def network_namespaces(pids: Iterable[int] | None = None) -> set[str]:
    """Of these processes, or of all."""
    found = set()
    for path in Path("/proc").iterdir():
        if pids is None or path.name in map(str, pids):
            with contextlib.suppress(OSError):
                found.add(os.readlink(path / "ns/net"))
    return found


# The ground --------------------------------------------------------------------------------------


IN_NAMESPACES = """\
import asyncio, json, sys
from pyforward_bench.rig import network
from pyforward_bench.rig.counter import Counter, Ports

async def main():
    with network.opened(isolated=True, ipv6=sys.argv[1] == "ipv6") as ground:
        counter = Counter(ground.addresses.sinks)
        await counter.open()
        found = {"offloads": ground.offloads()}
        ground.send_train(8, 1_000)
        found["segmented"] = vars(await counter.read())
        ground.set_segmentation_offload(on=True)
        found["offloads on"] = ground.offloads()
        await counter.open()
        ground.send_train(8, 1_000)
        found["whole"] = vars(await counter.read())
        await counter.cover(Ports(10_000, 20_000))
        ground.send_train(8, 1_000)
        found["not covered"] = vars(await counter.read())
        ground.set_segmentation_offload(on=False)
        await counter.open(by_viewer=True)
        ground.send_train(3, 500)
        by_viewer = await counter.read_by_viewer()
        found["by viewer"] = {port: vars(count) for port, count in by_viewer.items()}
    print(json.dumps(found))

def vars(count):
    return [count.packets, count.bytes]

asyncio.run(main())
"""


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_trains_are_counted_as_what_crosses_the_device(family: str) -> None:
    way = command.permitted()
    done = subprocess.run(
        launch.words([sys.executable, "-c", IN_NAMESPACES, family], fresh=way),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["offloads"]) == set(found["offloads on"])
    for end in ("rig0", "rig1"):
        assert found["offloads"][f"{end} tx-udp-segmentation"] == "off"
        assert found["offloads on"][f"{end} tx-udp-segmentation"] == "on"
    assert found["segmented"] == [8, 8_000]
    # A train that stays whole has one header; its bytes say how much it is.
    assert found["whole"] == [1, 8_000]
    assert found["not covered"] == found["whole"]
    assert found["by viewer"] == {"9": [3, 1_500]}


# A run -------------------------------------------------------------------------------------------


def test_a_row_from_end_to_end(tmp_path: Path) -> None:
    before = network_namespaces()
    with begun(tmp_path / "rig.json", *SHORT) as run:
        # How busy this machine is decides whether the run is valid, and nothing else.
        assert run.ended() in (0, 4)
        found = run.results
    row = run.row("r04")
    assert row.value is not None
    assert row.value > 0
    assert row.unit == "Gbit/s per core"
    assert found.command == "rig"
    assert found.argv[:2] == ["rig", "r04"]
    assert found.machine.offloads["rig1 tx-udp-segmentation"] == "off"
    assert found.valid is not bool(found.invalid_because)
    assert all("not segmented" not in why for why in found.invalid_because)
    assert network_namespaces() <= before


@pytest.mark.parametrize("victim", ["command", "run", "namespace", "folder"])
def test_nothing_is_left_when_a_process_is_killed(tmp_path: Path, victim: str) -> None:
    before = network_namespaces()
    with begun(tmp_path / "rig.json", *SHORT) as run:
        family = everybody(run)
        folder = folder_of(family)
        assert list(folder.iterdir())
        everyone = descendants(run.process.pid)
        theirs = network_namespaces(everyone) - before
        os.kill(run.process.pid if victim == "command" else family[victim], signal.SIGKILL)
        run.ended()
        wait_for("their end", lambda: not any(map(is_alive, everyone)), 30)
    wait_for("their namespaces' end", lambda: not network_namespaces() & theirs, 10)
    devices = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True)
    assert "rig0" not in devices.stdout
    assert not folder.exists()


def folder_of(family: Mapping[str, int]) -> Path:
    """Where the files of a run are."""
    found = re.search(MARKS["folder"], command_line(family["folder"]))
    assert found is not None
    return Path(found[1])


def everybody(run: Run) -> dict[str, int]:
    """Waits until all of its processes are there."""

    def look() -> dict[str, int]:
        assert run.process.poll() is None
        family = run.family()
        return family if set(family) == set(MARKS) else {}

    return wait_for("everybody", look, 60)


def test_a_server_that_dies_costs_its_row_alone(tmp_path: Path) -> None:
    with begun(tmp_path / "rig.json", "r04u", *SHORT) as run:
        os.kill(everybody(run)["server"], signal.SIGKILL)
        assert run.ended() in (1, 4)
        assert run.row("r04").why == "The server ended: it was killed by SIGKILL."
        assert run.row("r04u").value is not None


def test_ctrl_c_keeps_what_there_is(tmp_path: Path) -> None:
    with begun(tmp_path / "rig.json", "r04", "r04u", "--quick", "--rounds", "100") as run:
        everybody(run)
        everyone = descendants(run.process.pid)
        run.process.send_signal(signal.SIGINT)
        assert run.ended() in (1, 4)
        assert not any(map(is_alive, everyone))
    rows = {row.row: row.why for row in run.results.rows}
    assert set(rows) == {"r04", "r04u"}
    assert all(why is not None and "stopped" in why for why in rows.values())


# Where things are missing ------------------------------------------------------------------------


def test_without_namespaces_it_runs_on_loopback_and_says_so(tmp_path: Path) -> None:
    with begun(tmp_path / "rig.json", "--loopback", "r04u", *SHORT) as run:
        # r04u was asked for by name.
        assert run.ended() in (3, 4)
        found = run.results
    assert any("loopback" in note for note in found.notes)
    assert run.row("r04").value is not None
    assert "nothing counts" in (run.row("r04u").why or "")


def only(tmp_path: Path, *names: str) -> tuple[str, ...]:
    """Begins a command with these programs and no others."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("ip", *names):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    return ("env", f"PATH={tools}")


def test_without_nft_viewers_count_themselves(tmp_path: Path) -> None:
    with begun(tmp_path / "rig.json", *SHORT, within=only(tmp_path)) as run:
        out, _ = run.process.communicate(timeout=LONGEST_S)
    assert run.process.returncode in (3, 4)
    (line,) = [line for line in out.splitlines() if line.startswith("pyforward-bench: sinks read")]
    assert "nftables" in line
    assert line.removeprefix("pyforward-bench: ") in run.results.notes
    assert run.row("r04").value is not None


NO_NAMESPACES = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$0" "$@"'


@pytest.mark.parametrize(
    ("within", "words"),
    [
        pytest.param(("env", "PATH=/nowhere"), "ip is not installed", id="no-ip"),
        pytest.param(
            ("unshare", "--user", "--map-root-user", "sh", "-c", NO_NAMESPACES),
            "unshare: No space left on device. Be root, or allow them",
            id="none-allowed",
        ),
    ],
)
def test_why_there_are_no_namespaces_is_said(
    tmp_path: Path, within: tuple[str, ...], words: str
) -> None:
    with begun(tmp_path / "rig.json", *SHORT, within=within) as run:
        out, _ = run.process.communicate(timeout=LONGEST_S)
    assert run.process.returncode in (3, 4)
    (line,) = [line for line in out.splitlines() if words in line]
    assert line.startswith("pyforward-bench: No network namespaces: ")
    assert line.endswith("The run takes place on loopback.")
    assert run.row("r04").value is not None


def test_a_second_namespace_that_is_refused_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *("unshare", "--user", "--map-root-user", "--net", "sh", "-c", NO_NAMESPACES),
            *(sys.executable, "-m", "pyforward_bench.rig"),
        ],
        input=json.dumps(a_job(tmp_path / "rig.json")),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    why = "The server's network namespace cannot be made: unshare: No space left on device. "
    assert line.startswith(f"pyforward-bench: {why}")
    assert "user.max_net_namespaces" in line
    (row,) = results.read(tmp_path / "rig.json").rows
    assert row.why is not None
    assert row.why in line


def a_job(path: Path) -> dict[str, object]:
    """As :func:`pyforward_bench.rig.command.run` hands it over."""
    return {
        "config": {},
        "rows": ["r04"],
        "named": False,
        "quick": True,
        "rounds": 1,
        "seconds": 0.5,
        "output": str(path),
        "isolated": True,
        "refused": False,
        "ipv6": False,
        "cores": [0, 1],
        "peers": [],
        "argv": [],
        "ceiling": "",
    }


@pytest.mark.alone
def test_other_forwarders_are_measured_where_they_are_installed(tmp_path: Path) -> None:
    # As long as from one keyframe to the next: of less, one at its end looks like a loss.
    short = ("peers", "--quick", "--rounds", "1", "--seconds", "2")
    with begun(tmp_path / "rig.json", *short, within=only(tmp_path, "nft")) as run:
        # Half a dozen servers, one after the other; and what is missing was asked for by name.
        assert run.ended(300) in (1, 3, 4)
        rows = {row.name.rpartition(": ")[2]: row for row in run.results.rows}
    for name in ("baseline", "aiortc"):
        times = rows[f"this server to {name}"]
        assert (times.value is None) == (rows[name].value is None)
        if times.value is None:  # how busy this machine is decides that, and is no fault
            assert "does not keep up" in (times.why or ""), rows
            continue
        assert (rows[name].value or 0.0) > 0, rows
        assert (times.unit, times.met is not None) == ("times", True)
        (note,) = (note for note in run.results.notes if f": {name}: " in note)
        assert "SRTP_AEAD_AES_128_GCM" in note
    for name in ("janus", "this server to janus"):
        assert rows[name].value is None
        assert "apt-get install janus" in (rows[name].why or "")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("r99",), 2, "There is no row r99"),
        (("r01", "--ceiling", "/nowhere/ceiling"), 3, "no program"),
    ],
)
def test_what_keeps_it_from_beginning_is_a_line(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    with begun(tmp_path / "rig.json", *arguments) as run:
        out, _ = run.process.communicate(timeout=LONGEST_S)
    assert run.process.returncode == code
    (told,) = out.splitlines()
    assert told.startswith("pyforward-bench: ")
    assert words in told


def test_one_core_is_too_few(tmp_path: Path) -> None:
    core = str(min(os.sched_getaffinity(0)))
    with begun(tmp_path / "rig.json", "r04", within=("taskset", "-c", core)) as run:
        out, _ = run.process.communicate(timeout=LONGEST_S)
    assert run.process.returncode == 3
    assert "two cores" in out
