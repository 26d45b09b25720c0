"""The answer to a viewer (WHEP).

Every forwardable codec of an m-line is accepted, the stream's first: when a publisher comes back
with another codec, the payload type changes at a keyframe and nobody negotiates. Neither
transport-cc nor goog-remb is accepted: there is no estimator that would read them yet.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from pyforward.commands import Codec, Format, Kind, SubscribeTrack
from pyforward.errors import NoCommonCodec, Unprocessable
from pyforward.sdp import answer, extensions
from pyforward.sdp.codecs import (
    OfferedFormat,
    best_match,
    default_fmtp,
    first_of_each_codec,
    formats,
    opus_fmtp,
    without_sprop,
)
from pyforward.sdp.grammar import Attribute, Media, SessionDescription
from pyforward.sdp.live import LiveTrack
from pyforward.sdp.sections import (
    bundle,
    check_media,
    is_offered,
    peer_receives,
)
from pyforward.sdp.transport import LocalTransport
from pyforward.sdp.written import WrittenFormat, msid_token, new_ssrc


@dataclass(frozen=True, slots=True)
class WatchAnswer:
    """At most one track a kind, the CNAME of all of them, and the answer's text."""

    tracks: tuple[SubscribeTrack, ...]
    cname: str
    text: str


def answer_watch(
    description: SessionDescription,
    local: LocalTransport,
    live: Sequence[LiveTrack],
    *,
    msid_stream: str,
) -> WatchAnswer:
    """Every forwardable codec of each m-line, the stream's first. Raises NoCommonCodec with the
    stream's codecs, Unprocessable and BadOffer.

    ``msid_stream`` names the MediaStream that both tracks belong to in the browser.
    """
    by_kind = {track.kind: track for track in live}
    stream = msid_token(msid_stream)
    cname = secrets.token_urlsafe(12)
    tracks: list[SubscribeTrack] = []
    accepted: list[answer.AnsweredMedia] = []
    for media in _first_of_each_kind(description):
        kind: Kind = "audio" if media.kind == "audio" else "video"
        track = by_kind.get(kind) if peer_receives(media, description) else None
        chosen = _choose_formats(media, track, live)
        if not chosen:
            continue
        check_media(media)
        if track is None:
            accepted.append(answer.AnsweredMedia(media, "inactive", chosen))
            continue
        offered = extensions.offered(media.attributes, description.attributes, peer_sends=False)
        extmaps = extensions.choose(offered, extensions.TO_VIEWERS, media.mid)
        subscription = _subscribe(media, kind, description, chosen, extmaps, tracks)
        tracks.append(subscription)
        trailer = _trailer(subscription, cname, stream)
        accepted.append(answer.AnsweredMedia(media, "sendonly", chosen, extmaps, trailer))
    if not tracks:
        kinds = " and ".join(by_kind) or "nothing"
        raise Unprocessable(f"The offer asks for no track of the stream, which carries {kinds}.")
    mids = bundle(description, [item.offer for item in accepted])
    text = answer.write(description, local, accepted, mids, msid_semantic=stream)
    return WatchAnswer(tuple(tracks), cname, text)


# Private -----------------------------------------------------------------------------------------


def _first_of_each_kind(description: SessionDescription) -> list[Media]:
    """The m-lines that can be accepted, in the order of the offer; all others are refused. One
    that receives goes before one that does not."""
    usable = [
        media
        for media in description.media
        if media.kind in ("audio", "video") and is_offered(media)
    ]
    usable.sort(key=lambda media: not peer_receives(media, description))
    chosen: dict[str, Media] = {}
    for media in usable:
        chosen.setdefault(media.kind, media)
    return sorted(chosen.values(), key=lambda media: media.line)


def _choose_formats(
    media: Media, track: LiveTrack | None, live: Sequence[LiveTrack]
) -> list[WrittenFormat]:
    """One format a codec, the stream's first, then in the viewer's order."""
    offered = formats(media)
    current = best_match(offered, track.codec, track.fmtp) if track is not None else None
    if track is not None and current is None:
        raise NoCommonCodec([item.codec for item in live])
    chosen = [current] if current is not None else []
    for codec in first_of_each_codec(offered):
        if track is not None and codec == track.codec:
            continue
        match = best_match(offered, codec, default_fmtp(codec))
        # A track has one clock: a format of another rate could not follow on the same SSRC
        # (RFC 3550 §5.2).
        if match is not None and (not chosen or match.clock_rate == chosen[0].clock_rate):
            chosen.append(match)
    return [_answered(item) for item in chosen]


def _answered(item: OfferedFormat) -> WrittenFormat:
    feedback = [name for name in ("ccm fir", "nack", "nack pli") if name in item.feedback]
    if item.codec in _AUDIO:
        feedback = [name for name in feedback if name == "nack"]
    fmtp = opus_fmtp(item.fmtp) if item.codec == "opus" else without_sprop(item.fmtp)
    rtx = item.rtx_payload_type if "nack" in feedback else None
    return WrittenFormat(item, fmtp, feedback, rtx)


_AUDIO: frozenset[Codec] = frozenset(("opus", "pcmu", "pcma"))


def _subscribe(
    media: Media,
    kind: Kind,
    description: SessionDescription,
    chosen: Sequence[WrittenFormat],
    extmaps: Sequence[extensions.Extmap],
    others: Sequence[SubscribeTrack],
) -> SubscribeTrack:
    taken = {ssrc for track in others for ssrc in (track.ssrc, track.rtx_ssrc)}
    ssrc = new_ssrc(taken)
    has_rtx = any(item.rtx_payload_type is not None for item in chosen)
    return SubscribeTrack(
        kind=kind,
        mid=media.mid,
        clock_rate=chosen[0].offered.clock_rate,
        ssrc=ssrc,
        rtx_ssrc=new_ssrc(taken | {ssrc}) if has_rtx else None,
        formats=tuple(
            Format(item.offered.codec, item.offered.payload_type, item.rtx_payload_type)
            for item in chosen
        ),
        extensions=tuple((item.id, item.name) for item in extmaps),
        extmap_allow_mixed=extensions.allows_mixed(media.attributes, description.attributes),
        nack="nack" in chosen[0].feedback,
        rrtr=_offers_round_trips(media, description),
    )


def _offers_round_trips(media: Media, description: SessionDescription) -> bool:
    """``a=rtcp-xr:rcvr-rtt`` (RFC 3611 §5.1): the viewer sends RRTR and wants DLRR."""
    return any(
        word.partition("=")[0] == "rcvr-rtt"
        for attributes in (media.attributes, description.attributes)
        for attribute in attributes.every("rtcp-xr")
        for word in (attribute.value or "").split()
    )


def _trailer(track: SubscribeTrack, cname: str, stream: str) -> list[Attribute]:
    """Without msid a browser's ``event.streams`` is empty and lips are not synchronised; without
    ssrc lines some players do not find the retransmissions."""
    lines = [Attribute("rtcp-xr", "rcvr-rtt=all")] if track.rrtr else []
    lines.append(Attribute("msid", f"{stream} {track.kind}"))
    if track.rtx_ssrc is not None:
        lines.append(Attribute("ssrc-group", f"FID {track.ssrc} {track.rtx_ssrc}"))
    lines.append(Attribute("ssrc", f"{track.ssrc} cname:{cname}"))
    if track.rtx_ssrc is not None:
        lines.append(Attribute("ssrc", f"{track.rtx_ssrc} cname:{cname}"))
    return lines
