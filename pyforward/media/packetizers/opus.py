"""Opus packets to RTP payloads (RFC 7587): a packet of the encoder is a payload as it is.

There is nothing to scan and nothing to cut, so this module is not compiled.
"""

from __future__ import annotations

from pyforward.errors import MediaError

SAMPLES_PER_S = 48_000  # the RTP clock, whatever the encoder's rate (§4.1)

# By the configuration in the first five bits, in samples at 48 kHz (RFC 6716 §3.1, table 2).
_SILK = (480, 960, 1_920, 2_880)
_HYBRID = (480, 960)
_CELT = (120, 240, 480, 960)
_FRAME_SAMPLES = _SILK * 3 + _HYBRID * 2 + _CELT * 4
_MOST_SAMPLES = 5_760  # 120 ms, requirement R5 (§3.4)


def packetize(packet: bytes, max_payload: int) -> list[bytes]:
    """The one payload (RFC 7587 §4.2).

    Raises :class:`MediaError` when it does not fit, because Opus cannot be cut, or is no packet.
    """
    if len(packet) > max_payload:
        raise MediaError(
            f"An Opus packet has {len(packet)} bytes, and {max_payload} fit into an RTP packet."
        )
    samples(packet)
    return [packet]


def samples(packet: bytes) -> int:
    """How long the packet sounds, in samples at 48 kHz (RFC 6716 §3.1 and §3.2).

    Raises :class:`MediaError` when the packet breaks those rules.
    """
    if not packet:
        raise MediaError("An Opus packet is empty.")
    match packet[0] & 3:
        case 0:
            frames = 1
        case 1 | 2:
            frames = 2
        case _:
            frames = packet[1] & 0x3F if len(packet) > 1 else 0
    total = frames * _FRAME_SAMPLES[packet[0] >> 3]
    if not 0 < total <= _MOST_SAMPLES:
        raise MediaError(f"An Opus packet claims {frames} frames, {total} samples in all.")
    return total
