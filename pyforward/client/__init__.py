"""The other side of WHIP and WHEP: what is asked of other servers, over HTTP. Nothing here knows
the server that this package is, nor does that server know this."""

from pyforward.client.exchange import trust
from pyforward.client.publication import Publication
from pyforward.client.rooms import Rooms, Target, open_rooms
from pyforward.client.sessions import Session, Sessions
from pyforward.client.signalling import Resource, Signalling

__all__ = [
    "Publication",
    "Resource",
    "Rooms",
    "Session",
    "Sessions",
    "Signalling",
    "Target",
    "open_rooms",
    "trust",
]
