"""``pyforward publish``: files that arrive whole at ``pyforward watch``, and how it ends."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from pyforward.media import MediaFile
from tests.e2e.commands import Ended, command, run
from tests.e2e.server import Server, running, wait_for
from tests.unit.recordings import VP8, make

SECONDS = 3.0


def film(directory: Path, codec: str, seconds: float = SECONDS) -> Path:
    """Video and Opus."""
    if codec == "h264":
        return make(directory / "film.mp4", seconds=seconds)
    return make(directory / "film.webm", video="libvpx", video_options=VP8, seconds=seconds)


def packets_of(path: Path) -> Counter[str]:
    """How many a track has, as they are sent."""
    counted: Counter[str] = Counter()
    for burst in MediaFile(path).bursts():
        counted[burst.kind] += len(burst.packets)
    return counted


def state(server: Server, stream: str) -> str:
    return str(server.get(f"/api/streams/{stream}").json["state"])


def published(ended: Ended) -> int:
    """The packets that it says it sent."""
    assert ended.code == 0, ended.err
    count, words, _ = ended.out.split(" ", 2)
    assert words == "packets"
    return int(count)


@pytest.mark.parametrize("codec", ["h264", "vp8"])
@pytest.mark.parametrize("pace", [(), ("--bursty",)], ids=["paced", "bursty"])
def test_a_file_arrives_whole(codec: str, pace: tuple[str, ...], tmp_path: Path) -> None:
    """A viewer that is there before it begins, because the same was published before."""
    path = film(tmp_path, codec)
    whole = packets_of(path)
    with running() as server:
        url = f"{server.url}/whip/film"
        with command("publish", str(path), url, "--loop") as before:
            before.says("publishing to")
            with command("watch", f"{server.url}/whep/film", "--json") as watching:
                wait_for(
                    "a keyframe", lambda: [v for v in server.viewers("film") if v["packets"] > 60]
                )
                before.interrupt()
                assert published(before.ended()) > 0
                wait_for("no publisher", lambda: state(server, "film") == "waiting")
                (viewer,) = server.viewers("film")
                assert published(run("publish", str(path), url, *pace)) == whole.total()
                wait_for("no publisher", lambda: state(server, "film") == "waiting")
                (after,) = server.viewers("film")
                watching.interrupt()
                ended = watching.ended()
    assert after["packets"] - viewer["packets"] == whole.total()
    assert ended.code == 0, ended.err
    audio, video = ended.figures["tracks"]
    assert video["codec"] == codec
    for track in (audio, video):
        assert track["packets_lost"] == 0
        assert track["packets_received"] == track["packets_expected"] > whole[track["kind"]]
    assert audio["packets_received"] + video["packets_received"] == after["packets"]
    # Each picture of so small a film is a packet; each half a second of it has a keyframe.
    assert whole["video"] == 90
    assert video["frames"] == video["packets_received"]
    assert video["keyframes"] >= 1 + 6


def test_it_ends_with_the_file(tmp_path: Path) -> None:
    path = film(tmp_path, "vp8", 1.0)
    with running() as server:
        ended = run("publish", str(path), f"{server.url}/whip/film")
        assert published(ended) == packets_of(path).total()
        assert "publishing to http://127.0.0.1:" in ended.err
        assert "/whip/film" not in ended.err, "paths are often secrets"
        wait_for("no publisher", lambda: state(server, "film") == "waiting")
        assert server.sessions() == 0


def test_a_loop_has_no_end(tmp_path: Path) -> None:
    path = film(tmp_path, "h264", 0.5)
    with running() as server:
        with command("publish", str(path), f"{server.url}/whip/film", "--loop") as publishing:
            publishing.says("publishing to")
            watched = run("watch", f"{server.url}/whep/film", "--duration=3", "--json")
            publishing.interrupt()
            ended = publishing.ended()
        wait_for("no publisher", lambda: state(server, "film") == "waiting")
    assert published(ended) > 2 * packets_of(path).total()
    assert watched.code == 0, watched.err
    audio, video = watched.figures["tracks"]
    assert audio["packets_lost"] == video["packets_lost"] == 0
    assert video["frames"] > 45
    assert video["keyframes"] > 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_no_session(number: signal.Signals) -> None:
    with running() as server:
        with command("publish", "test", f"{server.url}/whip/show") as publishing:
            publishing.says("publishing to")
            wait_for("media", lambda: state(server, "show") == "live")
            publishing.interrupt(number)
            published(publishing.ended())
        wait_for("no sessions", lambda: server.sessions() == 0)


def test_a_duration() -> None:
    with running() as server:
        published(run("publish", "test", f"{server.url}/whip/show", "--duration=1"))
        assert server.sessions() == 0


def test_a_server_that_is_killed() -> None:
    with running() as server:
        url = f"{server.url}/whip/show"
        with command("publish", "test", url, "--ice-silence-s=2") as publishing:
            publishing.says("publishing to")
            server.process.kill()
            ended = publishing.ended()
        server.process.wait()
        server.process.returncode = 0  # meant so
    assert ended.code == 1
    assert "over before its end (silent)" in ended.err


def test_another_publisher_takes_the_stream() -> None:
    with running() as server:
        url = f"{server.url}/whip/show"
        with command("publish", "test", url) as first:
            first.says("publishing to")
            published(run("publish", "test", url, "--duration=1"))
            ended = first.ended()
    assert ended.code == 1
    assert "over before its end (bye)" in ended.err


def test_a_stream_that_is_taken() -> None:
    with running("--streams-conflict=reject") as server:
        url = f"{server.url}/whip/show"
        with command("publish", "test", url) as first:
            first.says("publishing to")
            ended = run("publish", "test", url, "--patience=0")
            assert ended.code == 1
            assert "already has a publisher" in ended.sentence
            first.interrupt()
            published(first.ended())
