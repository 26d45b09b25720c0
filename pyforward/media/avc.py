"""How a container holds H.264: the decoder configuration, and access units as it frames them.

ISO/IEC 14496-15 ("AVCC", in MP4, Matroska and FLV) or Annex B (in MPEG-TS and others). Whatever
comes in, what goes out is Annex B with its parameter sets in-band, as a receiver that joins at a
keyframe needs it. It reads no further into a parameter set than its first four bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyforward.errors import MediaError
from pyforward.media.packetizers import h264

IDR, SPS, PPS = 5, 7, 8  # NAL unit types, H.264 table 7-1

# By profile_idc: those of 8 bits and 4:2:0 that browsers take (RFC 6184 §8.1, table 5).
PROFILES = {66: "Baseline", 77: "Main", 100: "High"}


@dataclass(frozen=True, slots=True)
class Configuration:
    """``length_bytes`` is 0 where access units are in Annex B form."""

    length_bytes: int
    parameter_sets: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """In Annex B form."""

    data: bytes
    keyframe: bool


def configuration(extradata: bytes) -> Configuration:
    """What a container says ahead of the first access unit; empty extradata says Annex B.

    Raises :class:`MediaError` when it is neither an AVCDecoderConfigurationRecord nor Annex B.
    """
    if not extradata:
        return Configuration(0, ())
    if extradata[0] == 0:
        return Configuration(0, _parameter_sets(h264.nal_units(extradata)))
    if extradata[0] != 1 or len(extradata) < 7:
        raise MediaError("The H.264 decoder configuration is of an unknown kind.")
    # ISO/IEC 14496-15 §5.3.3.1.2: five bits of the count of SPS, then a byte for that of PPS.
    units: list[bytes] = []
    at = 5
    for mask in (0x1F, 0xFF):
        if at >= len(extradata):
            raise MediaError("The H.264 decoder configuration ends too early.")
        count = extradata[at] & mask
        at += 1
        for _ in range(count):
            end = at + 2 + int.from_bytes(extradata[at : at + 2], "big")
            if end > len(extradata):
                raise MediaError("The H.264 decoder configuration ends too early.")
            units.append(extradata[at + 2 : end])
            at = end
    return Configuration((extradata[4] & 3) + 1, _parameter_sets(units))


def access_unit(sample: bytes, given: Configuration) -> AccessUnit:
    """A frame of the container, with the parameter sets of the configuration put before a keyframe
    that brings no SPS of its own. Raises :class:`MediaError` when it cannot be taken apart."""
    if given.length_bytes:
        units = h264.length_prefixed_units(sample, given.length_bytes)
    else:
        units = h264.nal_units(sample)
    keyframe = any(unit[0] & 0x1F == IDR for unit in units)
    if keyframe and all(unit[0] & 0x1F != SPS for unit in units):
        units = [*given.parameter_sets, *units]
    return AccessUnit(h264.annex_b(units), keyframe)


def parameter_sets(access_unit_data: bytes) -> tuple[bytes, ...]:
    """Those within an access unit in Annex B form."""
    return _parameter_sets(h264.nal_units(access_unit_data))


def profile_level_id(parameter_sets: tuple[bytes, ...]) -> str:
    """Six hexadecimal digits: profile_idc, constraint flags and level_idc of the first SPS
    (RFC 6184 §8.1). Raises :class:`MediaError` when there is none."""
    for unit in parameter_sets:
        if unit[0] & 0x1F == SPS and len(unit) >= 4:
            return unit[1:4].hex()
    raise MediaError("The H.264 data has no sequence parameter set.")


def _parameter_sets(units: list[bytes]) -> tuple[bytes, ...]:
    return tuple(unit for unit in units if unit and unit[0] & 0x1F in (SPS, PPS))
