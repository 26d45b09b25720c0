"""What lets pages of any origin use the API: headers on every response, and OPTIONS.

Tokens travel in Authorization and never in cookies, so that any origin may be allowed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

EXPOSED_HEADERS = "Location, ETag, Link, Retry-After, Accept-Patch"
ALLOWED_HEADERS = "Authorization, Content-Type, If-Match, Last-Event-ID"
PREFLIGHT_MAX_AGE_S = 86_400

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_cors_headers(response: web.StreamResponse) -> None:
    """Every response has them, errors too: without them a page cannot read why it was refused."""
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS


async def on_response_prepare(_request: web.Request, response: web.StreamResponse) -> None:
    """The application's signal handler: whatever a handler returns passes here."""
    add_cors_headers(response)


def add_resource(
    app: web.Application,
    path: str,
    handlers: dict[str, Handler],
    describe: dict[str, str] | None = None,
) -> None:
    """Routes the methods of one path. HEAD goes wherever GET does (RFC 9110 §9.1), unless it has a
    handler of its own. OPTIONS answers without a token, with the methods and with the headers of
    ``describe``."""
    if "GET" in handlers:
        handlers = {"HEAD": handlers["GET"], **handlers}
    methods = ", ".join(sorted({*handlers, "OPTIONS"}))

    async def options(_request: web.Request) -> web.Response:
        return web.Response(
            status=204,
            headers={
                **(describe or {}),
                "Allow": methods,
                "Access-Control-Allow-Methods": methods,
                "Access-Control-Allow-Headers": ALLOWED_HEADERS,
                "Access-Control-Max-Age": str(PREFLIGHT_MAX_AGE_S),
            },
        )

    resource = app.router.add_resource(path)
    for method, handler in handlers.items():
        resource.add_route(method, handler)
    resource.add_route("OPTIONS", options)
