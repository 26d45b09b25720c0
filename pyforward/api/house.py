"""What the handlers share: the rooms below, the hook that authorises, the addresses."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from pyforward.api.auth import bearer_token
from pyforward.api.peers import Peers
from pyforward.config import Config
from pyforward.control import AccessRequest, AccessRole, Authorise, Claims, Control
from pyforward.errors import Forbidden


@dataclass(frozen=True, slots=True)
class House:
    """Handlers are methods of objects that hold one of these."""

    control: Control
    config: Config
    authorise: Authorise
    peers: Peers

    async def admit(
        self, request: web.Request, role: AccessRole, stream: str | None = None
    ) -> Claims:
        """Asks the hook, and holds its answer to what was asked."""
        claims = await self.authorise(
            AccessRequest(role, stream, bearer_token(request), self.peers.address(request))
        )
        if claims.role != role or claims.stream not in (None, stream):
            raise Forbidden
        return claims
