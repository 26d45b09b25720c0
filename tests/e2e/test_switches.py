"""Each switch of the engine does on the wire what it says, seen by what the server counts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from tests.e2e.camera import Camera
from tests.e2e.peer import Peer, joined
from tests.e2e.sdp import video
from tests.e2e.server import Server, running, wait_for
from tests.e2e.watching import Watching

VIEWERS = 4
PICTURES = 10
PACKETS = 8
"""Of a picture; every second one is a byte shorter."""

TRAINS = "pyforward_train_packets_count"
IN_TRAINS = "pyforward_train_packets_sum"
EVENING = "pyforward_evening_bytes_total"
MESSAGES = "pyforward_sent_messages_total"
CALLS = "pyforward_send_calls_total"


@dataclass
class Show:
    """A publisher and its viewers, each of which has had its first keyframe."""

    server: Server
    camera: Camera
    viewers: list[Peer]

    def counted(self, pause_s: float = 0.0) -> Mapping[str, float]:
        """What the counters grow by while pictures are shown, one when everybody has the one
        before. With a pause a picture's packets are that far apart."""
        before = self._settled()
        for _ in range(PICTURES):
            for packet in self.camera.picture(packets=PACKETS):
                self.camera.peer.send_rtp(packet)
                time.sleep(pause_s)
            self.has_come()
        return self._more(before)

    def counted_one_by_one(self) -> Mapping[str, float]:
        """The same, but each packet is sent when everybody has the one before it."""
        before = self._settled()
        for _ in range(PICTURES):
            for packet in self.camera.picture(packets=PACKETS):
                self.camera.peer.send_rtp(packet)
                self.has_come(packet[12:])
        return self._more(before)

    def has_come(self, payload: bytes = b"") -> None:
        """Waits until everybody has this, or else what was made last."""
        wanted = payload or list(self.camera.made.values())[-1]
        for viewer in self.viewers:
            viewer.wait("the last packet", partial(_has, viewer, wanted))

    def _settled(self) -> Mapping[str, float]:
        """The counters once all that the viewers have is in them: a shard tells after it has sent,
        and on a busy machine that is after a viewer has it."""
        has = sum(len(viewer.rtp) for viewer in self.viewers)
        wait_for("the count", lambda: self.server.metrics()[IN_TRAINS] >= has)
        return self.server.metrics()

    def _more(self, before: Mapping[str, float]) -> Mapping[str, float]:
        everything = VIEWERS * PICTURES * PACKETS
        wait_for("the count", lambda: self._grown(before)[IN_TRAINS] >= everything)
        return self._grown(before)

    def _grown(self, before: Mapping[str, float]) -> Mapping[str, float]:
        now = self.server.metrics()
        return {name: value - before.get(name, 0) for name, value in now.items()}


def _has(viewer: Peer, payload: bytes) -> bool:
    return viewer.rtp[-1].payload == payload


PATIENT = ("--engine-frame-window-ms=100", "--engine-idle-window-ms=100")
"""A frame's packets wait for its last one, however long this machine takes to send them."""


@contextlib.contextmanager
def showing(*switches: str) -> Iterator[Show]:
    with running("--engine-shards=1", *switches) as server:
        publisher = Watching(joined(server, "/whip/show", [video()]).connect())
        camera = Camera(publisher.peer)
        viewers = [joined(server, "/whep/show", [video()]).connect() for _ in range(VIEWERS)]
        for viewer in viewers:
            while not viewer.rtp:
                camera.show(key=True)
                viewer.pumped(lambda: False, 0.1)
        show = Show(server, camera, viewers)
        camera.show()
        show.has_come()
        yield show
        publisher.end()
        for peer in (*viewers, publisher.peer):
            peer.drop()


def test_all_of_them_on() -> None:
    with showing(*PATIENT) as show:
        counted = show.counted()
        slowly = show.counted(pause_s=0.002)
    assert counted[TRAINS] == VIEWERS * PICTURES, "a picture is a train"
    assert counted[IN_TRAINS] == VIEWERS * PICTURES * PACKETS
    # Every second packet, except a picture's last one, which may be shorter.
    assert counted[EVENING] > 0
    assert counted[CALLS] < counted[MESSAGES], "one call for several viewers"
    # They wait for the end of their picture. A busy machine may make a pause longer than that.
    assert slowly[IN_TRAINS] / slowly[TRAINS] > 3


def test_without_gso_each_packet_is_a_message_of_its_own() -> None:
    with showing("--engine-gso=false") as show:
        counted = show.counted()
    assert counted[TRAINS] == counted[IN_TRAINS] == VIEWERS * PICTURES * PACKETS
    assert counted[MESSAGES] >= VIEWERS * PICTURES * PACKETS
    assert counted[EVENING] == 0


def test_without_padding_trains_end_where_the_size_changes() -> None:
    with showing("--engine-padding=false", *PATIENT) as show:
        counted = show.counted()
    assert counted[EVENING] == 0
    # One long packet and one that is shorter, and so on.
    assert counted[TRAINS] == VIEWERS * PICTURES * PACKETS / 2


def test_without_sendmmsg_each_message_is_a_call() -> None:
    with showing("--engine-sendmmsg=false", *PATIENT) as show:
        counted = show.counted()
    assert counted[TRAINS] == VIEWERS * PICTURES
    assert counted[CALLS] == counted[MESSAGES] >= VIEWERS * PICTURES


def test_without_a_window_nothing_waits_for_the_end_of_its_picture() -> None:
    with showing("--engine-frame-window-ms=0") as show:
        counted = show.counted_one_by_one()
    assert counted[TRAINS] == VIEWERS * PICTURES * PACKETS


def test_so_many_shards() -> None:
    with running("--engine-shards=3") as server:
        told = server.metrics()
    assert told["pyforward_shards"] == 3
    busy = [name for name in told if name.startswith("pyforward_shard_busy_seconds_total")]
    assert len(busy) == 3
