"""Writing offers of ours, to other servers: what watching and publishing have in common
(RFC 9429 §5.2).

Audio comes first, everything in one bundle, and no payload type or extension id means two things in
it (RFC 8843 §9.1). The numbers are those that browsers use: servers exist that know no others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from pyforward.commands import Codec, Kind
from pyforward.sdp.codecs import FORWARDABLE, OfferedFormat, clock_rate, encoding
from pyforward.sdp.extensions import URIS, Extmap
from pyforward.sdp.grammar import Attribute, Attributes, Media, SessionDescription
from pyforward.sdp.sections import Direction
from pyforward.sdp.transport import LocalTransport, Setup
from pyforward.sdp.written import WrittenFormat, session_fields


@dataclass(frozen=True, eq=False)
class ProposedMedia:
    """An m-line of ours. ``trailer`` stands after the formats: msid, ssrc.

    It is the same for every session, except for what :class:`LocalTransport` adds to it, and what
    follows from it is found out once.
    """

    kind: Kind
    direction: Direction
    formats: Sequence[WrittenFormat]
    extensions: Sequence[Extmap]
    trailer: Sequence[Attribute] = ()

    @cached_property
    def payload_types(self) -> tuple[str, ...]:
        """As the m-line lists them."""
        return tuple(text for format_ in self.formats for text in format_.payload_types())

    @cached_property
    def attributes(self) -> tuple[Attribute, ...]:
        """All that stand after ``a=mid``."""
        return tuple(_attributes(self))

    @cached_property
    def feedback(self) -> Mapping[Codec, frozenset[str]]:
        """The rtcp-fb values of each codec that is offered."""
        return {item.offered.codec: item.offered.feedback for item in self.formats}

    @cached_property
    def extension_names(self) -> frozenset[str]:
        """The header extensions that are offered."""
        return frozenset(extmap.name for extmap in self.extensions)


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer of ours: the answer is read against it. ``media`` are its m-lines, ``cname`` is that
    of all tracks we send, empty where we send none."""

    description: SessionDescription
    setup: Setup
    media: tuple[ProposedMedia, ...]
    cname: str = ""

    @property
    def text(self) -> str:
        """What is posted."""
        return self.description.write()


@dataclass(frozen=True, slots=True)
class _Proposal:
    """Payload types that we give a codec with these parameters, and its retransmissions."""

    codec: Codec
    payload_type: int
    rtx_payload_type: int | None
    fmtp: str = ""


def _h264(profile: str, mode: int) -> str:
    return f"level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile}"


PROPOSALS: Final = (
    _Proposal("opus", 111, None, "minptime=10;useinbandfec=1;stereo=1"),
    _Proposal("pcmu", 0, None),
    _Proposal("pcma", 8, None),
    _Proposal("vp8", 96, 97),
    # Constrained baseline first: what every encoder can do.
    _Proposal("h264", 102, 103, _h264("42e01f", 1)),
    _Proposal("h264", 104, 105, _h264("42e01f", 0)),
    _Proposal("h264", 106, 107, _h264("42001f", 1)),
    _Proposal("h264", 108, 109, _h264("42001f", 0)),
    _Proposal("h264", 112, 113, _h264("4d001f", 1)),
    _Proposal("h264", 114, 115, _h264("4d001f", 0)),
    _Proposal("h264", 116, 117, _h264("64001f", 1)),
    _Proposal("h264", 118, 119, _h264("64001f", 0)),
    _Proposal("vp9", 98, 99, "profile-id=0"),
    _Proposal("vp9", 100, 101, "profile-id=2"),
    _Proposal("vp9", 35, 36, "profile-id=1"),
    _Proposal("vp9", 37, 38, "profile-id=3"),
    _Proposal("av1", 45, 46, "level-idx=5;profile=0;tier=0"),
    _Proposal("av1", 47, 48, "level-idx=5;profile=1;tier=0"),
    _Proposal("h265", 49, 50, "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST"),
    _Proposal("h265", 51, 52, "level-id=93;profile-id=2;tier-flag=0;tx-mode=SRST"),
)
"""What we offer to receive, in our order of preference; of a codec that we send, the first line's
payload types are taken."""


def every_format(kind: Kind, feedback: Sequence[str]) -> list[WrittenFormat]:
    """All that can be received of a kind."""
    return [_written(item, item.fmtp, feedback) for item in PROPOSALS if item.codec in _of(kind)]


def one_format(codec: Codec, fmtp: str, feedback: Sequence[str]) -> WrittenFormat:
    """What is sent of a codec, with the sender's own parameters."""
    return _written(next(item for item in PROPOSALS if item.codec == codec), fmtp, feedback)


def write(
    local: LocalTransport, media: Sequence[ProposedMedia], *, cname: str = "", msid_stream: str = ""
) -> Offer:
    """The offer of these m-lines, whose mids are their numbers."""
    attributes = [
        Attribute("group", "BUNDLE " + " ".join(str(mid) for mid in range(len(media)))),
        # Fragments may follow, and an answer may come before all candidates are known.
        Attribute("ice-options", "trickle"),
        Attribute("extmap-allow-mixed"),
        Attribute("msid-semantic", f"WMS {msid_stream}".strip()),
    ]
    sections = tuple(_section(item, str(mid), local) for mid, item in enumerate(media))
    description = SessionDescription(session_fields(), Attributes(attributes), sections)
    return Offer(description, local.setup, tuple(media), cname)


# Private -----------------------------------------------------------------------------------------


def _of(kind: Kind) -> tuple[Codec, ...]:
    return FORWARDABLE[kind]


def _written(proposal: _Proposal, fmtp: str, feedback: Sequence[str]) -> WrittenFormat:
    offered = OfferedFormat(
        proposal.codec,
        proposal.payload_type,
        clock_rate(proposal.codec),
        encoding(proposal.codec),
        fmtp,
        frozenset(feedback),
        proposal.rtx_payload_type,
    )
    return WrittenFormat(offered, fmtp, feedback, proposal.rtx_payload_type)


def _section(item: ProposedMedia, mid: str, local: LocalTransport) -> Media:
    port, connection = local.connection()
    return Media(
        item.kind,
        port,
        "UDP/TLS/RTP/SAVPF",
        item.payload_types,
        (connection,),
        # In every m-line: which of them carries the bundle is the answerer's choice (RFC 8843
        # §7.3).
        Attributes(
            (
                *local.attributes(with_candidates=True),
                Attribute("mid", mid),
                *item.attributes,
            )
        ),
    )


def _attributes(item: ProposedMedia) -> Iterator[Attribute]:
    for extmap in item.extensions:
        yield Attribute("extmap", f"{extmap.id} {URIS[extmap.name]}")
    yield Attribute(item.direction)
    yield Attribute("rtcp-mux")
    yield Attribute("rtcp-rsize")
    for format_ in item.formats:
        yield from format_.attributes()
    yield from item.trailer
