"""Session descriptions: text to tree and back, and the answers to publishers and viewers."""

from pyforward.sdp.grammar import SessionDescription, parse
from pyforward.sdp.live import LiveTrack
from pyforward.sdp.publish import PublishAnswer, answer_publish
from pyforward.sdp.transport import LocalTransport, PeerTransport, offer_transport
from pyforward.sdp.watch import WatchAnswer, answer_watch

__all__ = [
    "LiveTrack",
    "LocalTransport",
    "PeerTransport",
    "PublishAnswer",
    "SessionDescription",
    "WatchAnswer",
    "answer_publish",
    "answer_watch",
    "offer_transport",
    "parse",
]
