"""``pyforward watch`` against a server of ours: what it prints, how it ends, what it leaves."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.commands import command, run
from tests.e2e.server import ROOT, Server, running, wait_for

FIELDS = {
    "viewers",
    "joined",
    "failed",
    "ended",
    "srtp_profile",
    "first_packet_ms",
    "first_keyframe_ms",
    "tracks",
}
TRACK_FIELDS = {
    "kind",
    "codec",
    "packets_expected",
    "packets_received",
    "packets_repaired",
    "packets_lost",
    "bytes",
    "jitter_ms",
    "frames",
    "keyframes",
}


@pytest.fixture(scope="module")
def demo() -> Iterator[Server]:
    with running(command="demo") as server:
        yield server


def nobody_is_left(server: Server, stream: str = "demo") -> None:
    wait_for("no viewers", lambda: not server.viewers(stream))


# What it prints -----------------------------------------------------------------------------------


def test_the_json_of_several_viewers(demo: Server) -> None:
    ended = run("watch", f"{demo.url}/whep/demo", "--count=5", "--duration=4", "--json")
    assert ended.code == 0, ended.err
    figures = ended.figures
    assert figures.keys() == FIELDS
    assert (figures["viewers"], figures["joined"]) == (5, 5)
    assert (figures["failed"], figures["ended"]) == ({}, {})
    assert figures["srtp_profile"] == "SRTP_AEAD_AES_128_GCM"
    # The demo has a keyframe every two seconds.
    assert 0 < figures["first_packet_ms"] <= figures["first_keyframe_ms"]
    audio, video = figures["tracks"]
    assert audio.keys() == video.keys() == TRACK_FIELDS
    assert (audio["kind"], audio["codec"]) == ("audio", "opus")
    assert (video["kind"], video["codec"]) == ("video", "h264")
    for track in (audio, video):
        assert track["packets_received"] > 0
        assert track["packets_lost"] == 0
        lost = track["packets_expected"] - track["packets_received"]
        assert 0 <= lost <= track["packets_repaired"]
        assert track["bytes"] > track["packets_received"]
        assert track["jitter_ms"] >= 0
    assert audio["frames"] == audio["packets_received"]
    assert audio["keyframes"] == 0
    assert 0 < video["keyframes"] < video["frames"] <= video["packets_received"]
    nobody_is_left(demo)


def test_for_people(demo: Server) -> None:
    ended = run("watch", f"{demo.url}/whep/demo", "--duration=0")
    assert "1 of 1 viewers joined (SRTP_AEAD_AES_128_GCM)" in ended.out
    assert not ended.out.lstrip().startswith("{")
    nobody_is_left(demo)


# Its end ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_prints_the_results_so_far(demo: Server, number: signal.Signals) -> None:
    with command("watch", f"{demo.url}/whep/demo", "--count=3", "--json") as watching:

        def flows() -> bool:
            viewers = demo.viewers("demo")
            return len(viewers) == 3 and all(viewer["packets"] > 20 for viewer in viewers)

        wait_for("three viewers", flows)
        watching.interrupt(number)
        ended = watching.ended()
    assert ended.code == 0, ended.err
    assert ended.figures["joined"] == 3
    assert sum(track["packets_received"] for track in ended.figures["tracks"]) >= 60
    assert ended.figures["ended"] == {}
    nobody_is_left(demo)


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [((), "stream_not_found"), (("--streams-declared=later",), "stream_not_live")],
)
def test_a_stream_that_begins_later(arguments: tuple[str, ...], refusal: str) -> None:
    with running(*arguments) as server:
        url = f"{server.url}/whep/later"
        with command("watch", url, "--json", "--patience=60") as watching:
            wait_for("a refusal", lambda: refused(server, refusal))
            with command("publish", "test", f"{server.url}/whip/later") as publishing:
                publishing.says("publishing to")
                wait_for("a viewer", lambda: [v for v in server.viewers("later") if v["packets"]])
                watching.interrupt()
                ended = watching.ended()
                publishing.interrupt()
                assert publishing.ended().code == 0
    assert ended.figures["joined"] == 1
    assert ended.figures["failed"] == {}


def refused(server: Server, reason: str) -> float:
    """Viewers that were sent away with this reason."""
    samples = server.metrics().items()
    return sum(n for name, n in samples if "joins_total" in name and f'reason="{reason}"' in name)


def test_a_stream_that_never_begins() -> None:
    with running() as server:
        for patience in (0, 1):
            ended = run("watch", f"{server.url}/whep/never", f"--patience={patience}", "--json")
            assert ended.code == 1
            assert ended.figures["failed"] == {"http_404": 1}
            assert ended.figures["joined"] == 0
        ended = run("watch", f"{server.url}/whep/never", "--patience=0")
        assert "1 failed (http_404)" in ended.out
        assert "There is no stream" in ended.out


def test_some_of_many_find_no_place() -> None:
    with running("--limits-viewers=4", command="demo") as server:
        ended = run(
            "watch",
            f"{server.url}/whep/demo",
            "--count=6",
            "--duration=3",
            "--json",
            "--patience=0",
        )
        assert ended.code == 1
        assert ended.figures["viewers"] == 6
        assert ended.figures["joined"] == 4
        assert sum(ended.figures["failed"].values()) == 2
        nobody_is_left(server)


def test_a_server_that_is_killed() -> None:
    with running(command="demo") as server:
        url = f"{server.url}/whep/demo"
        with command("watch", url, "--count=2", "--json", "--ice-silence-s=1") as watching:
            wait_for("packets", lambda: [v for v in server.viewers("demo") if v["packets"] > 20])
            wait_for("both", lambda: len(server.viewers("demo")) == 2)
            server.process.kill()
            ended = watching.ended()
        server.process.wait()
        server.process.returncode = 0  # meant so
    assert ended.code == 1
    assert ended.figures["joined"] == 2
    assert ended.figures["ended"] == {"silent": 2}
    assert ended.figures["tracks"][0]["packets_received"] > 0


def test_a_server_that_stops_says_so() -> None:
    with (
        running(command="demo") as server,
        command("watch", f"{server.url}/whep/demo", "--json") as watching,
    ):
        # Enough for a look of its own at its figures.
        wait_for("packets", lambda: [v for v in server.viewers("demo") if v["packets"] > 300])
        server.stop()
        ended = watching.ended()
    assert ended.figures["ended"] == {"bye": 1}
    assert ended.code == 0, ended.err


# What goes wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("watch", "not an address"), 2, "looks like https://host/whep/stream"),
        (("watch", "ftp://host/whep/x"), 2, "looks like https://host/whep/stream"),
        (("watch", "http://h/x", "--header=nonsense"), 2, "Name: value"),
        (("watch", "http://h/x", "--header=Na me: x"), 2, "cannot be sent"),
        (("watch", "http://h/x", "--ca-file=/does/not/exist"), 2, "CA file"),
        (("publish", "/does/not/exist.mp4", "http://h/x"), 2, "There is no file"),
        (("publish", "pyproject.toml", "http://h/x"), 2, "neither video nor audio"),
        (("publish", "test", "not an address"), 2, "looks like https://host/whep/stream"),
    ],
)
def test_errors_before_anything_is_one_line(
    arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.out) == (code, "")
    assert says in ended.sentence


@pytest.mark.parametrize("arguments", [("--count=0",), ("--duration=-1",), ("--patience=-1",)])
def test_numbers_that_are_none(arguments: tuple[str, ...]) -> None:
    assert run("watch", "http://127.0.0.1:9/whep/x", *arguments).code == 2


def test_no_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/whip/x"
    watched = run("watch", url, "--json")
    assert watched.code == 1
    assert watched.figures["failed"] == {"unreachable": 1}
    published = run("publish", "test", url)
    assert published.code == 1
    assert "Connection refused" in published.sentence


def test_tokens() -> None:
    arguments = ("--auth-view-token=right", "--auth-publish-token=other")
    with running(*arguments, command="demo") as server:
        url = f"{server.url}/whep/demo"
        for token, reason in ((), "http_401"), (("--token=wrong",), "http_403"):
            ended = run("watch", url, "--json", *token)
            assert (ended.code, ended.figures["failed"]) == (1, {reason: 1})
        right = run(
            "watch", url, "--json", "--duration=1", environment={"PYFORWARD_TOKEN": "right"}
        )
        assert right.figures["joined"] == 1
        header = run("watch", url, "--json", "--duration=1", "--header=Authorization: Bearer right")
        assert header.figures["joined"] == 1
        published = run("publish", "test", f"{server.url}/whip/demo", "--token=right")
        assert published.code == 1
        assert "403" in published.sentence


def test_a_missing_extra(tmp_path: Path) -> None:
    (tmp_path / "av.py").write_text("raise ImportError('no PyAV here')\n")
    path = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    ended = run("publish", "film.mp4", "http://127.0.0.1:9/whip/x", environment=path)
    assert ended.code == 3
    assert "pyforward[media]" in ended.sentence
