"""Viewers that are hard to reach, beside one that is not: it must not notice them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e.camera import Camera
from tests.e2e.namespace import link
from tests.e2e.peer import Peer, joined
from tests.e2e.sdp import video
from tests.e2e.server import Server, running
from tests.e2e.watching import Watching, watching

PACKETS = 8
PICTURES = 20
SIZE = 1150
"""Of a payload: a datagram of about 1,180 bytes."""


@pytest.fixture
def server() -> Iterator[Server]:
    with running(command="demo") as server:
        yield server


def test_viewers_whose_sockets_never_drain(server: Server) -> None:
    with watching(server) as good:
        stuck = [joined(server, "/whep/demo", [video("H264")]) for _ in range(5)]
        for viewer in stuck:
            viewer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
            viewer.connect()
        # Nobody reads what comes to them, and they say that they are there.
        until = time.monotonic() + 3
        while time.monotonic() < until:
            good.more(20)
            for viewer in stuck:
                viewer.check()
        assert len(server.viewers("demo")) == 6
        numbers = [packet.sequence for packet in good.peer.rtp]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        for viewer in stuck:
            # What is left in its buffer, and then what comes anew.
            viewer.wait_for_rtp(20)
            viewer.drop()


@pytest.mark.namespaces
@pytest.mark.parametrize("where", ["device", "route"])
def test_a_small_mtu_caps_one_viewers_trains_and_nobody_elses(where: str) -> None:
    mtu = {"mtu": 1000} if where == "device" else {"route_mtu": 1000}
    with (
        link(1, **mtu) as narrow,
        link(2) as wide,
        running(
            *("--media-bind", f"127.0.0.1,{narrow.near},{wide.near}"),
            *("--engine-frame-window-ms", "100", "--engine-idle-window-ms", "100"),
        ) as server,
    ):
        port = server.media[0][1]
        publisher = Watching(joined(server, "/whip/show", [video()]).connect())
        camera = Camera(publisher.peer)
        behind, beside = (
            place.over_there(
                partial(joined, server, "/whep/show", [video()], address=(place.near, port))
            ).connect()
            for place in (narrow, wide)
        )
        for viewer in (behind, beside):
            while not viewer.rtp:
                camera.show(key=True, packets=PACKETS, size=SIZE)
                viewer.pumped(lambda: False, 0.1)
        shown_to_all(camera, behind, beside)
        told = settled(server)
        for _ in range(PICTURES):
            shown_to_all(camera, behind, beside)
        now = settled(server)

        def grown(name: str) -> float:
            return now[name] - told[name]

        made = list(camera.made.values())[-PICTURES * PACKETS :]
        for viewer in (behind, beside):
            assert [packet.payload for packet in viewer.rtp[-PICTURES * PACKETS :]] == made
        # One message for each picture to the one, and one for each packet to the other.
        alone = PICTURES * PACKETS
        assert grown("pyforward_train_packets_sum") == 2 * PICTURES * PACKETS
        assert grown("pyforward_train_packets_count") == PICTURES + alone
        assert now["pyforward_unsegmented_trains_total"] <= 3, "it is not tried again and again"
        assert not now['pyforward_send_drops_total{reason="error"}']
        assert not now['pyforward_send_drops_total{reason="full"}']
        publisher.end()
        for peer in (behind, beside, publisher.peer):
            peer.drop()


def settled(server: Server) -> dict[str, float]:
    """Its counters once they rest: a shard tells them when it has sent, which may be after what it
    sent has come."""
    told = [server.metrics(), server.metrics()]
    while told[-1]["pyforward_train_packets_sum"] != told[-2]["pyforward_train_packets_sum"]:
        told.append(server.metrics())
    return told[-1]


def shown_to_all(camera: Camera, *viewers: Peer) -> None:
    """A picture whose last packet has come to everybody."""
    camera.show(packets=PACKETS, size=SIZE)
    last = list(camera.made.values())[-1]

    def has_come(viewer: Peer) -> bool:
        return viewer.rtp[-1].payload == last

    for viewer in viewers:
        viewer.wait("a picture", partial(has_come, viewer))
