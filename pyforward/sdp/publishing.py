"""We publish to another server (WHIP): our offer, and what its answer says we may send.

Neither transport-cc nor goog-remb is offered: there is no estimator that would read them yet.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from pyforward.commands import Format, Kind, SubscribeTrack
from pyforward.errors import BadAnswer
from pyforward.sdp import accepted, extensions, offer, simulcast
from pyforward.sdp.codecs import FORWARDABLE, OfferedFormat, best_match, formats
from pyforward.sdp.grammar import Attribute
from pyforward.sdp.live import LiveTrack
from pyforward.sdp.offer import Offer
from pyforward.sdp.transport import LocalTransport, PeerTransport
from pyforward.sdp.written import msid_token, new_ssrc


@dataclass(frozen=True, slots=True)
class PublishAccepted:
    """What we send: at most one track a kind, each with one format; the CNAME is that of all."""

    tracks: tuple[SubscribeTrack, ...]
    cname: str
    transport: PeerTransport


def offer_publish(local: LocalTransport, tracks: Sequence[LiveTrack], *, msid_stream: str) -> Offer:
    """An offer to send these tracks, at least one and at most one a kind, as members of the
    MediaStream ``msid_stream``; ``local.setup`` is best actpass. Raises ValueError for others."""
    by_kind = {track.kind: track for track in tracks}
    if not tracks or len(by_kind) < len(tracks):
        raise ValueError("an offer sends one audio track, one video track, or both")
    stream = msid_token(msid_stream)
    cname = secrets.token_urlsafe(12)
    taken: set[int] = set()
    return offer.write(
        local,
        [_proposed(by_kind[kind], stream, cname, taken) for kind in FORWARDABLE if kind in by_kind],
        cname=cname,
        msid_stream=stream,
    )


def accept_publish(offered: Offer, answer_text_untrusted: str) -> PublishAccepted:
    """What may be sent, by the answer to an offer of :func:`offer_publish`. Rejected and inactive
    m-lines are left out. Raises :class:`~pyforward.errors.BadAnswer`."""
    media, transport = accepted.read(offered, answer_text_untrusted, we_send=True)
    tracks = [track for item in media if (track := _track(item)) is not None]
    if not tracks:
        raise BadAnswer("The answer takes the codecs that were offered, but not their profiles.")
    return PublishAccepted(tuple(tracks), offered.cname, transport)


# Private -----------------------------------------------------------------------------------------

_FEEDBACK: dict[Kind, tuple[str, ...]] = {
    "audio": (),
    "video": ("ccm fir", "nack", "nack pli"),
}


def _proposed(track: LiveTrack, stream: str, cname: str, taken: set[int]) -> offer.ProposedMedia:
    if track.codec not in FORWARDABLE[track.kind]:
        raise ValueError(f"{track.codec} is no codec of {track.kind}")
    format_ = offer.one_format(track.codec, track.fmtp, _FEEDBACK[track.kind])
    ssrcs = [_fresh(taken)]
    if format_.rtx_payload_type is not None:
        ssrcs.append(_fresh(taken))
    return offer.ProposedMedia(
        track.kind,
        "sendonly",
        [format_],
        extensions.ours(track.kind, extensions.TO_VIEWERS),
        _trailer(f"{stream} {track.kind}", cname, ssrcs),
    )


def _fresh(taken: set[int]) -> int:
    ssrc = new_ssrc(taken)
    taken.add(ssrc)
    return ssrc


def _trailer(msid: str, cname: str, ssrcs: Sequence[int]) -> list[Attribute]:
    """Both ways of naming the MediaStream, by the m-line (RFC 8830) and by the SSRC: servers exist
    that read only the older one."""
    lines = [Attribute("msid", msid)]
    if len(ssrcs) > 1:
        lines.append(Attribute("ssrc-group", "FID " + " ".join(map(str, ssrcs))))
    for ssrc in ssrcs:
        lines.append(Attribute("ssrc", f"{ssrc} cname:{cname}"))
        lines.append(Attribute("ssrc", f"{ssrc} msid:{msid}"))
    return lines


def _track(item: accepted.AcceptedMedia) -> SubscribeTrack | None:
    chosen = _choose(item)
    if chosen is None:
        return None
    ours = simulcast.sources(item.offered)
    (ssrc,) = ours.ssrcs
    has_rtx = chosen.rtx_payload_type is not None
    return SubscribeTrack(
        kind=item.kind,
        mid=item.mid,
        clock_rate=chosen.clock_rate,
        ssrc=ssrc,
        rtx_ssrc=dict(ours.rtx_ssrcs)[ssrc] if has_rtx else None,
        formats=(Format(chosen.codec, chosen.payload_type, chosen.rtx_payload_type),),
        extensions=tuple((extmap.id, extmap.name) for extmap in item.extensions),
        extmap_allow_mixed=item.extmap_allow_mixed,
        nack="nack" in chosen.feedback,
        rrtr=False,
    )


def _choose(item: accepted.AcceptedMedia) -> OfferedFormat | None:
    """The answer's format for what we send. Who lists our payload type with our codec takes what it
    stands for, even if it repeats no parameters; under another number it has to fit."""
    (ours,) = formats(item.offered)
    for answered in item.formats:
        if (answered.codec, answered.payload_type) == (ours.codec, ours.payload_type):
            return answered
    return best_match(item.formats, ours.codec, ours.fmtp)
