"""The baseline: the forwarder that one writes in Python in an afternoon, as a yardstick.

One UDP socket, uvloop, pylibsrtp: what arrives is opened once, sealed for each viewer and sent with
``sendto``. There is no RTCP and no repair, so that what a packet costs here is what any forwarder
pays that sends one datagram a call, and nothing else.

    python -m pyforward_bench.rig.peers.baseline --host 127.0.0.1

It is a WHIP and WHEP server at the URLs that it says, ICE-lite, and the server of DTLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aioice import stun

from pyforward import ice, sdp
from pyforward.dtls import Certificate, Handshake, Keys
from pyforward.dtls.handshake import new_context
from pyforward.errors import HostError
from pyforward.srtp import SrtpProfile
from pyforward_bench.rig.peers import front
from pyforward_bench.rig.peers.front import Place
from pyforward_bench.rig.peers.stream import Stream

if TYPE_CHECKING:
    import pylibsrtp

Address = tuple[str, int]

PROFILES: Final[tuple[SrtpProfile, ...]] = ("SRTP_AEAD_AES_128_GCM", "SRTP_AES128_CM_SHA1_80")
"""What is sealed with, in this order."""

READS_PER_TURN: Final = 64
BUFFER_BYTES: Final = 4 << 20


class Fanout:
    """Who gets each packet. ``send`` is a socket's ``sendto``."""

    def __init__(self, send: Callable[[bytes, Address], object]) -> None:
        self._send = send
        self._to: dict[Address, Callable[[bytes], bytes]] = {}

    def add(self, address: Address, seal: Callable[[bytes], bytes]) -> None:
        """One more, under a key of its own."""
        self._to[address] = seal

    def remove(self, address: Address) -> None:
        """It gets nothing more."""
        self._to.pop(address, None)

    def forward(self, packet: bytes) -> None:
        """To everybody; what finds no room is lost."""
        send = self._send
        for address, seal in self._to.items():
            try:
                send(seal(packet), address)
            except (BlockingIOError, ConnectionRefusedError):  # the latter: an earlier datagram's
                continue


def sealer(keys: Keys) -> Callable[[bytes], bytes]:
    """Seals RTP packets of ours. Raises HostError where pylibsrtp is missing."""
    return _srtp(keys, inbound=False).protect


def opener(keys: Keys) -> Callable[[bytes], bytes | None]:
    """Opens RTP packets of the peer's; None for what does not open. Raises HostError likewise."""
    session = _srtp(keys, inbound=True)
    from pylibsrtp import Error

    def opened(packet_untrusted: bytes) -> bytes | None:
        try:
            return session.unprotect(packet_untrusted)
        except (Error, ValueError):
            return None

    return opened


def missing() -> str | None:
    """Why it cannot be run here; None where it can."""
    try:
        import pylibsrtp  # noqa: F401
    except ImportError:
        return "pylibsrtp is not installed; install it with: pip install 'pyforward[bench]'"
    return None


@dataclass(eq=False, slots=True)
class Party:
    """A session. ``address`` is where its last check came from."""

    ufrag: str
    pwd: str
    handshake: Handshake
    publishes: bool
    address: Address | None = None
    open: Callable[[bytes], bytes | None] | None = None
    seal: Callable[[bytes], bytes] | None = None
    timer: asyncio.TimerHandle | None = None


class Baseline:
    """The room. Made in a running event loop; raises HostError where it cannot be."""

    def __init__(self, host: str) -> None:
        if (why := missing()) is not None:
            raise HostError(f"{why}.")
        self._loop = asyncio.get_running_loop()
        self._socket = _bound(host)
        self._fanout = Fanout(self._socket.sendto)
        self._stream = Stream()
        self._certificate = Certificate.generate()
        self._dtls = new_context(self._certificate, srtp_profiles=PROFILES)
        self._by_ufrag: dict[str, Party] = {}
        self._by_address: dict[Address, Party] = {}
        self._loop.add_reader(self._socket, self._read)

    async def publish(self, offer: sdp.SessionDescription) -> Place:
        party, local = self._new_party(offer, publishes=True)
        return self._place(party, self._stream.answer_publisher(offer, local))

    async def watch(self, offer: sdp.SessionDescription) -> Place:
        party, local = self._new_party(offer, publishes=False)
        return self._place(party, self._stream.answer_viewer(offer, local))

    async def close(self) -> None:
        self._loop.remove_reader(self._socket)
        for party in list(self._by_ufrag.values()):
            self._remove(party)
        self._socket.close()

    # Sessions ------------------------------------------------------------------------------------

    def _new_party(
        self, offer: sdp.SessionDescription, *, publishes: bool
    ) -> tuple[Party, sdp.LocalTransport]:
        ufrag, pwd = ice.new_credentials("00")
        peer = sdp.offer_transport(offer)
        party = Party(ufrag, pwd, Handshake(self._dtls, "server", peer.fingerprints), publishes)
        candidates = ice.host_candidates([self._socket.getsockname()[:2]])
        fingerprint = self._certificate.fingerprint
        return party, sdp.LocalTransport(ufrag, pwd, fingerprint, "passive", candidates)

    def _place(self, party: Party, answer: str) -> Place:
        self._by_ufrag[party.ufrag] = party

        async def leave() -> None:
            self._remove(party)

        return Place(answer, leave)

    def _remove(self, party: Party) -> None:
        self._by_ufrag.pop(party.ufrag, None)
        if party.timer is not None:
            party.timer.cancel()
        if party.address is not None:
            self._by_address.pop(party.address, None)
            self._fanout.remove(party.address)

    # What comes in -------------------------------------------------------------------------------

    def _read(self) -> None:
        for _ in range(READS_PER_TURN):
            try:
                datagram, address = self._socket.recvfrom(2048)
            except (BlockingIOError, ConnectionRefusedError):
                return
            self._handle(datagram, address[:2])

    def _handle(self, datagram_untrusted: bytes, address: Address) -> None:
        """By the first byte (RFC 7983 §7). What viewers report is not read."""
        first = datagram_untrusted[0] if datagram_untrusted else 255
        party = self._by_address.get(address)
        if first < 4:
            self._handle_check(datagram_untrusted, address)
        elif party is None:
            return
        elif party.open is not None and first >> 6 == 2:
            opened = party.open(datagram_untrusted)
            packet = None if opened is None else self._stream.packet(opened)
            if packet is not None:
                self._fanout.forward(packet)
        elif 20 <= first < 64:
            party.handshake.receive(datagram_untrusted)
            self._turn(party)

    def _handle_check(self, datagram_untrusted: bytes, address: Address) -> None:
        """A check is answered if it is authentic (RFC 8445 §7.3), and the last one counts."""
        try:
            request = stun.parse_message(datagram_untrusted)
            party = self._by_ufrag[request.attributes["USERNAME"].partition(":")[0]]
        except (ValueError, KeyError):
            return
        key = party.pwd.encode()
        if request.message_class != stun.Class.REQUEST or not request.check_message_integrity(key):
            return
        if party.address != address:
            self._move(party, address)
        answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id)
        answer.attributes["XOR-MAPPED-ADDRESS"] = address
        answer.add_message_integrity(key)
        self._send(bytes(answer), address)

    def _move(self, party: Party, address: Address) -> None:
        if party.address is not None:
            self._by_address.pop(party.address, None)
            self._fanout.remove(party.address)
        party.address = address
        self._by_address[address] = party
        if party.handshake.result is not None:
            self._begin(party, party.handshake.result)

    def _turn(self, party: Party) -> None:
        """One turn of the handshake: what it has to say, and when it has to say it again."""
        handshake = party.handshake
        before = party.timer
        if before is not None:
            before.cancel()
        handshake.handle_timeout()
        for datagram in handshake.take_flight():
            if party.address is not None:
                self._send(datagram, party.address)
        if handshake.result is not None:
            self._begin(party, handshake.result)
        elif (timeout_s := handshake.timeout_s()) is not None:
            party.timer = self._loop.call_later(timeout_s + 0.01, self._turn, party)

    def _begin(self, party: Party, keys: Keys) -> None:
        if party.publishes:
            party.open = party.open or opener(keys)
        elif party.address is not None:
            party.seal = party.seal or sealer(keys)
            self._fanout.add(party.address, party.seal)

    def _send(self, datagram: bytes, address: Address) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            self._socket.sendto(datagram, address)


def main() -> int:
    """The command; its exit code."""
    return front.main(__doc__ or "", Baseline)


# Private -----------------------------------------------------------------------------------------


def _bound(host: str) -> socket.socket:
    """A socket that does not block, with room for a keyframe to everybody."""
    opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    opened.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        opened.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    try:
        opened.bind((host, 0))
    except OSError as error:
        opened.close()
        raise HostError(f"--host {host}: {error.strerror}.") from None
    return opened


def _srtp(keys: Keys, *, inbound: bool) -> pylibsrtp.Session:
    try:
        from pylibsrtp import Policy, Session
    except ImportError:
        raise HostError(f"{missing()}.") from None
    profiles = {
        "SRTP_AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
        "SRTP_AES128_CM_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    }
    number = profiles[keys.profile]
    if inbound:
        key, direction = keys.remote_key + keys.remote_salt, Policy.SSRC_ANY_INBOUND
    else:
        key, direction = keys.local_key + keys.local_salt, Policy.SSRC_ANY_OUTBOUND
    return Session(Policy(key, direction, srtp_profile=number))


if __name__ == "__main__":
    sys.exit(main())
