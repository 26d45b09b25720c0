"""Packets that nobody should send. Each is dropped under its reason, nothing else happens, and a
viewer of the same server goes on watching all the while."""

from __future__ import annotations

import contextlib
import random
import secrets
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from tests.e2e import stun
from tests.e2e.camera import Camera
from tests.e2e.peer import Peer, bye, joined, nack, packets_of, pli, receiver_report
from tests.e2e.sdp import audio, ssrc_of, video
from tests.e2e.server import Server, running, wait_for
from tests.e2e.watching import Watching, watching

DISCARDS = "pyforward_discards_total"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(command="demo") as server:
        yield server


@pytest.fixture(scope="module")
def good(server: Server) -> Iterator[Watching]:
    with watching(server) as viewer:
        yield viewer


@pytest.fixture
def stranger(server: Server) -> Iterator[socket.socket]:
    """A socket that the server has never heard of."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.connect(server.media[0])
        opened.setblocking(False)
        yield opened


@pytest.fixture
def publisher(server: Server) -> Iterator[Peer]:
    peer = joined(server, f"/whip/bad-{secrets.token_hex(4)}", [audio(), video()]).connect()
    yield peer
    assert peer.drop().status == 200


@pytest.fixture
def viewer(server: Server) -> Iterator[Peer]:
    # Audio comes at once, video with the next keyframe.
    peer = joined(server, "/whep/demo", [audio(), video("H264")]).connect()
    peer.wait_for_rtp(3)
    yield peer
    assert peer.drop().status == 200


def discards(server: Server) -> dict[str, int]:
    return {
        name.partition('"')[2].rstrip('"}'): int(count)
        for name, count in server.metrics().items()
        if name.startswith(DISCARDS)
    }


@contextlib.contextmanager
def counted(server: Server, count: int, *reasons: str) -> Iterator[None]:
    """Meanwhile so many packets are dropped, under these reasons and no others. Without reasons
    they may be any."""
    before = discards(server)

    def grown() -> dict[str, int]:
        now = discards(server)
        return {name: now[name] - before[name] for name in now if now[name] > before[name]}

    yield
    wait_for(f"{count} drops", lambda: sum(grown().values()) >= count)
    found = grown()
    assert sum(found.values()) == count, found
    assert not reasons or set(found) == set(reasons)


def answers(opened: socket.socket) -> list[bytes]:
    """What has come back by now."""
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(opened.recv(65536))
    return found


# STUN --------------------------------------------------------------------------------------------


def flipped(datagram: bytes, at: int, mask: int = 0x55) -> bytes:
    return datagram[:at] + bytes([datagram[at] ^ mask]) + datagram[at + 1 :]


Wrong = Callable[[bytes, Peer], bytes]

STUN: dict[str, tuple[str, Wrong]] = {
    "length beyond the end": ("stun_malformed", lambda d, _: d[:2] + b"\xff\xfc" + d[4:]),
    "length before the end": ("stun_malformed", lambda d, _: d[:2] + b"\x00\x08" + d[4:]),
    "length not a multiple of four": ("stun_malformed", lambda d, _: d[:2] + b"\x00\x4d" + d[4:]),
    "fingerprint": ("stun_fingerprint", lambda d, _: flipped(d, -1 + len(d))),
    "no fingerprint": (
        "stun_fingerprint",
        lambda _, p: stun.check(p.username, p.remote_pwd, fingerprint=False),
    ),
    "integrity": (
        "stun_integrity",
        lambda _, p: stun.check(p.username, p.remote_pwd[:-1] + "!"),
    ),
    "no integrity": ("stun_integrity", lambda _, p: stun.check(p.username, None)),
    "unknown ufrag": (
        "stun_unknown_ufrag",
        lambda _, p: stun.check("00nobody:" + p.local[0], p.remote_pwd),
    ),
    "a response": (
        "stun_unexpected",
        lambda _, p: stun.message(stun.SUCCESS, [], p.remote_pwd),
    ),
    "an indication": (
        "stun_unexpected",
        lambda _, p: stun.message(stun.INDICATION, [], p.remote_pwd),
    ),
}


@pytest.mark.parametrize("what", STUN)
def test_a_wrong_check_gets_no_answer(
    what: str, server: Server, good: Watching, stranger: socket.socket, viewer: Peer
) -> None:
    reason, make = STUN[what]
    right = stun.check(viewer.username, viewer.remote_pwd)
    known = set(viewer.answers)
    with counted(server, 20, reason):
        for _ in range(10):
            stranger.send(make(right, viewer))
            viewer.send(make(right, viewer))
    good.more()
    viewer.wait_for_rtp(1)
    assert not answers(stranger)
    # What it was answered are its own good checks.
    assert all(kind == stun.SUCCESS for kind, _ in viewer.answers.values())
    assert len(set(viewer.answers) - known) <= 1


def test_a_check_cut_or_changed_anywhere_gets_no_answer(
    server: Server, good: Watching, stranger: socket.socket, viewer: Peer
) -> None:
    right = stun.check(viewer.username, viewer.remote_pwd)
    wrong = [right[:length] for length in range(len(right))]
    wrong += [flipped(right, at, mask) for at in range(len(right)) for mask in (0x01, 0x80, 0xFF)]
    with counted(server, len(wrong)):
        for datagram in wrong:
            stranger.send(datagram)
    assert not answers(stranger)
    good.more()


def test_attributes_that_must_be_understood_and_roles_are_answered_with_errors(
    server: Server, viewer: Peer
) -> None:
    def answer_of(*attributes: tuple[int, bytes]) -> tuple[bytes, dict[int, bytes]]:
        transaction = secrets.token_bytes(12)
        said = [(stun.USERNAME, viewer.username.encode()), *attributes]
        viewer.send(stun.message(stun.REQUEST, said, viewer.remote_pwd, transaction=transaction))
        viewer.wait("an answer", lambda: transaction in viewer.answers)
        kind, told = viewer.answers[transaction]
        assert kind == stun.ERROR
        return told[stun.ERROR_CODE][2:4], told

    code, told = answer_of((0x7FFE, b"what"))
    assert code == bytes([4, 20])
    assert told[stun.UNKNOWN] == b"\x7f\xfe"
    code, _ = answer_of((stun.ICE_CONTROLLED, secrets.token_bytes(8)))
    assert code == bytes([4, 87])


# DTLS --------------------------------------------------------------------------------------------


def test_dtls_from_an_unknown_address(
    server: Server, good: Watching, stranger: socket.socket, viewer: Peer
) -> None:
    other = joined(server, "/whep/demo", [video("H264")])
    (hello,) = other.hello()
    with counted(server, 20, "dtls_unknown_address"):
        for _ in range(10):
            stranger.send(hello)
            stranger.send(b"\x16\xfe\xfd" + secrets.token_bytes(100))
    assert not answers(stranger)
    good.more()
    other.drop()


def test_records_after_the_handshake_are_counted_and_nothing_more(
    server: Server, good: Watching, viewer: Peer
) -> None:
    viewer.dtls.shutdown()
    alert = viewer.flight()
    hello = joined(server, "/whep/demo", [video("H264")])
    late = [*alert, *hello.hello(), b"\x16", b"\x15\xfe\xfd" + bytes(10) + b"\xff\xff", bytes([63])]
    with counted(server, len(late), "dtls_limit"):
        for record in late:
            viewer.send(record)
    viewer.wait_for_rtp(3)
    assert not viewer.closed
    good.more()
    hello.drop()


# RTP ---------------------------------------------------------------------------------------------


def sealed_with(change: Callable[[Camera], bytes]) -> Callable[[Peer, Camera], bytes]:
    """Sealed as it should be; only the plain packet is wrong."""
    return lambda peer, camera: peer.seal_rtp(change(camera))


def forged(peer: Peer, camera: Camera) -> bytes:
    sealed = peer.seal_rtp(camera.packet(b"\x10\x01" + bytes(100)))
    return flipped(sealed, random.Random(camera.sequence).randrange(12, len(sealed)))


def padded(length: int) -> Callable[[Camera], bytes]:
    return lambda camera: camera.packet(b"\x10\x01" + bytes(20) + bytes([length]), first=0xA0)


def unknown_ssrc(camera: Camera) -> bytes:
    """Of the track's own payload type, when the offer announced another SSRC."""
    packet = camera.packet(b"\x10\x01" + bytes(50))
    return packet[:8] + struct.pack("!I", 0xDEAD_BEEF) + packet[12:]


RTP: dict[str, tuple[str, Callable[[Peer, Camera], bytes]]] = {
    "a byte": ("rtp_short", lambda p, c: b"\x80"),
    "eleven bytes": ("rtp_short", lambda p, c: c.packet(b"")[:11]),
    "sources beyond the end": ("rtp_short", lambda p, c: c.packet(bytes(40), first=0x8F)),
    "an extension beyond the end": (
        "rtp_extension",
        lambda p, c: c.packet(b"\xbe\xde\xff\xff" + bytes(100), first=0x90),
    ),
    "half an extension's header": ("rtp_extension", lambda p, c: c.packet(b"\xbe\xde", first=0x90)),
    "forged": ("srtp_auth", forged),
    "no tag": ("srtp_auth", lambda p, c: c.packet(bytes(5))),
    "padding longer than the packet": ("rtp_padding", sealed_with(padded(255))),
    "padding of no length": ("rtp_padding", sealed_with(padded(0))),
    "an SSRC that nothing explains": ("rtp_unknown_ssrc", sealed_with(unknown_ssrc)),
}


@pytest.mark.parametrize("what", RTP)
def test_a_wrong_packet_is_dropped_and_the_next_is_not(
    what: str, server: Server, good: Watching, publisher: Peer
) -> None:
    reason, make = RTP[what]
    camera = Camera(publisher)
    camera.show(key=True)
    with counted(server, 10, reason):
        for _ in range(10):
            publisher.send(make(publisher, camera))
    taken = server.metric("pyforward_keyframes_total")
    camera.show(key=True)
    wait_for("the next", lambda: server.metric("pyforward_keyframes_total") == taken + 1)
    good.more()


def test_a_replayed_packet_is_dropped(server: Server, good: Watching, publisher: Peer) -> None:
    camera = Camera(publisher)
    sealed = [publisher.seal_rtp(packet) for packet in camera.picture(key=True, packets=10)]
    for datagram in sealed:
        publisher.send(datagram)
    with counted(server, 10, "srtp_replay"):
        for datagram in sealed:
            publisher.send(datagram)
    good.more()


def test_a_viewer_may_not_send_media(server: Server, good: Watching, viewer: Peer) -> None:
    camera = Camera(viewer)
    with counted(server, 6, "rtp_unknown_ssrc"):
        camera.show(key=True)
        camera.show()
    good.more()


def test_a_publishers_packets_by_another_address_are_nobodys(
    server: Server, good: Watching, publisher: Peer, stranger: socket.socket
) -> None:
    with counted(server, 11, "unknown_session"):
        for packet in Camera(publisher).picture(key=True, packets=10):
            stranger.send(publisher.seal_rtp(packet))
        stranger.send(publisher.seal_rtcp(receiver_report(1)))
    good.more()


def test_keys_of_another_session_open_nothing(
    server: Server, good: Watching, publisher: Peer, viewer: Peer
) -> None:
    with counted(server, 2, "srtp_auth"):
        viewer.send(publisher.seal_rtcp(bye(0x1111)))
        publisher.send(viewer.seal_rtcp(bye(0x2222)))
    viewer.wait_for_rtp(3)
    good.more()


# RTCP --------------------------------------------------------------------------------------------


def compounds(media: int) -> dict[str, bytes]:
    """One of each kind that peers send."""
    report = struct.pack("!IIIIII", media, 0x01_000001, 5, 6, 7, 8)
    sender = struct.pack("!BBHIQIII", 0x80, 200, 6, 1, 1 << 40, 3, 4, 5)
    source = struct.pack("!BBHI", 0x81, 202, 3, 1) + b"\x01\x03abc\x00\x00\x00"
    remb = struct.pack("!BBHII4sII", 0x8F, 206, 5, 1, 0, b"REMB", 0x01_020000 | 0xFF, media)
    reference = struct.pack("!BBHIBBHQ", 0x80, 207, 4, 1, 4, 0, 2, 1 << 33)
    delays = struct.pack("!BBHIBBHIII", 0x80, 207, 5, 1, 5, 0, 3, 1, 2, 3)
    fir = struct.pack("!BBHIIIB3x", 0x84, 206, 4, 1, 0, media, 9)
    return {
        "sr": sender + source,
        "rr": struct.pack("!BBHI", 0x81, 201, 7, 1) + report + source,
        "nack": nack(1, media, range(100, 110)),
        "pli": pli(1, media),
        "fir": receiver_report(1) + fir,
        "remb": receiver_report(1) + remb,
        "xr": receiver_report(1) + reference + delays,
        "bye": receiver_report(1) + struct.pack("!BBHI", 0x81, 203, 2, 1) + b"\x03abc",
    }


@pytest.mark.parametrize("kind", compounds(0))
@pytest.mark.parametrize("role", ["publisher", "viewer"])
def test_rtcp_broken_at_every_byte(
    kind: str, role: str, server: Server, good: Watching, request: pytest.FixtureRequest
) -> None:
    peer: Peer = request.getfixturevalue(role)
    media = ssrc_of(peer.answer, "video") if role == "viewer" else 0x1111
    right = compounds(media)[kind]
    # SRTCP leaves eight bytes in the clear, and the second one says that it is RTCP.
    broken = [right[:length] for length in range(8, len(right))]
    broken += [
        flipped(right, at, mask)
        for at in [0, *range(2, len(right))]
        for mask in (0x01, 0x80, 0xFF, right[at])
        if mask and (at > 0 or mask == 0x01)
    ]
    before = discards(server)
    for compound in broken:
        peer.send_rtcp(compound)
    # Everything before the next answer has been judged: those with a wrong length were dropped.
    transaction = peer.check()
    peer.wait("the check's answer", lambda: transaction in peer.answers)
    now = discards(server)
    grown = {reason for reason in now if now[reason] > before[reason]}
    assert "rtcp_malformed" in grown
    assert grown <= {"rtcp_malformed", "rtp_unknown_ssrc", "srtp_auth"}, grown
    # The session works as before.
    if role == "viewer":
        asked = server.metric('pyforward_keyframe_requests_total{direction="in"}')
        peer.send_rtcp(pli(1, media))
        wait_for(
            "the request",
            lambda: server.metric('pyforward_keyframe_requests_total{direction="in"}') > asked,
        )
        peer.wait_for_rtp(3)
    else:
        taken = server.metric("pyforward_keyframes_total")
        Camera(peer).show(key=True)
        wait_for("the next", lambda: server.metric("pyforward_keyframes_total") > taken)
    good.more()


def test_rtcp_forged_or_cut_behind_its_seal(server: Server, good: Watching, viewer: Peer) -> None:
    sealed = [viewer.seal_rtcp(bye(1)) for _ in range(40)]
    with counted(server, 40, "srtp_auth", "rtcp_malformed"):
        for at, datagram in enumerate(sealed[:32]):
            viewer.send(flipped(datagram, 8 + at % (len(datagram) - 8)))
        for at, datagram in enumerate(sealed[32:]):
            viewer.send(datagram[: 8 + 2 * at])
    viewer.wait_for_rtp(3)
    good.more()


def test_a_report_that_is_replayed_is_dropped(server: Server, good: Watching, viewer: Peer) -> None:
    sealed = viewer.seal_rtcp(receiver_report(1))
    viewer.send(sealed)
    with counted(server, 5, "srtp_replay"):
        for _ in range(5):
            viewer.send(sealed)
    good.more()


# Anything ----------------------------------------------------------------------------------------


def test_first_bytes_of_every_value(
    server: Server, good: Watching, stranger: socket.socket, viewer: Peer
) -> None:
    draw = random.Random(1)
    rubbish = [bytes([first]) + draw.randbytes(60) for first in range(256)]
    rubbish += [bytes([first]) for first in range(256)]
    with counted(server, 2 * len(rubbish) + 2):
        for datagram in [*rubbish, b""]:
            stranger.send(datagram)
            viewer.send(datagram)
    assert not answers(stranger)
    viewer.wait_for_rtp(3)
    good.more()


def test_a_path_of_somebody_alive_is_not_given_away(
    server: Server, good: Watching, viewer: Peer
) -> None:
    other = joined(server, "/whep/demo", [video("H264")])
    viewer.checked()
    with counted(server, 3, "path_taken"):
        for _ in range(3):
            viewer.send(stun.check(other.username, other.remote_pwd))
    viewer.wait_for_rtp(3)
    other.drop()
    good.more()


def test_viewers_hear_of_none_of_it(good: Watching) -> None:
    """What came to the good viewer in all that time is in order: no gap, no goodbye."""
    good.more()
    numbers = [packet.sequence for packet in good.peer.rtp]
    missing = set(range(numbers[0], numbers[-1])) - set(numbers)
    assert not missing
    assert not any(
        kind == 203 for compound in good.peer.rtcp for kind, _, _ in packets_of(compound)
    )
