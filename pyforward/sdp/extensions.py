"""Header extensions: URIs and the names that commands give them; ``a=extmap`` (RFC 8285 §5).

The names are those of ``Extension`` in ``native/core/src/media.rs``. Which of them are accepted is
decided here too, because it follows from what the forwarder does with them: what is hop by hop is
taken from publishers where it is of use and never passed on; what is end to end keeps its meaning
and gets each viewer's id.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Final

from pyforward.commands import Kind
from pyforward.sdp.grammar import Attribute, Attributes, number

URIS: Final[dict[str, str]] = {
    "mid": "urn:ietf:params:rtp-hdrext:sdes:mid",
    "rid": "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    "repaired_rid": "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    "abs_send_time": "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "transmission_offset": "urn:ietf:params:rtp-hdrext:toffset",
    "transport_cc": ("http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"),
    "layers_allocation": ("http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00"),
    "dependency_descriptor": (
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
    ),
    "audio_level": "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "video_orientation": "urn:3gpp:video-orientation",
    "playout_delay": "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
    "video_content_type": "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type",
    "video_timing": "http://www.webrtc.org/experiments/rtp-hdrext/video-timing",
    "color_space": "http://www.webrtc.org/experiments/rtp-hdrext/color-space",
    "abs_capture_time": "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
}
NAMES: Final[dict[str, str]] = {uri: name for name, uri in URIS.items()}

FORWARDED: Final = frozenset(
    (
        "audio_level",
        "video_orientation",
        "playout_delay",
        "video_content_type",
        "video_timing",
        "color_space",
        "abs_capture_time",
    )
)

TO_VIEWERS: Final = FORWARDED | {"mid"}
"""Not transport_cc and abs_send_time, for want of an estimator; not the dependency descriptor,
whose frame numbers nobody rewrites yet."""

FROM_PUBLISHERS: Final = FORWARDED | {"mid", "rid", "repaired_rid", "transport_cc"}

FROM_SERVERS: Final = FROM_PUBLISHERS | {"abs_send_time", "transmission_offset"}
"""What we offer as a viewer of another server: what a browser offers, of what the engine knows."""

OUR_IDS: Final[dict[str, int]] = {
    "audio_level": 1,
    "abs_send_time": 2,
    "transport_cc": 3,
    "mid": 4,
    "playout_delay": 5,
    "video_content_type": 6,
    "video_timing": 7,
    "color_space": 8,
    "abs_capture_time": 9,
    "rid": 10,
    "repaired_rid": 11,
    "video_orientation": 13,
    "transmission_offset": 14,
}
"""The ids of our own offers: one for an extension in the whole bundle (RFC 8843 §9.1), all of the
one-byte form, and those that browsers use."""

_LARGEST_ONE_BYTE_ID = 14  # RFC 8285 §4.2: 15 is reserved
_LARGEST_TWO_BYTE_ID = 255
_ONE_BYTE_VALUE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Extmap:
    """An offered extension that we know. ``direction`` is empty or one of SDP's four."""

    id: int
    name: str
    direction: str

    def answer(self) -> Attribute:
        """The line that accepts it: the same id, the direction seen from our side."""
        direction = _OPPOSITE.get(self.direction, self.direction)
        suffix = f"/{direction}" if direction else ""
        return Attribute("extmap", f"{self.id}{suffix} {URIS[self.name]}")


def offered(media: Attributes, session: Attributes, *, peer_sends: bool) -> list[Extmap]:
    """What an m-line offers of the extensions we know, in its order, each once.

    ``peer_sends`` says which way the media goes: an extension that the peer offers for the other
    way only is left out. Ids above 14 need the two-byte form, and with it ``a=extmap-allow-mixed``.
    """
    largest = _LARGEST_TWO_BYTE_ID if allows_mixed(media, session) else _LARGEST_ONE_BYTE_ID
    useless = "recvonly" if peer_sends else "sendonly"
    found: dict[str, Extmap] = {}
    ids: set[int] = set()
    for attribute in (*media.every("extmap"), *session.every("extmap")):
        extmap = _extmap(attribute)
        if extmap is None or extmap.id > largest or extmap.id in ids or extmap.name in found:
            continue
        ids.add(extmap.id)
        if extmap.direction not in (useless, "inactive"):
            found[extmap.name] = extmap
    return list(found.values())


def choose(offered_: Iterable[Extmap], wanted: Container[str], mid: str) -> list[Extmap]:
    """Those of the offered ones that are wanted. A MID that no one-byte element can carry is not
    negotiated as an extension."""
    return [
        item
        for item in offered_
        if item.name in wanted and (item.name != "mid" or 0 < len(mid) <= _ONE_BYTE_VALUE_BYTES)
    ]


def ours(kind: Kind, wanted: Container[str]) -> list[Extmap]:
    """What our own offer says in an m-line of this kind, of what is wanted."""
    return [
        Extmap(id_, name, "")
        for name, id_ in OUR_IDS.items()
        if name in wanted and (name in _OF_EITHER or (name in _OF_AUDIO) == (kind == "audio"))
    ]


def allows_mixed(media: Attributes, session: Attributes) -> bool:
    """``a=extmap-allow-mixed`` of the m-line or of the whole session (RFC 8285 §6)."""
    return "extmap-allow-mixed" in media or "extmap-allow-mixed" in session


# Private -----------------------------------------------------------------------------------------

_OF_EITHER = frozenset(("mid", "abs_send_time", "transport_cc", "abs_capture_time"))
_OF_AUDIO = frozenset(("audio_level",))
_OPPOSITE = {"sendonly": "recvonly", "recvonly": "sendonly"}
_DIRECTIONS = frozenset(("", "sendrecv", "sendonly", "recvonly", "inactive"))


def _extmap(attribute: Attribute) -> Extmap | None:
    parts = (attribute.value or "").split()
    if len(parts) < 2:
        return None
    id_text, _, direction = parts[0].partition("/")
    id_ = number(id_text, _LARGEST_TWO_BYTE_ID)
    name = NAMES.get(parts[1])
    if not id_ or id_ == _LARGEST_ONE_BYTE_ID + 1 or name is None or direction not in _DIRECTIONS:
        return None
    return Extmap(id_, name, direction)
