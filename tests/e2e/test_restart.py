"""ICE restarts by PATCH against a running server: a viewer and a publisher go on from a new socket
under new credentials (RFC 9725 §4.3.3)."""

from __future__ import annotations

import re
import secrets
import socket
import time

import pytest

from tests.e2e.peer import Peer, joined
from tests.e2e.sdp import audio, credentials, video
from tests.e2e.server import FRAGMENT, Server, running


def restart(peer: Peer, if_match: str = '"*"') -> None:
    """New credentials for both sides; nothing has left the peer yet."""
    peer.local = secrets.token_hex(4), secrets.token_hex(12)
    ufrag, pwd = peer.local
    answer = peer.patch(
        f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n",
        if_match,
    )
    assert (answer.status, answer.headers["content-type"]) == (200, FRAGMENT), answer
    assert answer.headers["etag"] != peer.etag
    assert "m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n" in answer.text
    ports = re.findall(r"^a=candidate:\S+ 1 udp \d+ \S+ (\d+) typ host", answer.text, re.MULTILINE)
    assert {int(port) for port in ports} == {peer.remote[1]}
    peer.etag = answer.headers["etag"]
    peer.remote_ufrag, peer.remote_pwd = credentials(answer.text)


def moved(peer: Peer) -> socket.socket:
    """The peer goes on from a socket of another port; its old one."""
    old = peer.socket
    peer.socket = socket.socket(old.family, socket.SOCK_DGRAM)
    peer.socket.setblocking(False)
    peer.socket.connect(peer.remote)
    return old


@pytest.mark.parametrize("moves", [False, True])
def test_a_viewer_restarts(moves: bool) -> None:
    with running(command="demo") as server:
        # Often enough for both shards to be met.
        viewer = joined(server, "/whep/demo", [audio(), video("H264")]).connect()
        viewer.wait_for_rtp(20)
        for _ in range(6):
            retired = viewer.remote_ufrag, viewer.remote_pwd, viewer.local
            restart(viewer)
            viewer.wait_for_rtp(5)
            # As long as nothing has come with the new ones, the old ones hold.
            fresh = viewer.remote_ufrag, viewer.remote_pwd, viewer.local
            viewer.remote_ufrag, viewer.remote_pwd, viewer.local = retired
            viewer.checked()
            viewer.remote_ufrag, viewer.remote_pwd, viewer.local = fresh
            if moves:
                moved(viewer).close()
            viewer.checked()
            viewer.wait_for_rtp(20)
            assert_unknown(server, viewer, retired)
        (shown,) = server.viewers("demo")
        assert shown["address"].rpartition(":")[2] == str(viewer.socket.getsockname()[1])
        assert viewer.drop().status == 200


def test_a_publisher_restarts() -> None:
    with running() as server:
        publisher = joined(server, "/whip/live", [audio()]).connect()
        viewer = joined(server, "/whep/live", [audio()]).connect()
        for sequence in range(60):
            if sequence % 10 == 5:
                restart(publisher, publisher.etag if sequence == 5 else "*")
                moved(publisher).close()
                publisher.checked()
            publisher.send_rtp(packet(sequence))
            publisher.pumped(lambda: False, 0.01)
        viewer.wait("all of it", lambda: len({p.payload for p in viewer.rtp}) == 60)
        assert [p.payload for p in viewer.rtp] == [payload(n) for n in range(60)]
        numbers = [p.sequence for p in viewer.rtp]
        assert [n - numbers[0] for n in numbers] == list(range(60)), "one run of numbers"
        publisher.drop()
        viewer.drop()


def payload(number: int) -> bytes:
    return b"sound %d" % number


def packet(number: int) -> bytes:
    head = bytes([0x80, 111]) + number.to_bytes(2, "big")
    return head + (960 * number).to_bytes(4, "big") + (0x2222).to_bytes(4, "big") + payload(number)


def assert_unknown(server: Server, peer: Peer, retired: tuple[str, str, tuple[str, str]]) -> None:
    """A check with what was retired is counted and not answered."""
    before = server.discards("stun_unknown_ufrag")
    fresh = peer.remote_ufrag, peer.remote_pwd, peer.local
    peer.remote_ufrag, peer.remote_pwd, peer.local = retired
    transaction = peer.check()
    peer.remote_ufrag, peer.remote_pwd, peer.local = fresh
    until = time.monotonic() + 20
    while server.discards("stun_unknown_ufrag") == before:
        assert time.monotonic() < until
        peer.pumped(lambda: False, 0.02)
    assert transaction not in peer.answers
