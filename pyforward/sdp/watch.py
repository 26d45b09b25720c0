"""The answer to a viewer (WHEP).

Every forwardable codec of an m-line is accepted, the stream's first: when a publisher comes back
with another codec, the payload type changes at a keyframe and nobody negotiates. A crowd's answers
differ as its offers do, in a few lines; the rest is planned once. Neither
transport-cc nor goog-remb is accepted: there is no estimator that would read them yet.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

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
from pyforward.sdp.grammar import Attribute, Media, SessionDescription, Shape
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
    plan = _plan(description.shape, tuple(live))
    stream = msid_token(msid_stream)
    cname = secrets.token_urlsafe(12)
    tracks: list[SubscribeTrack] = []
    accepted: list[answer.Answered] = []
    for media, template in plan.media:
        trailer: list[Attribute] = []
        if template is not None:
            tracks.append(_subscribe(template, tracks))
            trailer = _trailer(tracks[-1], cname, stream)
        accepted.append((media, trailer))
    text = answer.write(description.shape, local, accepted, plan.mids, msid_semantic=stream)
    return WatchAnswer(tuple(tracks), cname, text)


# Private -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Plan:
    """What every offer of one shape is answered for one stream: its m-lines, with the track of
    those that send, which wants SSRCs yet, and the mids of the bundle."""

    media: tuple[tuple[answer.AnsweredMedia, SubscribeTrack | None], ...]
    mids: tuple[str, ...]


@lru_cache(maxsize=64)
def _plan(shape: Shape, live: tuple[LiveTrack, ...]) -> _Plan:
    description = shape.description
    by_kind = {track.kind: track for track in live}
    planned: list[tuple[answer.AnsweredMedia, SubscribeTrack | None]] = []
    for media in _first_of_each_kind(description):
        kind: Kind = "audio" if media.kind == "audio" else "video"
        track = by_kind.get(kind) if peer_receives(media, description) else None
        chosen = _choose_formats(media, track, live)
        if not chosen:
            continue
        check_media(media)
        if track is None:
            planned.append((answer.AnsweredMedia(media, "inactive", chosen), None))
            continue
        offered = extensions.offered(media.attributes, description.attributes, peer_sends=False)
        extmaps = extensions.choose(offered, extensions.TO_VIEWERS, media.mid)
        answered = answer.AnsweredMedia(media, "sendonly", chosen, extmaps)
        planned.append((answered, _template(answered, kind, description)))
    if not any(template for _, template in planned):
        kinds = " and ".join(by_kind) or "nothing"
        raise Unprocessable(f"The offer asks for no track of the stream, which carries {kinds}.")
    return _Plan(tuple(planned), bundle(description, [item.offer for item, _ in planned]))


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


def _template(
    item: answer.AnsweredMedia, kind: Kind, description: SessionDescription
) -> SubscribeTrack:
    """The track of an m-line. Its SSRCs are each viewer's own; zero stands for one."""
    media, chosen = item.offer, item.formats
    has_rtx = any(format_.rtx_payload_type is not None for format_ in chosen)
    return SubscribeTrack(
        kind=kind,
        mid=media.mid,
        clock_rate=chosen[0].offered.clock_rate,
        ssrc=0,
        rtx_ssrc=0 if has_rtx else None,
        formats=tuple(
            Format(format_.offered.codec, format_.offered.payload_type, format_.rtx_payload_type)
            for format_ in chosen
        ),
        extensions=tuple((extmap.id, extmap.name) for extmap in item.extensions),
        extmap_allow_mixed=extensions.allows_mixed(media.attributes, description.attributes),
        nack="nack" in chosen[0].feedback,
        rrtr=_offers_round_trips(media, description),
    )


def _subscribe(template: SubscribeTrack, others: Sequence[SubscribeTrack]) -> SubscribeTrack:
    """With SSRCs that none of the others has."""
    taken = {ssrc for track in others for ssrc in (track.ssrc, track.rtx_ssrc)}
    ssrc = new_ssrc(taken)
    rtx_ssrc = None if template.rtx_ssrc is None else new_ssrc(taken | {ssrc})
    return replace(template, ssrc=ssrc, rtx_ssrc=rtx_ssrc)


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
