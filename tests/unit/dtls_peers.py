"""Both ends of DTLS handshakes for the tests: certificates made once, datagrams carried by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from OpenSSL import SSL

from pyforward.dtls import Certificate, Handshake
from pyforward.dtls.handshake import new_context
from pyforward.srtp import SRTP_PROFILES

Carry = Callable[[bytes], list[bytes]]


@cache
def server_certificate() -> Certificate:
    """Ours."""
    return Certificate.generate()


@cache
def client_certificate() -> Certificate:
    """The peer's."""
    return Certificate.generate()


@cache
def server_context() -> SSL.Context:
    """Ours, with every profile in our order."""
    return new_context(server_certificate())


@cache
def client_context(profiles: tuple[str, ...] = SRTP_PROFILES) -> SSL.Context:
    """The peer's, with its own list of profiles."""
    return new_context(client_certificate(), srtp_profiles=profiles)


def new_server() -> Handshake:
    """Our end."""
    return Handshake(server_context(), "server", [client_certificate().fingerprint])


def new_client(profiles: tuple[str, ...] = SRTP_PROFILES) -> Handshake:
    """The peer's end; its ClientHello is in its flight."""
    return Handshake(client_context(profiles), "client", [server_certificate().fingerprint])


def deliver(datagram: bytes) -> list[bytes]:
    """A faultless network."""
    return [datagram]


def exchange(client: Handshake, server: Handshake, carry: Carry = deliver) -> None:
    """Carries flights to and fro until both are silent."""
    silent = False
    while not silent:
        silent = True
        for sender, receiver in ((client, server), (server, client)):
            for sent in sender.take_flight():
                silent = False
                for arrived in carry(sent):
                    receiver.receive(arrived)


def split_hello(datagram: bytes, at: int) -> list[bytes]:
    """A ClientHello of one record as two fragments in two datagrams, cut after ``at`` bytes of its
    body (RFC 6347 §4.2.3)."""
    message = datagram[13:25]
    body = datagram[25:]
    out = []
    for index, (offset, piece) in enumerate(((0, body[:at]), (at, body[at:]))):
        header = message[:6] + offset.to_bytes(3, "big") + len(piece).to_bytes(3, "big")
        # The client itself goes on with 1: the second number has to be another, and near enough.
        record = datagram[:5] + (40 * index).to_bytes(6, "big")
        out.append(record + (12 + len(piece)).to_bytes(2, "big") + header + piece)
    return out
