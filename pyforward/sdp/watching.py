"""We watch another server (WHEP): our offer, and what its answer says will come.

Everything that can be forwarded is offered, with the feedback and the extensions that a browser
offers. What the engine does not send is not offered: receiver reference times (RFC 3611 §4.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from pyforward.commands import Format, Kind, PublishTrack
from pyforward.sdp import accepted, extensions, offer, simulcast
from pyforward.sdp.codecs import parameter_sets
from pyforward.sdp.offer import Offer
from pyforward.sdp.transport import LocalTransport, PeerTransport
from pyforward.sdp.written import new_ssrc


@dataclass(frozen=True, slots=True)
class WatchAccepted:
    """What the peer will send: at most one track a kind, with the answer's first format; what it
    may switch to stands as the track's alternatives, and several may be of one codec."""

    tracks: tuple[PublishTrack, ...]
    transport: PeerTransport


def offer_watch(local: LocalTransport, *, audio: bool = True, video: bool = True) -> Offer:
    """An offer to receive; ``local.setup`` is best actpass. Raises ValueError when nothing is
    asked for."""
    kinds: list[Kind] = ["audio"] if audio else []
    kinds += ["video"] if video else []
    if not kinds:
        raise ValueError("an offer asks for audio, for video, or for both")
    return offer.write(local, [_proposed(kind) for kind in kinds])


def accept_watch(offered: Offer, answer_text_untrusted: str) -> WatchAccepted:
    """What will come, by the answer to an offer of :func:`offer_watch`. Rejected and inactive
    m-lines are left out. Raises :class:`~pyforward.errors.BadAnswer`."""
    media, transport = accepted.read(offered, answer_text_untrusted, we_send=False)
    with accepted.reading():
        sources = [simulcast.sources(item.answered) for item in media]
    taken = {ssrc for item in sources for ssrc in item.ssrcs}
    taken |= {rtx for item in sources for _, rtx in item.rtx_ssrcs}
    tracks = []
    for item, source in zip(media, sources, strict=True):
        tracks.append(_track(item, source, new_ssrc(taken)))
        taken.add(tracks[-1].feedback_ssrc)
    return WatchAccepted(tuple(tracks), transport)


# Private -----------------------------------------------------------------------------------------

_FEEDBACK: dict[Kind, tuple[str, ...]] = {
    "audio": ("transport-cc",),
    "video": ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"),
}


@cache
def _proposed(kind: Kind) -> offer.ProposedMedia:
    return offer.ProposedMedia(
        kind,
        "recvonly",
        tuple(offer.every_format(kind, _FEEDBACK[kind])),
        tuple(extensions.ours(kind, extensions.FROM_SERVERS)),
    )


def _track(
    item: accepted.AcceptedMedia, source: simulcast.Sources, feedback_ssrc: int
) -> PublishTrack:
    first = item.formats[0]
    has_id = any(extmap.name == "transport_cc" for extmap in item.extensions)
    transport_cc = has_id and "transport-cc" in first.feedback
    return PublishTrack(
        kind=item.kind,
        mid=item.mid,
        codec=first.codec,
        payload_type=first.payload_type,
        rtx_payload_type=first.rtx_payload_type,
        clock_rate=first.clock_rate,
        ssrcs=source.ssrcs,
        rtx_ssrcs=source.rtx_ssrcs if first.rtx_payload_type is not None else (),
        rids=(),
        extensions=tuple(
            (extmap.id, extmap.name)
            for extmap in item.extensions
            if transport_cc or extmap.name != "transport_cc"
        ),
        feedback_ssrc=feedback_ssrc,
        nack="nack" in first.feedback,
        pli="nack pli" in first.feedback,
        fir="ccm fir" in first.feedback,
        reduced_size="rtcp-rsize" in item.answered.attributes,
        transport_cc=transport_cc,
        remb=not transport_cc and "goog-remb" in first.feedback,
        parameter_sets=parameter_sets(first.codec, first.fmtp),
        alternatives=tuple(
            Format(format_.codec, format_.payload_type, format_.rtx_payload_type)
            for format_ in item.formats[1:]
        ),
    )
