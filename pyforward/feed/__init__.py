"""The feed: what operators are told as it happens, in one vocabulary, by whatever way they listen.

It keeps the last events for those who come back, and bounds what waits for each listener. It knows
neither HTTP nor how events come about; ``pyforward.control.chronicle`` tells them.
"""

from pyforward.feed.crowd import Crowd
from pyforward.feed.feed import Feed, FeedStats, Listener, Sink, SinkStats, Told, rfc3339
from pyforward.feed.vocabulary import (
    EVENTS,
    CapacityReached,
    Event,
    Missed,
    PublisherBack,
    PublisherLost,
    PublisherReplaced,
    StreamEnded,
    StreamStarted,
    ViewerJoined,
    ViewerLeft,
    ViewersChanged,
)

__all__ = [
    "EVENTS",
    "CapacityReached",
    "Crowd",
    "Event",
    "Feed",
    "FeedStats",
    "Listener",
    "Missed",
    "PublisherBack",
    "PublisherLost",
    "PublisherReplaced",
    "Sink",
    "SinkStats",
    "StreamEnded",
    "StreamStarted",
    "Told",
    "ViewerJoined",
    "ViewerLeft",
    "ViewersChanged",
    "rfc3339",
]
