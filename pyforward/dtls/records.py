"""DTLS records as bytes: what may reach the library, where a flight is cut, when a hello is whole.

Headers only; nothing here decrypts. OpenSSL allocates what a fragment's header announces, and a
memory BIO glues datagrams together: both are put right here, before and behind the library.
RFC 6347 §4.1 (record), §4.2.2 (handshake message), RFC 9147 for the version numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MAX_DATAGRAM_BYTES = 2048
"""A peer's datagram; nobody's path carries more in one piece."""

MAX_MESSAGE_BYTES = 8 * 1024
"""A handshake message. A ClientHello with a post-quantum key share has 1.4 KiB, a self-signed RSA
certificate of 4,096 bits as much; OpenSSL by itself would hold 100 KiB for each of ten messages."""

MAX_MESSAGE_SEQUENCE = 32

MAX_HELLO_DATAGRAMS = 6
MAX_HELLO_BYTES = 6 * 1024
MAX_HELLO_PARTS = 16
"""Separate stretches of a ClientHello: a datagram can hold 150 fragments of one byte, and sorting
them in among each other would keep the loop busy for long."""

_RECORD_HEADER = 13
_MESSAGE_HEADER = 12
_CHANGE_CIPHER_SPEC, _ALERT, _HANDSHAKE, _APPLICATION_DATA = 20, 21, 22, 23
_CLIENT_HELLO = 1
_VERSION_MAJOR = 0xFE


class Record(NamedTuple):
    """One record: ``data`` is the whole of it, header included."""

    content_type: int
    epoch: int
    data: bytes


class _Fragment(NamedTuple):
    message_type: int
    length: int
    sequence: int
    offset: int
    end: int


def records(datagram_untrusted: bytes) -> Iterator[Record]:
    """The records of a datagram, up to the first whose header or length cannot be."""
    position = 0
    while position + _RECORD_HEADER <= len(datagram_untrusted):
        header = datagram_untrusted[position : position + _RECORD_HEADER]
        end = position + _RECORD_HEADER + int.from_bytes(header[11:13], "big")
        if header[1] != _VERSION_MAJOR or end > len(datagram_untrusted):
            return
        epoch = int.from_bytes(header[3:5], "big")
        yield Record(header[0], epoch, datagram_untrusted[position:end])
        position = end


def admissible(datagram_untrusted: bytes) -> bytes:
    """The records that the library may see, in order; empty if there are none.

    Alerts outside the encryption are left out: anybody could have sent them (RFC 6347 §4.1.2.7
    lets us ignore them, and the deadline ends what is really dead). So are application data outside
    it, unknown types, and handshake messages that announce more than we would hold.
    """
    if len(datagram_untrusted) > MAX_DATAGRAM_BYTES:
        return b""
    return b"".join(record.data for record in records(datagram_untrusted) if _is_admissible(record))


def datagrams(flight: bytes, mtu: int) -> list[bytes]:
    """A flight as the library wrote it, cut at record headers into datagrams of at most ``mtu``
    bytes. Short records share a datagram: fewer pieces to lose."""
    out: list[bytes] = []
    current = b""
    for record in records(flight):
        if current and len(current) + len(record.data) > mtu:
            out.append(current)
            current = b""
        current += record.data
    if current:
        out.append(current)
    return out


class HelloAssembly:
    """The datagrams of one ClientHello until all of it is here.

    Chromium's is 1,413 bytes in two datagrams. Until the last fragment arrives there is no
    connection object, so fragments that are never completed cost their own bytes, at most
    :data:`MAX_HELLO_BYTES`.
    """

    __slots__ = ("_covered", "_datagrams", "_length", "_sequence")

    def __init__(self) -> None:
        # Empty tuples are shared by all the thousands of these that stay empty.
        self._datagrams: tuple[bytes, ...] = ()
        self._covered: tuple[tuple[int, int], ...] = ()
        self._length = 0
        self._sequence = 0

    def is_complete(self) -> bool:
        """Whether every byte of the message is here."""
        return self._length > 0 and self._covered == ((0, self._length),)

    @property
    def held_bytes(self) -> int:
        """What is kept here."""
        return sum(map(len, self._datagrams))

    def add(self, admissible_datagram: bytes) -> None:
        """Keep it if it brings a part of a ClientHello that is not here yet. A hello of another
        length or message number is a new one and replaces the old."""
        grew = False
        for fragment in _hello_fragments(admissible_datagram):
            if (fragment.length, fragment.sequence) != (self._length, self._sequence):
                self._clear()
                self._length, self._sequence = fragment.length, fragment.sequence
            covered = _merge(*self._covered, (fragment.offset, fragment.end))
            if len(covered) > MAX_HELLO_PARTS:
                self._clear()
                return
            grew = grew or covered != self._covered
            self._covered = covered
        if not grew:
            return
        self._datagrams += (admissible_datagram,)
        if len(self._datagrams) > MAX_HELLO_DATAGRAMS or self.held_bytes > MAX_HELLO_BYTES:
            self._clear()

    def take(self) -> list[bytes]:
        """The datagrams in the order of their arrival; nothing is kept."""
        out = list(self._datagrams)
        self._clear()
        return out

    def _clear(self) -> None:
        self._datagrams = ()
        self._covered = ()
        self._length = 0
        self._sequence = 0


# Private -----------------------------------------------------------------------------------------


def _is_admissible(record: Record) -> bool:
    if record.content_type == _HANDSHAKE:
        return record.epoch > 0 or _messages_are_small(record.data)
    if record.content_type in (_ALERT, _APPLICATION_DATA):
        return record.epoch > 0
    return record.content_type == _CHANGE_CIPHER_SPEC


def _messages_are_small(data: bytes) -> bool:
    fragments = list(_fragments(data))
    return bool(fragments) and all(
        fragment.length <= MAX_MESSAGE_BYTES and fragment.sequence <= MAX_MESSAGE_SEQUENCE
        for fragment in fragments
    )


def _fragments(data: bytes) -> Iterator[_Fragment]:
    """The handshake fragments of a plaintext record; none at all if one of them cannot be."""
    position = _RECORD_HEADER
    found = []
    while position + _MESSAGE_HEADER <= len(data):
        header = data[position : position + _MESSAGE_HEADER]
        length = int.from_bytes(header[1:4], "big")
        offset = int.from_bytes(header[6:9], "big")
        size = int.from_bytes(header[9:12], "big")
        end = position + _MESSAGE_HEADER + size
        if offset + size > length or end > len(data):
            return
        sequence = int.from_bytes(header[4:6], "big")
        found.append(_Fragment(header[0], length, sequence, offset, offset + size))
        position = end
    yield from found


def _hello_fragments(datagram: bytes) -> Iterator[_Fragment]:
    for record in records(datagram):
        if record.content_type == _HANDSHAKE and record.epoch == 0:
            for fragment in _fragments(record.data):
                if fragment.message_type == _CLIENT_HELLO and fragment.end > fragment.offset:
                    yield fragment


def _merge(*spans: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return tuple(merged)
