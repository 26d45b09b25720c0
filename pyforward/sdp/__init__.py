"""Session descriptions: text to tree and back, the answers to publishers and viewers, and our own
offers to other servers."""

from pyforward.sdp.grammar import SessionDescription, parse
from pyforward.sdp.live import LiveTrack
from pyforward.sdp.offer import Offer
from pyforward.sdp.publish import PublishAnswer, answer_publish
from pyforward.sdp.publishing import PublishAccepted, accept_publish, offer_publish
from pyforward.sdp.transport import LocalTransport, PeerTransport, offer_transport
from pyforward.sdp.watch import WatchAnswer, answer_watch
from pyforward.sdp.watching import WatchAccepted, accept_watch, offer_watch

__all__ = [
    "LiveTrack",
    "LocalTransport",
    "Offer",
    "PeerTransport",
    "PublishAccepted",
    "PublishAnswer",
    "SessionDescription",
    "WatchAccepted",
    "WatchAnswer",
    "accept_publish",
    "accept_watch",
    "answer_publish",
    "answer_watch",
    "offer_publish",
    "offer_transport",
    "offer_watch",
    "parse",
]
