"""Who ends a session and what its peer hears of it, in the real process (docs/lifetimes.md)."""

from __future__ import annotations

import http.client
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from tests.e2e.camera import Camera
from tests.e2e.peer import Peer, bye, joined, packets_of
from tests.e2e.sdp import audio, ssrc_of, video
from tests.e2e.server import Server, running, wait_for
from tests.e2e.watching import Watching, watching

CONNECT_S, HANDSHAKE_S, SILENCE_S, WAIT_S = 2, 3, 3, 2
GONE_WITHIN_S = 4.0
"""The server ends itself after 1.9 s whatever hangs; a busy machine is slow in letting it go."""

BYE = 203
DISCARDED = "pyforward_discards_total"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    times = {
        "--ice-connect-timeout-s": CONNECT_S,
        "--dtls-handshake-timeout-s": HANDSHAKE_S,
        "--ice-silence-s": SILENCE_S,
        "--streams-wait-s": WAIT_S,
    }
    arguments = [text for name, value in times.items() for text in (name, str(value))]
    with running(*arguments, command="demo") as server:
        yield server


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(server: Server) -> Iterator[None]:
    yield
    wait_for("an end of all sessions", lambda: server.sessions() == 1)
    wait_for("an end of all streams", lambda: len(server.streams()) == 1)
    told = server.metrics()
    states = ("handshaking", "lingering", "waiting")
    assert not any(told[f'pyforward_dtls_handshakes{{state="{state}"}}'] for state in states)


def watcher(server: Server, name: str = "demo") -> Peer:
    viewer = joined(server, f"/whep/{name}", [audio(), video("H264")]).connect()
    viewer.wait_for_rtp(3)
    return viewer


def published(server: Server, name: str) -> tuple[Watching, Camera]:
    """A publisher that stays alive by itself."""
    peer = joined(server, f"/whip/{name}", [video()]).connect()
    return Watching(peer), Camera(peer)


def said_bye(peer: Peer) -> set[int]:
    """Whose BYE has come."""
    found = set()
    for compound in peer.rtcp:
        for kind, count, body in packets_of(compound):
            if kind == BYE:
                found |= {int.from_bytes(body[4 * n : 4 * n + 4], "big") for n in range(count)}
    return found


def hears_farewell(viewer: Peer) -> None:
    """BYE for each of its tracks, then an authentic close_notify, and nothing after it."""
    viewer.wait("close_notify", lambda: viewer.closed)
    assert said_bye(viewer) == {ssrc_of(viewer.answer, kind) for kind in ("audio", "video")}
    heard = len(viewer.rtp), len(viewer.rtcp)
    viewer.pumped(lambda: False, 0.2)
    assert (len(viewer.rtp), len(viewer.rtcp)) == heard


def test_delete_ends_it_at_once(server: Server) -> None:
    viewer = watcher(server)
    assert server.request("DELETE", viewer.location).status == 200
    hears_farewell(viewer)
    assert server.request("DELETE", viewer.location).status == 404
    # Its path is nobody's from now on.
    before = server.discards("unknown_session")
    viewer.send_rtcp(bye(1))
    wait_for("a drop", lambda: server.discards("unknown_session") == before + 1)
    viewer.close()


def test_an_operator_ends_a_session(server: Server) -> None:
    viewer = watcher(server)
    (shown,) = server.viewers("demo")
    assert server.request("DELETE", f"/api/sessions/{shown['session']}").status == 200
    hears_farewell(viewer)
    assert not server.viewers("demo")
    viewer.close()


def test_bye_and_then_silence(server: Server) -> None:
    viewer = watcher(server)
    viewer.falls_silent()
    viewer.send_rtcp(bye(1))
    # It gets its farewell like everybody.
    hears_farewell(viewer)
    assert not server.viewers("demo")
    viewer.close()


def test_bye_of_somebody_who_stays_is_a_hint(server: Server) -> None:
    viewer = watcher(server)
    viewer.send_rtcp(bye(1))
    since = time.monotonic()
    viewer.wait("longer than BYE waits", lambda: time.monotonic() - since > SILENCE_S + 1)
    assert len(server.viewers("demo")) == 1
    viewer.wait_for_rtp(3)
    viewer.drop()


def test_silence_ends_it(server: Server) -> None:
    viewer = watcher(server)
    since = time.monotonic()
    viewer.falls_silent()
    viewer.wait("close_notify", lambda: viewer.closed)
    assert time.monotonic() - since > SILENCE_S - 0.5
    hears_farewell(viewer)
    viewer.close()


def test_checks_alone_keep_it_alive(server: Server) -> None:
    viewer = watcher(server)
    since = time.monotonic()
    viewer.wait("longer than silence is allowed", lambda: time.monotonic() - since > SILENCE_S + 2)
    assert len(server.viewers("demo")) == 1
    viewer.drop()


def test_reports_alone_keep_it_alive(server: Server) -> None:
    # FFmpeg sends no checks once it is connected.
    viewer = watcher(server)
    viewer.falls_silent()
    since = time.monotonic()
    while time.monotonic() - since < SILENCE_S + 2:
        viewer.send_rtcp(b"\x80\xc9\x00\x01" + bytes(4))
        viewer.wait_for_rtp(20)
    assert len(server.viewers("demo")) == 1
    viewer.drop()


def test_who_never_checks_is_forgotten(server: Server) -> None:
    publisher = joined(server, "/whip/never", [video()])
    viewer = joined(server, "/whep/demo", [video("H264")])
    assert server.sessions() == 3
    wait_for("an end of both", lambda: server.sessions() == 1, CONNECT_S + 10)
    assert [stream["name"] for stream in server.streams()] == ["demo"]
    # The ufrag is unknown from now on.
    before = server.discards("stun_unknown_ufrag")
    viewer.check()
    wait_for("a drop", lambda: server.discards("stun_unknown_ufrag") == before + 1)
    publisher.close()
    viewer.close()


def test_a_client_hello_that_is_never_completed(server: Server) -> None:
    with watching(server, tracks=[audio(), video("H264")]) as good:
        viewer = joined(server, "/whep/demo", [video("H264")], mtu=400, hello_padding=1150)
        parts = viewer.hello()
        viewer.checked()
        # So many times that the rest is not even passed on.
        before = server.discards("dtls_limit")
        for _ in range(100):
            for part in parts[1:]:
                viewer.send(part)
        wait_for("a limit", lambda: server.discards("dtls_limit") > before)
        good.more()
        failed = 'pyforward_joins_total{kind="watch",reason="handshake",result="failed"}'
        # Its checks go on: it is not silence that ends it.
        wait_for(
            "its end",
            lambda: viewer.check() and server.metrics().get(failed, 0) >= 1,
            HANDSHAKE_S + 10,
        )
        viewer.close()


def test_a_connection_object_goes_with_the_first_report(server: Server) -> None:
    lingering = 'pyforward_dtls_handshakes{state="lingering"}'
    viewer = joined(server, "/whep/demo", [audio(), video("H264")])
    viewer.checked()
    viewer.shake_hands()
    assert server.metric(lingering) == 1
    # The peer may not have got our last flight and asks for it again. Checks prove nothing.
    viewer.checked()
    assert server.metric(lingering) == 1
    viewer.wait_for_rtp(1)  # the keys are in place
    viewer.send_rtcp(b"\x80\xc9\x00\x01" + bytes(4))
    wait_for("an end of it", lambda: server.metric(lingering) == 0, 3)
    before = server.discards("dtls_limit")
    viewer.dtls.shutdown()
    for record in viewer.flight():
        viewer.send(record)
    wait_for("a drop", lambda: server.discards("dtls_limit") == before + 1)
    # Its close_notify was kept.
    server.request("DELETE", viewer.location)
    hears_farewell(viewer)
    viewer.close()


def test_a_close_notify_before_the_first_report_ends_it(server: Server) -> None:
    viewer = joined(server, "/whep/demo", [audio(), video("H264")])
    viewer.checked()
    viewer.shake_hands()
    viewer.dtls.shutdown()
    for record in viewer.flight():
        viewer.send(record)
    viewer.falls_silent()
    wait_for("its end", lambda: server.sessions() == 1, SILENCE_S - 0.5)
    viewer.close()


def test_a_replaced_publisher_is_told_and_its_viewers_are_not(server: Server) -> None:
    first, camera = published(server, "replaced")
    viewer = joined(server, "/whep/replaced", [video()]).connect()
    while not viewer.rtp:
        camera.show(key=True)
        viewer.pumped(lambda: False, 0.05)
    second, other = published(server, "replaced")
    # One that never connects, and one that has its keys: as yet they change nothing.
    lost = joined(server, "/whip/replaced", [video()])
    for _ in range(3):
        seen = len(viewer.rtp)
        camera.show(packets=2)
        viewer.wait("the first one's picture", lambda: len(viewer.rtp) == seen + 2)  # noqa: B023
    assert not first.is_closed()
    other.show(packets=2)
    seen = len(viewer.rtp)
    other.show(key=True, packets=3)
    wait_for("close_notify", first.is_closed)
    viewer.wait("the other's picture", lambda: len(viewer.rtp) == seen + 3)
    assert [packet.payload for packet in viewer.rtp[-3:]] == list(other.made.values())[-3:]
    before = server.discards("unknown_session")
    camera.show(key=True, packets=3)
    wait_for("drops", lambda: server.discards("unknown_session") == before + 3)
    lost.drop()
    # One sequence goes on.
    numbers = [packet.sequence for packet in viewer.rtp]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert not viewer.closed
    assert not said_bye(viewer)
    for watch in (first, second):
        watch.end()
    first.peer.close()
    second.peer.drop()
    # Nobody comes back: the stream ends, and its viewer is told.
    viewer.wait("close_notify", lambda: viewer.closed)
    assert said_bye(viewer) == {ssrc_of(viewer.answer, "video")}
    viewer.close()


def test_an_operator_ends_a_stream(server: Server) -> None:
    publisher, _ = published(server, "ended")
    viewer = Watching(joined(server, "/whep/ended", [video()]).connect())
    assert server.request("DELETE", "/api/streams/ended").status == 200
    for watch in (publisher, viewer):
        wait_for("close_notify", watch.is_closed)
        watch.end()
        watch.peer.close()
    assert said_bye(viewer.peer) == {ssrc_of(viewer.peer.answer, "video")}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_of_the_process_is_said_to_everybody(number: signal.Signals) -> None:
    with running(command="demo") as server:
        publisher, _ = published(server, "mine")
        viewers = [Watching(watcher(server)) for _ in range(3)]
        half_open = joined(server, "/whep/demo", [video("H264")])
        told: list[int] = []
        asking = threading.Thread(target=ask_readiness, args=(server, told))
        asking.start()
        wait_for("readiness", lambda: told)

        since = time.monotonic()
        server.process.send_signal(number)
        assert server.process.wait(30) == 0
        took_s = time.monotonic() - since
        asking.join()

        assert took_s < GONE_WITHIN_S
        # Never ready again once it was not.
        assert told == sorted(told)
        assert set(told) <= {200, 503, 999}
        for watch in (publisher, *viewers):
            wait_for("close_notify", watch.is_closed, 5)
            watch.end()
            watch.peer.close()
        for watch in viewers:
            expected = {ssrc_of(watch.peer.answer, kind) for kind in ("audio", "video")}
            assert said_bye(watch.peer) == expected
        half_open.close()


def ask_readiness(server: Server, told: list[int]) -> None:
    """Asks again and again; 999 when nobody answers any more."""
    connection = server.connect()
    while not told or told[-1] < 999:
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            response.read()
            told.append(response.status)
        except (http.client.HTTPException, OSError):
            told.append(999)
