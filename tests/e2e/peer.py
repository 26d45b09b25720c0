"""A peer that a test has in its hand byte by byte: one socket, ICE checks, DTLS, SRTP.

What it speaks is made of other implementations than the server: pyOpenSSL as a client, libsrtp by
pylibsrtp. Every datagram that comes in is kept as it was. Nothing runs by itself: a test pumps.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import math
import secrets
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session

from tests.e2e import stun
from tests.e2e.sdp import Track, credentials, fingerprint_of, offer
from tests.e2e.server import FRAGMENT, Answer, Server

GCM_128, GCM_256, CM = (
    "SRTP_AEAD_AES_128_GCM",
    "SRTP_AEAD_AES_256_GCM",
    "SRTP_AES128_CM_SHA1_80",
)
PROFILES = {
    GCM_128: (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12),
    GCM_256: (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12),
    CM: (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
}

CHECK_EVERY_S = 1.0

PATIENCE_S = 20.0
"""How long a busy machine may take over anything that must come."""


@dataclass(frozen=True)
class Rtp:
    """A packet that came in: plain, and sealed as it was."""

    plain: bytes
    sealed: bytes

    @property
    def marker(self) -> bool:
        return bool(self.plain[1] & 0x80)

    @property
    def payload_type(self) -> int:
        return self.plain[1] & 0x7F

    @property
    def sequence(self) -> int:
        return int.from_bytes(self.plain[2:4], "big")

    @property
    def timestamp(self) -> int:
        return int.from_bytes(self.plain[4:8], "big")

    @property
    def ssrc(self) -> int:
        return int.from_bytes(self.plain[8:12], "big")

    @property
    def payload(self) -> bytes:
        """Without padding (RFC 3550 §5.1)."""
        start = 12 + 4 * (self.plain[0] & 0x0F)
        if self.plain[0] & 0x10:
            start += 4 + 4 * int.from_bytes(self.plain[start + 2 : start + 4], "big")
        end = len(self.plain) - (self.plain[-1] if self.plain[0] & 0x20 else 0)
        return self.plain[start:end]


@functools.cache
def identity() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """One certificate for all peers of the process."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "peer")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return key, certificate


@functools.cache
def fingerprint() -> str:
    """The value of ``a=fingerprint`` of :func:`identity`."""
    digest = identity()[1].fingerprint(hashes.SHA256())
    return f"sha-256 {digest.hex(':').upper()}"


def dtls_context(profiles: Iterable[str], *, hello_padding: int = 0) -> SSL.Context:
    """A client's; ``hello_padding`` bytes of protocol names make its ClientHello long."""
    key, certificate = identity()
    context = SSL.Context(SSL.DTLS_METHOD)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_TICKET)
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    context.set_tlsext_use_srtp(":".join(profiles).encode())
    if hello_padding:
        names = [b"x" * 250] * (hello_padding // 251)
        context.set_alpn_protos([*names, b"x" * (hello_padding % 251 or 1)])
    return context


@dataclass
class Peer:
    """One session of one server, from the peer's side."""

    server: Server
    location: str
    etag: str
    answer: str
    local: tuple[str, str]
    context: SSL.Context
    mtu: int = 1200
    address: tuple[str, int] | None = None
    bind: tuple[str, int] | None = None

    rtp: list[Rtp] = field(default_factory=list, repr=False)
    rtcp: list[bytes] = field(default_factory=list, repr=False)
    answers: dict[bytes, tuple[int, dict[int, bytes]]] = field(default_factory=dict, repr=False)
    sealed: list[bytes] = field(default_factory=list, repr=False)
    """Every SRTP and SRTCP datagram as it was, repeats too."""
    dtls_records: list[bytes] = field(default_factory=list, repr=False)
    profile: str = ""
    closed: bool = False
    """The server's close_notify has come, and was authentic."""
    refused: bool = False
    """The server has ended the handshake by another alert."""

    def __post_init__(self) -> None:
        remote = self.address or self.server.media[0]
        self.remote_ufrag, self.remote_pwd = credentials(self.answer)
        self.remote: tuple[str, int] = remote
        family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        if self.bind is not None:
            self.socket.bind(self.bind)
        self.socket.connect(remote)
        self._poll = select.poll()  # select.select() knows 1,024 descriptors
        self._poll.register(self.socket, select.POLLIN)
        self.dtls = SSL.Connection(self.context, None)
        self.dtls.set_connect_state()
        self.dtls.set_ciphertext_mtu(self.mtu)
        self.inbound: Session | None = None
        self.outbound: Session | None = None
        self.outbound_key = b""
        self._last_check = 0.0
        self._asked: dict[bytes, str] = {}  # by which password, should that change

    # The way to media ----------------------------------------------------------------------------

    @property
    def username(self) -> str:
        return f"{self.remote_ufrag}:{self.local[0]}"

    def check(self, *, nominate: bool = True) -> bytes:
        """Sends a check; its transaction."""
        transaction = secrets.token_bytes(12)
        self._last_check = time.monotonic()
        self._asked[transaction] = self.remote_pwd
        self.send(
            stun.check(self.username, self.remote_pwd, nominate=nominate, transaction=transaction)
        )
        return transaction

    def checked(self, tries: int = 20) -> None:
        """Sends a check and waits for its answer, again if it must."""
        for _ in range(tries):
            transaction = self.check()
            if self.pumped(functools.partial(self.answers.__contains__, transaction), 0.5):
                kind, attributes = self.answers[transaction]
                assert kind == stun.SUCCESS, attributes
                return
        told = {name: n for name, n in self.server.metrics().items() if "discards" in name and n}
        raise AssertionError(f"no check was answered: {told}")

    def flight(self) -> list[bytes]:
        """The next DTLS records to send, each by itself."""
        out = b""
        with contextlib.suppress(SSL.WantReadError):
            while True:
                out += self.dtls.bio_read(65536)
        records = []
        while out:
            length = 13 + int.from_bytes(out[11:13], "big")
            records.append(out[:length])
            out = out[length:]
        return records

    def hello(self) -> list[bytes]:
        """The ClientHello, in as many datagrams as the MTU asks."""
        with contextlib.suppress(SSL.WantReadError):
            self.dtls.do_handshake()
        return self.flight()

    def shake_hands(self, within_s: float = PATIENCE_S) -> None:
        """DTLS to its end; keys are there afterwards."""
        for record in self.hello():
            self.send(record)
        assert self.pumped(lambda: self.inbound is not None, within_s), "no DTLS handshake"

    def connect(self) -> Peer:
        """Everything that is needed for media."""
        self.checked()
        self.shake_hands()
        # The first report that the server can open tells it that its last flight arrived, and its
        # connection object goes. What comes before the keys are in place is dropped.
        self.send_rtcp(receiver_report(1))
        while self.server.metric('pyforward_dtls_handshakes{state="lingering"}'):
            self.send_rtcp(receiver_report(1))
            self.pumped(lambda: False, 0.01)
        return self

    def falls_silent(self) -> None:
        """No more checks by itself."""
        self._last_check = math.inf

    # Sending -------------------------------------------------------------------------------------

    def send(self, datagram: bytes) -> None:
        while True:
            try:
                self.socket.send(datagram)
                return
            except BlockingIOError:
                time.sleep(0.001)
            except ConnectionRefusedError:
                continue  # an earlier datagram's

    def seal_rtp(self, plain: bytes) -> bytes:
        assert self.outbound
        return bytes(self.outbound.protect(plain))

    def seal_rtcp(self, plain: bytes) -> bytes:
        assert self.outbound
        return bytes(self.outbound.protect_rtcp(plain))

    def send_rtp(self, plain: bytes) -> None:
        self.send(self.seal_rtp(plain))

    def send_rtcp(self, plain: bytes) -> None:
        self.send(self.seal_rtcp(plain))

    # Receiving -----------------------------------------------------------------------------------

    def pumped(self, true: Callable[[], bool], within_s: float = PATIENCE_S) -> bool:
        """Takes in until ``true`` or the time is over. Stays alive meanwhile."""
        until = time.monotonic() + within_s
        while not true():
            now = time.monotonic()
            if now >= until:
                return False
            wait = min(until - now, 0.1, self._dtls_timeout())
            if self._poll.poll(max(wait, 0) * 1000):
                self._drain()
            elif self.inbound is None and self._dtls_timeout() <= 0:
                self.dtls.DTLSv1_handle_timeout()
                for record in self.flight():
                    self.send(record)
            if self.inbound is not None and now - self._last_check > CHECK_EVERY_S:
                self.check()
        return True

    def wait(self, what: str, true: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
        assert self.pumped(true, within_s), f"{what}: not within {within_s} s"

    def wait_for_rtp(self, count: int, within_s: float = PATIENCE_S) -> None:
        """So many more packets."""
        wanted = len(self.rtp) + count
        self.wait(f"{count} more packets", lambda: len(self.rtp) >= wanted, within_s)

    def drop(self) -> Answer:
        """DELETE, and the socket is closed."""
        answer = self.server.request("DELETE", self.location)
        self.close()
        return answer

    def patch(self, fragment: str, if_match: str = "*", location: str = "") -> Answer:
        return self.server.request(
            "PATCH", location or self.location, fragment, content_type=FRAGMENT, if_match=if_match
        )

    def close(self) -> None:
        self.socket.close()

    # Private -------------------------------------------------------------------------------------

    def _dtls_timeout(self) -> float:
        timeout_s = self.dtls.DTLSv1_get_timeout() if self.inbound is None else None
        return 1.0 if timeout_s is None else timeout_s

    def _drain(self) -> None:
        for _ in range(200):
            try:
                self.take(self.socket.recv(65536))
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue

    def take(self, datagram: bytes) -> None:
        """One datagram of the server's."""
        first = datagram[0]
        if first < 4:
            kind, transaction, attributes = stun.parse(datagram)
            assert stun.is_authentic(datagram, self._asked.get(transaction, self.remote_pwd))
            self.answers[transaction] = kind, attributes
        elif 20 <= first < 64:
            self.dtls_records.append(datagram)
            self._take_dtls(datagram)
        elif first >= 128 and self.inbound is not None:
            self.sealed.append(datagram)
            self._take_media(datagram)

    def _take_dtls(self, datagram: bytes) -> None:
        self.dtls.bio_write(datagram)
        try:
            if self.inbound is None:
                self.dtls.do_handshake()
                self._export()
            else:
                self.dtls.recv(65536)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.closed = True
        except SSL.Error:
            self.refused = True
        for record in self.flight():
            self.send(record)

    def _export(self) -> None:
        certificate = self.dtls.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        assert certificate.fingerprint(hashes.SHA256()) == fingerprint_of(self.answer)
        self.profile = self.dtls.get_selected_srtp_profile().decode()
        number, key, salt = PROFILES[self.profile]
        material = self.dtls.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt), None)
        salts = material[2 * key :]
        self.outbound_key = material[:key] + salts[:salt]
        inbound = Policy(
            material[key : 2 * key] + salts[salt:], Policy.SSRC_ANY_INBOUND, srtp_profile=number
        )
        inbound.window_size = 1024
        self.inbound = Session(inbound)
        outbound = Policy(self.outbound_key, Policy.SSRC_ANY_OUTBOUND, srtp_profile=number)
        outbound.allow_repeat_tx = True
        self.outbound = Session(outbound)

    def _take_media(self, datagram: bytes) -> None:
        assert self.inbound is not None
        is_rtcp = 64 <= datagram[1] & 0x7F < 96
        try:
            if is_rtcp:
                self.rtcp.append(bytes(self.inbound.unprotect_rtcp(datagram)))
            else:
                self.rtp.append(Rtp(bytes(self.inbound.unprotect(datagram)), datagram))
        except SrtpError as error:
            if "replay" not in str(error):  # a repeat is no fault of the server's
                raise


def joined(
    server: Server,
    path: str,
    tracks: Iterable[Track],
    *,
    profiles: Iterable[str] = (GCM_128, GCM_256, CM),
    mtu: int = 1200,
    hello_padding: int = 0,
    address: tuple[str, int] | None = None,
    bind: tuple[str, int] | None = None,
    claimed: str = "",
) -> Peer:
    """A peer whose offer was accepted; nothing has left its socket yet. ``/whip/…`` publishes,
    ``/whep/…`` watches. ``claimed`` is a fingerprint that is not its certificate's."""
    local = secrets.token_hex(4), secrets.token_hex(12)
    direction = "sendonly" if path.startswith("/whip/") else "recvonly"
    text = offer(tracks, direction, local, claimed or fingerprint())
    response = server.offer(path, text)
    assert response.status == 201, response
    return Peer(
        server,
        response.headers["location"],
        response.headers["etag"],
        response.text,
        local,
        dtls_context(profiles, hello_padding=hello_padding),
        mtu,
        address,
        bind,
    )


# RTCP that peers send (RFC 3550 §6.4, RFC 4585 §6.2.1, §6.3.1) ------------------------------------


def receiver_report(sender: int) -> bytes:
    return struct.pack("!BBHI", 0x80, 201, 1, sender)


def nack(sender: int, media: int, sequences: Iterable[int]) -> bytes:
    """A compound that asks for these, one entry for each."""
    entries = [struct.pack("!HH", sequence, 0) for sequence in sequences]
    head = struct.pack("!BBHII", 0x81, 205, 2 + len(entries), sender, media)
    return receiver_report(sender) + head + b"".join(entries)


def pli(sender: int, media: int) -> bytes:
    return receiver_report(sender) + struct.pack("!BBHII", 0x81, 206, 2, sender, media)


def bye(sender: int) -> bytes:
    return receiver_report(sender) + struct.pack("!BBHI", 0x81, 203, 1, sender)


def packets_of(compound: bytes) -> list[tuple[int, int, bytes]]:
    """Type, count or format, and body of each packet in a compound."""
    found, at = [], 0
    while at < len(compound):
        first, kind, words = struct.unpack_from("!BBH", compound, at)
        found.append((kind, first & 0x1F, compound[at + 4 : at + 4 + 4 * words]))
        at += 4 + 4 * words
    return found
