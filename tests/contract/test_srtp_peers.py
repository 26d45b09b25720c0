"""Our SRTP against libsrtp, packet by packet, in both directions.

The same packets under the same key have to be the same bytes; and each side opens what the other
one sealed, over rollovers and whatever the order in which it comes.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from pylibsrtp import Error, Policy, Session

native = pytest.importorskip("pyforward._native", reason="the native module is not built")

PROFILES = {
    "SRTP_AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12),
    "SRTP_AEAD_AES_256_GCM": (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12),
    "SRTP_AES128_CM_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
}
WINDOW = 1024
SSRCS = (0x0000_0001, 0xFFFF_FFFE)


class Both:
    """Our side and libsrtp's under one key."""

    def __init__(self, profile: str, seed: int) -> None:
        number, key_bytes, salt_bytes = PROFILES[profile]
        self.random = random.Random(f"{profile}/{seed}")
        key, salt = self.random.randbytes(key_bytes), self.random.randbytes(salt_bytes)
        self.ours: Any = native.Srtp(profile, key, salt, WINDOW)

        def session(direction: int) -> Session:
            policy = Policy(key + salt, direction, srtp_profile=number)
            policy.window_size = WINDOW
            return Session(policy)

        self.sender, self.receiver = (
            session(Policy.SSRC_ANY_OUTBOUND),
            session(Policy.SSRC_ANY_INBOUND),
        )

    def packet(self, index: int, ssrc: int) -> bytes:
        """With every kind of header that there is, and a payload of any length."""
        draw = self.random
        sources = draw.choice([0, 0, 0, 1, 15])
        extended = draw.random() < 0.5
        first = 0x80 | (0x10 if extended else 0) | sources
        kind = draw.choice([96, 0x80 | 111])
        head = struct.pack("!BBHII", first, kind, index & 0xFFFF, draw.getrandbits(32), ssrc)
        head += draw.randbytes(4 * sources)
        if extended:
            words = draw.randrange(6)
            head += struct.pack("!HH", 0xBEDE, words) + draw.randbytes(4 * words)
        return head + draw.randbytes(draw.choice([0, 1, 15, 16, 17, draw.randrange(1100)]))


def consecutive() -> list[int]:
    """Over the first two rollovers, sequence number by sequence number near each."""
    around = [range(roll * 65536 - 150, roll * 65536 + 150) for roll in (1, 2)]
    between = range(65536 + 150, 2 * 65536 - 150, 9_000)
    return sorted({*around[0], *between, *around[1]})


def shuffled(indexes: Sequence[int], draw: random.Random) -> list[int]:
    """Each moves by at most 40; the first stays, because it sets the rollover counter."""
    return [indexes[0], *sorted(indexes[1:], key=lambda index: index + draw.uniform(0, 40))]


@pytest.fixture(params=PROFILES)
def both(request: pytest.FixtureRequest) -> Both:
    return Both(request.param, 1)


def test_both_seal_to_the_same_bytes(both: Both) -> None:
    for index in consecutive():
        for ssrc in SSRCS:
            packet = both.packet(index, ssrc)
            assert both.ours.protect(index, packet) == both.sender.protect(packet), index


def test_libsrtp_opens_ours_in_any_order(both: Both) -> None:
    packets = {index: both.packet(index, SSRCS[0]) for index in consecutive()}
    for index in shuffled(list(packets), both.random):
        sealed = both.ours.protect(index, packets[index])
        assert both.receiver.unprotect(sealed) == packets[index], index
        with pytest.raises(Error, match="replay"):
            both.receiver.unprotect(sealed)


def test_ours_opens_libsrtps_in_any_order(both: Both) -> None:
    packets = {index: both.packet(index, SSRCS[1]) for index in consecutive()}
    sealed = {index: both.sender.protect(packet) for index, packet in packets.items()}
    for index in shuffled(list(packets), both.random):
        assert both.ours.unprotect(sealed[index]) == (index, packets[index])
        with pytest.raises(ValueError, match="srtp_replay"):
            both.ours.unprotect(sealed[index])


def test_what_one_refuses_the_other_refuses(both: Both) -> None:
    packet = both.packet(1_000, SSRCS[0])
    sealed = both.sender.protect(packet)
    for bit in both.random.sample(range(16, len(sealed) * 8), min(80, len(sealed) * 8 - 16)):
        forged = bytearray(sealed)
        forged[bit // 8] ^= 0x80 >> bit % 8
        with pytest.raises(Error):
            both.receiver.unprotect(bytes(forged))
        with pytest.raises(ValueError, match=r"srtp_auth|rtp_"):
            both.ours.unprotect(bytes(forged))
    assert both.receiver.unprotect(sealed) == packet
    assert both.ours.unprotect(sealed) == (1_000, packet)


def test_what_lies_before_the_window_is_a_replay_to_both(both: Both) -> None:
    old, new = 20_000, 20_000 + WINDOW + 10
    sealed = {index: both.sender.protect(both.packet(index, 7)) for index in (old, new)}
    for index in (new, old):
        answers = []
        for unprotect in (both.receiver.unprotect, both.ours.unprotect):
            try:
                unprotect(sealed[index])
                answers.append("opened")
            except (Error, ValueError) as error:
                answers.append("refused" if "replay" in str(error) else str(error))
        assert answers == ["opened" if index == new else "refused"] * 2


def test_rtcp_opens_both_ways_and_once(both: Both) -> None:
    for number in range(200):
        size = 4 * both.random.randrange(250)
        head = struct.pack("!BBHI", 0x80, 201, 1 + size // 4, SSRCS[number % 2])
        compound = head + both.random.randbytes(size)
        ours, theirs = both.ours.protect_rtcp(compound), both.sender.protect_rtcp(compound)
        assert both.receiver.unprotect_rtcp(ours) == compound
        assert both.ours.unprotect_rtcp(theirs) == compound
        with pytest.raises(Error, match="replay"):
            both.receiver.unprotect_rtcp(ours)
        with pytest.raises(ValueError, match="srtp_replay"):
            both.ours.unprotect_rtcp(theirs)
