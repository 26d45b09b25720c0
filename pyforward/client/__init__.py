"""The other side of WHIP and WHEP: what is asked of other servers, over HTTP. Nothing here knows
the server that this package is, nor does that server know this."""

from pyforward.client.exchange import trust
from pyforward.client.signalling import Resource, Signalling

__all__ = ["Resource", "Signalling", "trust"]
