"""The rtpdump reader gives back what was written, and refuses everything else."""

from __future__ import annotations

import os
import random
import struct
import time

import pytest

from pyforward.media import rtpdump
from pyforward.media.rtpdump import Record, RtpdumpError

RTP = bytes.fromhex("80600001000000020000000361626364")
HEADERS = b"#!rtpplay1.0 127.0.0.1/5000\n" + bytes(16)


def record(packet: bytes, offset_ms: int = 0, announced: int | None = None) -> bytes:
    size = len(packet) if announced is None else announced
    return struct.pack("!HHI", 8 + len(packet), size, offset_ms) + packet


def test_reads_back_what_was_written() -> None:
    records = (Record(0, RTP), Record(33, RTP[:12]), Record(4_000_000_000, RTP + bytes(1_400)))
    assert rtpdump.read(rtpdump.write(records)) == records


def test_header_fields() -> None:
    (read,) = rtpdump.read(HEADERS + record(RTP))
    assert (read.payload_type, read.sequence, read.timestamp, read.ssrc) == (96, 1, 2, 3)


def test_rtcp_is_left_out() -> None:
    assert rtpdump.read(HEADERS + record(RTP, announced=0) + record(RTP, 7)) == (Record(7, RTP),)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "does not begin"),
        (b"#!rtpplay1.0 " + b"x" * 200 + b"\n", "does not begin"),
        (HEADERS[:-1], "inside its header"),
        (HEADERS + b"\0\0\0", "inside a record header"),
        (HEADERS + record(RTP)[:-1], "wrong length"),
        (HEADERS + struct.pack("!HHI", 7, 0, 0), "wrong length"),
        (HEADERS + record(RTP, announced=len(RTP) + 40), "not recorded whole"),
        (HEADERS + record(RTP[:11]), "not RTP"),
        (HEADERS + record(b"\x40" + RTP[1:]), "not RTP"),
        (HEADERS + record(RTP + bytes(1_500)), "not RTP"),
    ],
)
def test_refuses(data: bytes, says: str) -> None:
    with pytest.raises(RtpdumpError, match=says):
        rtpdump.read(data)


def test_a_packet_that_read_would_refuse_is_not_written() -> None:
    with pytest.raises(RtpdumpError):
        rtpdump.write([Record(0, bytes(2_000))])


def test_mutations_are_read_or_refused() -> None:
    seed = b"".join(record(RTP + bytes(n), n) for n in range(0, 40, 7))
    rng = random.Random(20_401)
    until = time.monotonic() + float(os.environ.get("PYFORWARD_FUZZ_SECONDS", "0.2"))
    while time.monotonic() < until:
        data = bytearray(HEADERS + seed)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            read = rtpdump.read(bytes(data[: rng.randint(0, len(data))]))
        except RtpdumpError:
            continue
        assert all(12 <= len(r.packet) <= rtpdump.LARGEST_PACKET_BYTES for r in read)
