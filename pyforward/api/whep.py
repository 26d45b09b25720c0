"""WHEP (draft-ietf-wish-whep-03): who posts an offer to ``/whep/{stream}`` watches that stream."""

from __future__ import annotations

from aiohttp import web

from pyforward.api.endpoint import Endpoint
from pyforward.api.house import House


def add_whep(app: web.Application, house: House) -> None:
    """Routes ``/whep/{stream}`` and its sessions."""
    Endpoint(house, "whep", "watch", house.control.watch).add_to(app)
