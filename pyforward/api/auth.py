"""Authorisation by the tokens of the configuration, and how a token is read from a request.

:class:`TokenAuthoriser` is what a server uses unless it brings a hook of its own.
"""

from __future__ import annotations

import hmac
import re

from aiohttp import web

from pyforward.config import Config
from pyforward.control import AccessRequest, AccessRole, Claims
from pyforward.errors import Forbidden, Unauthorised

_BEARER = re.compile(r"Bearer +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)


class TokenAuthoriser:
    """One token a role. An empty one opens publishing and viewing to everybody, and the API and the
    metrics to loopback peers."""

    def __init__(self, config: Config) -> None:
        self._tokens: dict[AccessRole, bytes] = {
            "publish": config.auth.publish_token.get_secret_value().encode(),
            "watch": config.auth.view_token.get_secret_value().encode(),
            "admin": config.auth.admin_token.get_secret_value().encode(),
        }

    async def __call__(self, request: AccessRequest) -> Claims:
        """See :data:`pyforward.control.Authorise`."""
        expected = self._tokens[request.role]
        if not expected:
            if request.role == "admin" and (request.peer is None or not request.peer.is_loopback):
                raise Forbidden(
                    "Without a token this answers requests of its own machine only. "
                    "Set auth.admin_token to use it from elsewhere."
                )
        elif request.token is None:
            raise Unauthorised
        elif not hmac.compare_digest(expected, request.token.encode()):
            raise Forbidden("The token is wrong.")
        return Claims(request.role, request.stream)


def bearer_token(request: web.Request) -> str | None:
    """The token of the Authorization header (RFC 6750 §2.1); None without one. Another scheme, or
    what cannot be a token, counts as a token that no role has."""
    header_untrusted = request.headers.get("Authorization")
    if header_untrusted is None:
        return None
    match = _BEARER.fullmatch(header_untrusted)
    return match.group(1) if match else ""
