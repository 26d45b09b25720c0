"""The formats of an m-line, and which of them fits a stream.

Reads ``a=rtpmap``, ``a=fmtp`` and ``a=rtcp-fb`` (RFC 8866 §6.6, RFC 4585 §4.2), ties RTX to its
codec (RFC 4588 §8.6) and drops what is not forwarded: RED, ULPFEC, FlexFEC, comfort noise, DTMF.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from pyforward.commands import Codec, Kind
from pyforward.sdp.grammar import Media, number

FORWARDABLE: Final[dict[Kind, tuple[Codec, ...]]] = {
    "audio": ("opus", "pcmu", "pcma"),
    "video": ("vp8", "h264", "vp9", "av1", "h265"),
}

MAX_PARAMETER_SETS: Final = 8
MAX_PARAMETER_SET_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class OfferedFormat:
    """One payload type of an m-line with all that was said of it.

    ``encoding`` is the rtpmap's value, ``fmtp`` the parameter string as written, ``feedback`` the
    values of its rtcp-fb lines.
    """

    codec: Codec
    payload_type: int
    clock_rate: int
    encoding: str
    fmtp: str
    feedback: frozenset[str]
    rtx_payload_type: int | None

    @property
    def parameters(self) -> Mapping[str, str]:
        """``fmtp`` as names, in lower case, and values."""
        return parse_fmtp(self.fmtp)


def formats(media: Media) -> tuple[OfferedFormat, ...]:
    """The forwardable formats in the order of the m-line, which is the peer's preference. One that
    is listed again is the same one: reading it a hundred times would stop the loop for seconds."""
    values = (
        tuple(attribute.value or "" for attribute in media.attributes.every(name))
        for name in ("rtpmap", "fmtp", "rtcp-fb")
    )
    return _formats(media.kind, media.formats, *values)


@lru_cache(maxsize=64)
def _formats(
    kind: str,
    listed: tuple[str, ...],
    rtpmaps: tuple[str, ...],
    fmtp_lines: tuple[str, ...],
    feedback_lines: tuple[str, ...],
) -> tuple[OfferedFormat, ...]:
    """Browsers of one version offer the same formats, so that a crowd's are read once."""
    maps = _rtpmaps(rtpmaps)
    fmtps = _by_payload_type(fmtp_lines)
    rtx = _rtx(maps, fmtps)
    feedback = _feedback(feedback_lines)
    found = []
    for payload_type in dict.fromkeys(map(_payload_type, listed)):
        encoding = maps.get(payload_type) if payload_type is not None else None
        if payload_type is None or encoding is None:
            continue
        recognised = _recognise(kind, encoding)
        if recognised is None:
            continue
        codec, clock_rate = recognised
        fmtp = fmtps.get(payload_type, "")
        if codec == "h264" and _packetization_mode(parse_fmtp(fmtp)) not in ("0", "1"):
            continue  # interleaved mode reorders: nobody sends it
        found.append(
            OfferedFormat(
                codec,
                payload_type,
                clock_rate,
                encoding,
                fmtp,
                feedback.get(payload_type, frozenset()) | feedback.get(_EVERY, frozenset()),
                rtx.get(payload_type),
            )
        )
    return tuple(found)


@lru_cache(maxsize=256)
def parse_fmtp(fmtp: str) -> Mapping[str, str]:
    """``a=1; b=2`` as a mapping with names in lower case; malformed parts are left out."""
    pairs = (part.strip().partition("=") for part in fmtp.split(";"))
    found = {name.strip().lower(): value.strip() for name, equals, value in pairs if equals}
    return MappingProxyType(found)


def best_match(
    candidates: Iterable[OfferedFormat], codec: Codec, fmtp: str
) -> OfferedFormat | None:
    """The viewer's format for a stream of this codec and the publisher's ``fmtp``, if one fits.

    H.264 fits by packetization-mode alone: profiles are only preferred, levels ignored, because
    browsers decode more than they offer. The other video codecs have to be of the same profile.
    """
    same = [item for item in candidates if item.codec == codec]
    ours = parse_fmtp(fmtp)
    if codec == "h264":
        mode = _packetization_mode(ours)
        able = [item for item in same if mode == "0" or _packetization_mode(item.parameters) == "1"]
        # Mode 1 first even for a mode-0 stream: the next publisher may well send mode 1.
        return min(
            able,
            key=lambda item: (
                _packetization_mode(item.parameters) == "0",
                _h264_distance(ours, item.parameters),
            ),
            default=None,
        )
    profile = _strict_profile(codec, ours)
    return next((item for item in same if _strict_profile(codec, item.parameters) == profile), None)


def default_fmtp(codec: Codec) -> str:
    """What a stream of this codec looks like before one is there: what every publisher can send."""
    if codec == "h264":
        return "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
    return ""


def opus_fmtp(fmtp: str) -> str:
    """Of an offered Opus ``fmtp`` what the answer repeats; ``sprop-stereo`` (I send stereo) becomes
    ``stereo`` (so send it), without which libwebrtc mixes to mono."""
    parameters = parse_fmtp(fmtp)
    kept = {name: parameters[name] for name in _OPUS_ECHOED if name in parameters}
    if parameters.get("sprop-stereo") == "1":
        kept["stereo"] = "1"
    return ";".join(f"{name}={value}" for name, value in kept.items())


def parameter_sets(codec: Codec, fmtp: str) -> tuple[bytes, ...]:
    """The parameter sets of ``sprop-…`` as NAL units (RFC 6184 §8.1, RFC 7798 §7.1), for publishers
    that send none in-band. Malformed ones are left out: the stream may carry its own."""
    parameters = parse_fmtp(fmtp)
    texts = [
        text
        for name in _SPROP.get(codec, ())
        for text in parameters.get(name, "").split(",")
        if text
    ]
    decoded = (_base64(text) for text in texts[:MAX_PARAMETER_SETS])
    return tuple(
        unit
        for unit in decoded
        if 0 < len(unit) <= MAX_PARAMETER_SET_BYTES and _is_parameter_set(codec, unit[0])
    )


def without_sprop(fmtp: str) -> str:
    """``fmtp`` without what describes the sender's own stream (RFC 6184 §8.2.2)."""
    parts = [part.strip() for part in fmtp.split(";")]
    return ";".join(part for part in parts if part and not part.lower().startswith("sprop-"))


def clock_rate(codec: Codec) -> int:
    """Of its RTP timestamps, in Hz."""
    return _CLOCK_RATES[codec][0]


def encoding(codec: Codec) -> str:
    """The value of ``a=rtpmap`` after the payload type (RFC 8866 §6.6)."""
    rate, channels = _CLOCK_RATES[codec]
    name = codec if codec == "opus" else codec.upper()
    return f"{name}/{rate}" if channels == 1 else f"{name}/{rate}/{channels}"


def first_of_each_codec(offered: Sequence[OfferedFormat]) -> list[Codec]:
    """The codecs of the formats, each once, in the order of the offer."""
    return list(dict.fromkeys(item.codec for item in offered))


# Private -----------------------------------------------------------------------------------------

_EVERY = -1
# RFC 3551 §6: payload types that need no rtpmap.
_STATIC = {0: "PCMU/8000", 8: "PCMA/8000"}
_CLOCK_RATES: dict[Codec, tuple[int, int]] = {  # clock rate in Hz, channels
    "vp8": (90000, 1),
    "h264": (90000, 1),
    "vp9": (90000, 1),
    "av1": (90000, 1),
    "h265": (90000, 1),
    "opus": (48000, 2),
    "pcmu": (8000, 1),
    "pcma": (8000, 1),
}
_OPUS_ECHOED = ("minptime", "useinbandfec", "usedtx", "stereo", "maxaveragebitrate", "cbr")
_SPROP: dict[Codec, tuple[str, ...]] = {
    "h264": ("sprop-parameter-sets",),
    "h265": ("sprop-vps", "sprop-sps", "sprop-pps"),
}
# Simple to demanding: a viewer above the stream's profile decodes it, one below may.
_H264_ORDER = ("constrained", "baseline", "extended", "main", "constrained-high", "high", "beyond")


def _payload_type(text: str) -> int | None:
    """RFC 5761 §4: with rtcp-mux, 64 to 95 cannot be told from RTCP."""
    value = number(text, 127)
    return None if value is None or 64 <= value <= 95 else value


def _rtpmaps(lines: Iterable[str]) -> dict[int, str]:
    maps = dict(_STATIC)
    seen: set[int] = set()
    for line in lines:
        text, _, encoding = line.partition(" ")
        payload_type = _payload_type(text)
        if payload_type is not None and payload_type not in seen:
            seen.add(payload_type)
            maps[payload_type] = encoding.strip()
    return maps


def _by_payload_type(lines: Iterable[str]) -> dict[int, str]:
    values: dict[int, str] = {}
    for line in lines:
        text, _, value = line.partition(" ")
        payload_type = _payload_type(text)
        if payload_type is not None:
            values.setdefault(payload_type, value.strip())
    return values


def _recognise(kind: str, encoding: str) -> tuple[Codec, int] | None:
    name, _, rest = encoding.partition("/")
    rate, _, channels = rest.partition("/")
    for codec in FORWARDABLE["audio"] if kind == "audio" else FORWARDABLE["video"]:
        expected_rate, expected_channels = _CLOCK_RATES[codec]
        if (
            name.lower() == codec
            and rate == str(expected_rate)
            and (channels or "1") == str(expected_channels)
        ):
            return codec, expected_rate
    return None


def _rtx(maps: Mapping[int, str], fmtps: Mapping[int, str]) -> dict[int, int]:
    """Payload type of a codec → payload type of its retransmissions."""
    found: dict[int, int] = {}
    for payload_type, encoding in maps.items():
        if encoding.lower() != "rtx/90000":
            continue
        associated = _payload_type(parse_fmtp(fmtps.get(payload_type, "")).get("apt", ""))
        if associated is not None and associated != payload_type:
            found.setdefault(associated, payload_type)
    return found


def _feedback(lines: Iterable[str]) -> dict[int, frozenset[str]]:
    """The rtcp-fb values of each payload type; those of ``*`` under :data:`_EVERY`."""
    found: dict[int, set[str]] = {}
    for line in lines:
        target, _, value = line.partition(" ")
        payload_type = _EVERY if target == "*" else _payload_type(target)
        if payload_type is not None:
            found.setdefault(payload_type, set()).add(" ".join(value.split()).lower())
    return {payload_type: frozenset(values) for payload_type, values in found.items()}


def _packetization_mode(parameters: Mapping[str, str]) -> str:
    return parameters.get("packetization-mode", "0")


def _strict_profile(codec: Codec, parameters: Mapping[str, str]) -> str:
    """What has to be equal: RFC 9628 §6, AV1 RTP §7.2.1, RFC 7798 §7.1 with their defaults."""
    if codec == "vp9":
        return parameters.get("profile-id", "0")
    if codec == "av1":
        return parameters.get("profile", "0")
    if codec == "h265":
        return parameters.get("profile-id", "1")
    return ""


def _h264_distance(ours: Mapping[str, str], theirs: Mapping[str, str]) -> int:
    step = _h264_rank(theirs) - _h264_rank(ours)
    return step if step >= 0 else len(_H264_ORDER) - step


def _h264_rank(parameters: Mapping[str, str]) -> int:
    """The place in :data:`_H264_ORDER` (RFC 6184 §8.1 table 5). What cannot be read counts as
    constrained baseline: some encoders write nonsense here and send just that."""
    text = parameters.get("profile-level-id", "")
    try:
        profile_idc, profile_iop = bytes.fromhex(text)[:2] if len(text) == 6 else (0x42, 0x40)
    except ValueError:
        profile_idc, profile_iop = 0x42, 0x40
    if profile_idc == 0x42:
        name = "constrained" if profile_iop & 0x40 else "baseline"
    elif profile_idc == 0x4D:
        name = "constrained" if profile_iop & 0x80 else "main"
    elif profile_idc == 0x58:
        name = "constrained" if profile_iop & 0xC0 == 0xC0 else "extended"
    elif profile_idc == 0x64:
        name = "constrained-high" if profile_iop & 0x0C == 0x0C else "high"
    else:
        name = "beyond"
    return _H264_ORDER.index(name)


def _base64(text: str) -> bytes:
    if len(text) > 2 * MAX_PARAMETER_SET_BYTES:
        return b""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _is_parameter_set(codec: Codec, first_byte: int) -> bool:
    if codec == "h264":
        return first_byte & 0x1F in (7, 8)  # SPS, PPS
    return first_byte >> 1 & 0x3F in (32, 33, 34)  # VPS, SPS, PPS
