"""The HTTP that WHIP and WHEP have in common (RFC 9725 §4, draft-ietf-wish-whep-03 §4).

An endpoint ``/{prefix}/{stream}`` takes offers; each session it makes has a URL of its own below
it. That URL is a capability: 128 random bits, which serve under this prefix and this stream only,
and need no token beside them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from pyforward.api.body import FRAGMENT_TYPE, SDP_TYPE, read_text
from pyforward.api.cors import add_resource
from pyforward.api.house import House
from pyforward.control import Accepted, Claims
from pyforward.state import Role, check_name

Join = Callable[[str, str, Claims], Awaitable[Accepted]]
"""(stream, offer, claims) to an answer."""


class Endpoint:
    """One of the two protocols, under its prefix."""

    def __init__(self, house: House, prefix: str, role: Role, join: Join) -> None:
        self._house = house
        self._prefix = prefix
        self._role: Role = role
        self._join = join

    def add_to(self, app: web.Application) -> None:
        """Routes the endpoint and its sessions."""
        add_resource(
            app,
            f"/{self._prefix}/{{stream}}",
            {"POST": self._post, "HEAD": self._head, "GET": self._get},
            {"Accept-Post": SDP_TYPE},
        )
        add_resource(
            app,
            f"/{self._prefix}/{{stream}}/{{secret}}",
            {"PATCH": self._patch, "DELETE": self._delete},
            {"Accept-Patch": FRAGMENT_TYPE},
        )

    async def _post(self, request: web.Request) -> web.Response:
        house = self._house
        with house.control.joining(self._role):
            name = check_name(request.match_info["stream"])
            claims = await house.admit(request, self._role, name)
            offer = await read_text(request, SDP_TYPE, house.config.limits.body_bytes)
            accepted = await self._join(name, offer, claims)
        path = f"/{self._prefix}/{name}/{accepted.secret}"
        return web.Response(
            status=201,
            body=accepted.answer.encode(),
            content_type=SDP_TYPE,
            headers={
                "Location": house.peers.base_url(request) + path,
                "ETag": accepted.etag,
                "Accept-Patch": FRAGMENT_TYPE,
                "Cache-Control": "no-store",
            },
        )

    async def _head(self, _request: web.Request) -> web.Response:
        return web.Response(content_type=SDP_TYPE, headers={"Accept-Post": SDP_TYPE})

    async def _get(self, _request: web.Request) -> web.Response:
        return web.Response(status=204, headers={"Accept-Post": SDP_TYPE})

    async def _patch(self, request: web.Request) -> web.Response:
        control, stream, secret = self._house.control, *self._session_of(request)
        control.require_session(self._role, stream, secret)
        limit_bytes = self._house.config.limits.body_bytes
        fragment = await read_text(request, FRAGMENT_TYPE, limit_bytes)
        if_match = request.headers.getall("If-Match", [])
        patched = await control.trickle(
            self._role, stream, secret, fragment, ",".join(if_match) if if_match else None
        )
        headers = {"ETag": patched.etag, "Cache-Control": "no-store"}
        if patched.answer is None:
            return web.Response(status=204, headers=headers)
        return web.Response(
            status=200,
            body=patched.answer.encode(),
            content_type=FRAGMENT_TYPE,
            headers=headers,
        )

    async def _delete(self, request: web.Request) -> web.Response:
        # Whatever If-Match says: ending needs no particular state (RFC 9725 §4.3.1).
        await self._house.control.delete(self._role, *self._session_of(request))
        return web.Response(status=200)

    def _session_of(self, request: web.Request) -> tuple[str, str]:
        return request.match_info["stream"], request.match_info["secret"]
