"""WHIP (RFC 9725): who posts an offer to ``/whip/{stream}`` publishes that stream."""

from __future__ import annotations

from aiohttp import web

from pyforward.api.endpoint import Endpoint
from pyforward.api.house import House


def add_whip(app: web.Application, house: House) -> None:
    """Routes ``/whip/{stream}`` and its sessions."""
    Endpoint(house, "whip", "publish", house.control.publish).add_to(app)
