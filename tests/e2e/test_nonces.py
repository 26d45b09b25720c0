"""Never two byte strings under one nonce: what leaves the server, held side by side.

AES-GCM loses its key and AES-CM becomes a two-time pad when one (SSRC, rollover counter, sequence
number) is ever sealed over two byte strings. A viewer that asks again and again keeps every
datagram.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.e2e.camera import Camera
from tests.e2e.peer import CM, GCM_128, Peer, Rtp, joined, nack
from tests.e2e.sdp import rtx_ssrc_of, ssrc_of, video
from tests.e2e.server import Server, running


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as server:
        yield server


class Studio:
    """A publisher and a viewer of one stream."""

    def __init__(
        self, server: Server, name: str, profile: str = GCM_128, rtx: int | None = None
    ) -> None:
        self.server, self.name = server, name
        self.publish()
        self.viewer = joined(
            server, f"/whep/{name}", [video(rtx=rtx)], profiles=[profile]
        ).connect()
        self.ssrc = ssrc_of(self.viewer.answer, "video")

    def publish(self) -> None:
        """A publisher, in the place of the one before."""
        publisher = joined(self.server, f"/whip/{self.name}", [video()]).connect()
        self.camera = Camera(publisher)

    def show(self, pictures: int, *, key: bool = False) -> None:
        """So many pictures, each with packets of unequal length, all of which arrive."""
        for number in range(pictures):
            self.camera.show(key=key and number == 0, packets=4)
            self.viewer.wait_for_rtp(4)

    def start(self) -> None:
        """Pictures until the viewer has got its first keyframe."""
        for _ in range(100):
            self.camera.show(key=True, packets=4)
            if self.viewer.pumped(lambda: len(self.viewer.rtp) >= 4, 0.1):
                break
        self.viewer.pumped(lambda: False, 0.1)

    def ask_again(self, rounds: int) -> None:
        """Asks for everything that came lately, and for all of it again in every round."""
        numbers = sorted({packet.sequence for packet in self.viewer.rtp[-60:]})
        for _ in range(rounds):
            self.viewer.send_rtcp(nack(1, self.ssrc, numbers))
            self.come(len(numbers))

    def come(self, count: int) -> None:
        """So many datagrams come, or half a second is over: not everything is sent again."""
        wanted = len(self.viewer.sealed) + count
        self.viewer.pumped(lambda: len(self.viewer.sealed) >= wanted, 0.5)


def by_nonce(viewer: Peer) -> dict[tuple[int, int], list[bytes]]:
    """Every sealed RTP datagram by SSRC and sequence number. No rollover happens in these tests:
    libsrtp, which counts them, opened each first one, and numbers begin below 2^15."""
    found: dict[tuple[int, int], list[bytes]] = defaultdict(list)
    for datagram in viewer.sealed:
        if not 64 <= datagram[1] & 0x7F < 96:
            ssrc, sequence = datagram[8:12], datagram[2:4]
            found[int.from_bytes(ssrc, "big"), int.from_bytes(sequence, "big")].append(datagram)
    return found


def close(studio: Studio) -> None:
    studio.viewer.drop()
    studio.camera.peer.drop()


@pytest.mark.parametrize("profile", [GCM_128, CM])
def test_what_is_repeated_is_repeated_byte_by_byte(server: Server, profile: str) -> None:
    studio = Studio(server, f"plain-{profile}", profile)
    studio.start()
    studio.show(10, key=True)
    studio.ask_again(4)
    studio.show(5)
    studio.ask_again(4)
    repeated = {n: d for n, d in by_nonce(studio.viewer).items() if len(d) > 1}
    assert len(repeated) >= 40
    assert sum(map(len, repeated.values())) >= 200
    for nonce, datagrams in repeated.items():
        assert len(set(datagrams)) == 1, nonce
    close(studio)


def test_it_holds_over_a_change_of_publisher(server: Server) -> None:
    studio = Studio(server, "changed")
    studio.start()
    studio.show(5, key=True)
    studio.ask_again(2)
    studio.publish()
    for _ in range(2):
        # The new one's numbers and sizes are the same as the old one's, its bytes are not.
        studio.show(5, key=True)
        studio.ask_again(2)
    found = by_nonce(studio.viewer)
    repeated = [datagrams for datagrams in found.values() if len(datagrams) > 1]
    assert len(repeated) >= 20
    assert all(len(set(datagrams)) == 1 for datagrams in repeated)
    assert len(found) == len({packet.sequence for packet in studio.viewer.rtp})
    close(studio)


def test_rtx_seals_each_time_anew_under_a_number_of_its_own(server: Server) -> None:
    studio = Studio(server, "rtx", rtx=97)
    studio.start()
    studio.show(10, key=True)
    studio.ask_again(4)
    studio.viewer.wait("repairs", lambda: len(repairs(studio.viewer)) >= 60)
    assert all(len(datagrams) == 1 for datagrams in by_nonce(studio.viewer).values())
    originals = {p.sequence: p for p in studio.viewer.rtp if p.ssrc == studio.ssrc}
    for packet in repairs(studio.viewer):
        # RFC 4588 §4: the original's number, then its payload.
        assert packet.payload_type == 97
        original = originals[int.from_bytes(packet.payload[:2], "big")]
        assert packet.payload[2:] == original.payload
        assert (packet.timestamp, packet.marker) == (original.timestamp, original.marker)
    close(studio)


def test_every_payload_is_the_publishers(server: Server) -> None:
    studio = Studio(server, "payloads")
    studio.start()
    studio.show(10, key=True)
    sent = list(studio.camera.made.values())
    assert [packet.payload for packet in studio.viewer.rtp] == sent[-len(studio.viewer.rtp) :]
    close(studio)


def repairs(viewer: Peer) -> list[Rtp]:
    ssrc = rtx_ssrc_of(viewer.answer)
    return [packet for packet in viewer.rtp if packet.ssrc == ssrc]
