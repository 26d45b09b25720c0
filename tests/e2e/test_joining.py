"""A peer joins: the ways in which its first datagrams may come."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.peer import CM, GCM_128, GCM_256, joined
from tests.e2e.sdp import audio, video
from tests.e2e.server import Server, running


@pytest.fixture(scope="module")
def demo() -> Iterator[Server]:
    with running(command="demo") as server:
        yield server


@pytest.mark.parametrize("profile", [GCM_128, GCM_256, CM])
def test_media_comes_by_each_profile(demo: Server, profile: str) -> None:
    viewer = joined(demo, "/whep/demo", [audio(), video("H264")], profiles=[profile]).connect()
    viewer.wait("audio and video", lambda: len({packet.ssrc for packet in viewer.rtp}) == 2)
    assert viewer.profile == profile
    (shown,) = demo.viewers("demo")
    assert shown["srtp_profile"] == profile
    assert viewer.drop().status == 200


def test_our_order_of_profiles_wins(demo: Server) -> None:
    viewer = joined(demo, "/whep/demo", [video("H264")], profiles=[CM, GCM_256, GCM_128]).connect()
    assert viewer.profile == GCM_128
    viewer.drop()


def test_a_client_hello_in_two_datagrams_right_behind_the_checks_answer(demo: Server) -> None:
    # Chromium's is 1,413 bytes long.
    viewer = joined(demo, "/whep/demo", [video("H264")], hello_padding=1150)
    hello = viewer.hello()
    assert len(hello) == 2
    assert 1380 < sum(map(len, hello)) < 1480
    viewer.checked()
    for datagram in hello:
        viewer.send(datagram)
    viewer.wait("keys", lambda: viewer.inbound is not None)
    viewer.wait_for_rtp(5)
    viewer.drop()


def test_a_client_hello_behind_the_check_without_waiting_for_its_answer(demo: Server) -> None:
    viewer = joined(demo, "/whep/demo", [video("H264")], hello_padding=1150)
    viewer.check()
    sent = viewer.hello()
    for datagram in sent:
        viewer.send(datagram)
    # Before the retransmission timer: nothing of it was lost on the way through control.
    viewer.wait("keys", lambda: viewer.inbound is not None)
    assert viewer.dtls_records
    viewer.wait_for_rtp(5)
    viewer.drop()


def test_the_parts_of_a_client_hello_may_change_places(demo: Server) -> None:
    viewer = joined(demo, "/whep/demo", [video("H264")], mtu=400, hello_padding=1150)
    hello = viewer.hello()
    assert len(hello) >= 4
    viewer.checked()
    for datagram in (*reversed(hello), hello[0]):
        viewer.send(datagram)
    viewer.wait("keys", lambda: viewer.inbound is not None)
    viewer.wait_for_rtp(5)
    viewer.drop()


def test_the_first_check_is_answered_however_soon_it_comes(demo: Server) -> None:
    # A lost one costs a peer half a second or more until it tries again.
    before = demo.discards("stun_unknown_ufrag")
    for _ in range(150):
        viewer = joined(demo, "/whep/demo", [video("H264")])
        viewer.checked(tries=1)
        viewer.drop()
    assert demo.discards("stun_unknown_ufrag") == before
