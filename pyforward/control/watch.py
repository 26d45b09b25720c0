"""A viewer joins. Nothing here awaits: between the first look at the books and the last command no
other request runs, and a request that fails has changed nothing."""

from __future__ import annotations

from pyforward import sdp
from pyforward.control.access import Claims
from pyforward.control.context import Context, begin
from pyforward.control.publish import Accepted
from pyforward.errors import Overloaded, StreamNotFound, StreamNotLive
from pyforward.state import Stream, check_name

# Viewers who wait for a publisher ask again within 2 to 8 s, each at its own time.
RETRY_LEAST_S = 2.0


def watch(context: Context, name_untrusted: str, offer_untrusted: str, claims: Claims) -> Accepted:
    """The offer becomes a viewer of the stream."""
    name = check_name(name_untrusted)
    context.admit()
    stream = context.books.stream(name)
    if stream is None:
        raise StreamNotFound(name, context.retry_after_s(RETRY_LEAST_S))
    if stream.publisher is None:
        raise StreamNotLive(name, context.retry_after_s(RETRY_LEAST_S))
    _require_place(context, stream, claims)
    negotiation = begin(context, offer_untrusted, claims)
    answer = sdp.answer_watch(
        negotiation.description, negotiation.local, stream.live, msid_stream=name
    )
    peer = negotiation.peer
    context.commit(
        context.books.watch(stream, peer, tuple(answer.tracks), answer.cname, context.clock())
    )
    return Accepted(peer.session, peer.secret, peer.etag, answer.text)


def _require_place(context: Context, stream: Stream, claims: Claims) -> None:
    limit = context.config.limits.viewers
    if limit and context.books.viewer_count >= limit:
        raise Overloaded(
            context.retry_after_s(2.0),
            "This server has all the viewers that it may have.",
            limit="limits.viewers",
            value=limit,
        )
    granted = claims.limits.viewers
    if granted is not None and len(stream.viewers) >= granted:
        raise Overloaded(
            context.retry_after_s(2.0),
            "This stream has all the viewers that it may have.",
            limit="claims.viewers",
            value=granted,
            stream=stream.name,
        )
