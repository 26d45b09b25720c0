"""A publisher joins. Nothing here awaits: between the first look at the books and the last command
no other request runs, and a request that fails has changed nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyforward import sdp
from pyforward.control.access import Claims
from pyforward.control.context import Context, begin
from pyforward.errors import Overloaded, StreamInUse
from pyforward.ids import SessionId
from pyforward.state import check_name


@dataclass(frozen=True, slots=True)
class Accepted:
    """A join that has its answer. ``secret`` ends the session's URL; ``etag`` has its quotes."""

    session: SessionId
    secret: str = field(repr=False)
    etag: str
    answer: str


def publish(
    context: Context, name_untrusted: str, offer_untrusted: str, claims: Claims
) -> Accepted:
    """The offer becomes the stream's publisher. Where there is one, it will be replaced as soon as
    media of this one flows, unless ``streams.conflict`` is ``reject``."""
    name = check_name(name_untrusted)
    context.admit()
    _require_place(context, name)
    stream = context.books.stream(name)
    negotiation = begin(context, offer_untrusted, claims)
    answer = sdp.answer_publish(
        negotiation.description,
        negotiation.local,
        prefer=stream.codecs_by_demand() if stream is not None else (),
    )
    peer = negotiation.peer
    context.commit(
        context.books.publish(name, peer, tuple(answer.tracks), tuple(answer.live), context.clock())
    )
    return Accepted(peer.session, peer.secret, peer.etag, answer.text)


def _require_place(context: Context, name: str) -> None:
    """The stream can have this publisher."""
    stream = context.books.stream(name)
    if stream is None:
        limit = context.config.limits.streams
        if context.books.stream_count >= limit:
            raise Overloaded(
                context.retry_after_s(2.0),
                "This server has all the streams that it may have.",
                limit="limits.streams",
                value=limit,
            )
    elif stream.publisher is not None and context.config.streams.conflict == "reject":
        raise StreamInUse(name)
