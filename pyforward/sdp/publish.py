"""The answer to a publisher (WHIP).

One codec with its retransmissions for each of at most one audio and one video m-line. Everything is
all or nothing (RFC 9725 §4.2): a part that cannot be done fails the whole with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyforward.commands import Codec, Kind, PublishTrack
from pyforward.errors import Unprocessable
from pyforward.sdp import answer, extensions, simulcast
from pyforward.sdp.codecs import (
    FORWARDABLE,
    OfferedFormat,
    formats,
    opus_fmtp,
    parameter_sets,
    without_sprop,
)
from pyforward.sdp.grammar import Media, SessionDescription
from pyforward.sdp.live import LiveTrack
from pyforward.sdp.sections import bundle, check_media, is_offered, peer_sends
from pyforward.sdp.transport import LocalTransport
from pyforward.sdp.written import WrittenFormat, new_ssrc


@dataclass(frozen=True, slots=True)
class PublishAnswer:
    """At most one track a kind, what the viewers are told of them, and the answer's text."""

    tracks: tuple[PublishTrack, ...]
    live: tuple[LiveTrack, ...]
    text: str


def answer_publish(
    description: SessionDescription, local: LocalTransport, *, prefer: Sequence[Codec] = ()
) -> PublishAnswer:
    """One codec with its RTX for each m-line: the first of ``prefer`` that is offered, otherwise
    the publisher's first. Raises Unprocessable and BadOffer."""
    chosen = _chosen(description)
    mids = bundle(description, chosen)
    taken: set[int] = set()
    negotiated = [_negotiate(media, description, prefer, taken) for media in chosen]
    _check_payload_types([track for track, _, _ in negotiated])
    return PublishAnswer(
        tuple(track for track, _, _ in negotiated),
        tuple(live for _, live, _ in negotiated),
        answer.write(description.shape, local, [item for _, _, item in negotiated], mids),
    )


# Private -----------------------------------------------------------------------------------------


def _chosen(description: SessionDescription) -> list[Media]:
    """The m-lines that the publisher sends; all others are refused."""
    by_kind: dict[str, Media] = {}
    for media in description.media:
        if media.kind not in ("audio", "video") or not is_offered(media):
            continue
        if not peer_sends(media, description):
            continue
        if media.kind in by_kind:
            raise Unprocessable(
                f"Line {media.line}: a stream has one {media.kind} track; the offer sends more."
            )
        check_media(media)
        by_kind[media.kind] = media
    if not by_kind:
        raise Unprocessable("The offer sends neither audio nor video.")
    return list(by_kind.values())


def _negotiate(
    media: Media, description: SessionDescription, prefer: Sequence[Codec], taken: set[int]
) -> tuple[PublishTrack, LiveTrack, answer.Answered]:
    kind: Kind = "audio" if media.kind == "audio" else "video"
    format_ = _choose_format(media, kind, prefer)
    offered = extensions.offered(media.attributes, description.attributes, peer_sends=True)
    chosen = extensions.choose(offered, extensions.FROM_PUBLISHERS, media.mid)
    has_id = any(item.name == "transport_cc" for item in chosen)
    transport_cc = has_id and "transport-cc" in format_.feedback
    remb = not transport_cc and "goog-remb" in format_.feedback
    if has_id and not transport_cc:
        chosen = [item for item in chosen if item.name != "transport_cc"]
    layers = simulcast.layers(media, format_.payload_type)
    sources = simulcast.sources(media)
    nack = "nack" in format_.feedback
    rtx = format_.rtx_payload_type if nack else None
    taken.update(sources.ssrcs)
    feedback_ssrc = new_ssrc(taken)
    taken.add(feedback_ssrc)
    track = PublishTrack(
        kind=kind,
        mid=media.mid,
        codec=format_.codec,
        payload_type=format_.payload_type,
        rtx_payload_type=rtx,
        clock_rate=format_.clock_rate,
        ssrcs=sources.ssrcs,
        rtx_ssrcs=sources.rtx_ssrcs if rtx is not None else (),
        rids=layers.rids,
        extensions=tuple((item.id, item.name) for item in chosen),
        feedback_ssrc=feedback_ssrc,
        nack=nack,
        pli=kind == "video" and "nack pli" in format_.feedback,
        fir=kind == "video" and "ccm fir" in format_.feedback,
        reduced_size="rtcp-rsize" in media.attributes,
        transport_cc=transport_cc,
        remb=remb,
        parameter_sets=parameter_sets(format_.codec, format_.fmtp),
    )
    item = answer.AnsweredMedia(
        media,
        "recvonly",
        [WrittenFormat(format_, _fmtp(format_), _feedback(track), rtx)],
        chosen,
    )
    live = LiveTrack(kind, format_.codec, format_.fmtp)
    return track, live, (item, layers.answer())


def _choose_format(media: Media, kind: Kind, prefer: Sequence[Codec]) -> OfferedFormat:
    offered = formats(media)
    if not offered:
        names = FORWARDABLE[kind]
        raise Unprocessable(
            f"Line {media.line}: none of the offered {kind} codecs is forwarded here; "
            f"offer {', '.join(names)}.",
            codecs=list(names),
        )
    codec = next(
        (codec for codec in prefer if any(item.codec == codec for item in offered)),
        offered[0].codec,
    )
    same = [item for item in offered if item.codec == codec]
    # Every H.264 viewer takes packetization-mode 1, and only with it do frames fill packets.
    by_mode = [item for item in same if item.parameters.get("packetization-mode") == "1"]
    return (by_mode or same)[0]


def _fmtp(format_: OfferedFormat) -> str:
    if format_.codec == "opus":
        return opus_fmtp(format_.fmtp)
    return without_sprop(format_.fmtp)


def _feedback(track: PublishTrack) -> list[str]:
    accepted = (
        ("transport-cc", track.transport_cc),
        ("goog-remb", track.remb),
        ("ccm fir", track.fir),
        ("nack", track.nack),
        ("nack pli", track.pli),
    )
    return [name for name, on in accepted if on]


def _check_payload_types(tracks: Sequence[PublishTrack]) -> None:
    """In one bundle a payload type means one thing (RFC 8843 §9.1)."""
    seen: set[int] = set()
    for track in tracks:
        for payload_type in (track.payload_type, track.rtx_payload_type):
            if payload_type is None:
                continue
            if payload_type in seen:
                raise Unprocessable(
                    f"Payload type {payload_type} stands for two formats in one bundle."
                )
            seen.add(payload_type)
