"""What operators ask: streams, viewers, events, metrics, health; and what they end.

``operations`` declares all that is under ``/api``; here is what each of it does. Lists are
``{"items": […], "next": cursor or null}``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import ip_address

from aiohttp import web
from pydantic import BaseModel

from pyforward.api import events, openapi
from pyforward.api.cors import Handler, add_resource
from pyforward.api.house import House
from pyforward.api.operations import OPERATIONS, Ended, StreamsQuery, ViewersQuery, parsed
from pyforward.errors import Forbidden, SessionNotFound
from pyforward.ids import parse_session

MetricsText = Callable[[str], tuple[bytes, str]]
"""An Accept header to the exposition and its content type."""


class Admin:
    """Handlers behind the admin role, and those that need none."""

    def __init__(self, house: House, metrics_text: MetricsText) -> None:
        self._house = house
        self._metrics_text = metrics_text
        self._document = json.dumps(openapi.document()).encode()

    def add_to(self, app: web.Application) -> None:
        """Routes everything of this file."""
        handlers: dict[str, Handler] = {
            "get_server": self._server,
            "list_streams": self._streams,
            "get_stream": self._stream,
            "end_stream": self._end_stream,
            "list_viewers": self._viewers,
            "end_session": self._end_session,
            "listen": self._listen,
        }
        routes: dict[str, dict[str, Handler]] = {}
        for operation in OPERATIONS:
            handler = self._guarded(handlers[operation.name])
            routes.setdefault(operation.path, {})[operation.method] = handler
        for path, methods in routes.items():
            add_resource(app, path, methods)
        # What the API looks like is no secret.
        add_resource(app, openapi.PATH, {"GET": self._describe})
        add_resource(app, "/metrics", {"GET": self._guarded(self._metrics)})
        add_resource(app, "/healthz", {"GET": self._alive})
        add_resource(app, "/readyz", {"GET": self._ready})

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not self._house.config.auth.admin_token.get_secret_value():
                _refuse_foreign_pages(request)
            await self._house.admit(request, "admin", request.match_info.get("stream"))
            return await handler(request)

        return guarded

    async def _server(self, _request: web.Request) -> web.Response:
        return _answer(self._house.control.server())

    async def _streams(self, request: web.Request) -> web.Response:
        query = parsed(request, StreamsQuery)
        return _answer(await self._house.control.streams(query.after, query.limit))

    async def _stream(self, request: web.Request) -> web.Response:
        return _answer(await self._house.control.stream(request.match_info["stream"]))

    async def _viewers(self, request: web.Request) -> web.Response:
        query = parsed(request, ViewersQuery)
        name = request.match_info["stream"]
        return _answer(
            await self._house.control.viewers(name, query.after, query.limit, query.order)
        )

    async def _end_stream(self, request: web.Request) -> web.Response:
        name = request.match_info["stream"]
        await self._house.control.remove_stream(name)
        return _answer(Ended(ended=name))

    async def _end_session(self, request: web.Request) -> web.Response:
        session = parse_session(request.match_info["session"])
        if session is None:
            raise SessionNotFound
        await self._house.control.remove_session(session)
        return _answer(Ended(ended=request.match_info["session"]))

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        return await events.listen(request, self._house.control)

    async def _describe(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._document, content_type="application/json")

    async def _metrics(self, request: web.Request) -> web.Response:
        text, content_type = self._metrics_text(request.headers.get("Accept", ""))
        return web.Response(body=text, headers={"Content-Type": content_type})

    async def _alive(self, _request: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _ready(self, _request: web.Request) -> web.Response:
        if self._house.control.stopping:
            return web.Response(status=503, text="stopping\n")
        return web.Response(text="ready\n")


def _refuse_foreign_pages(request: web.Request) -> None:
    """Without a token the operator's own browser is a loopback peer, whichever site sends it.

    A foreign site is known by its Origin, and where it has let its own name point here (DNS
    rebinding, which makes it the same origin) by that name: only addresses, and the name that
    browsers never ask anybody about, cannot be pointed elsewhere.
    """
    host = _without_port(request.headers.get("Host", "")).lower()
    if not (_is_address(host) or host == "localhost" or host.endswith(".localhost")):
        raise Forbidden(
            "Without a token this answers at localhost or at an address, not at a name. "
            "Set auth.admin_token to use it by another name."
        )
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        raise Forbidden(
            "Without a token this answers pages of its own origin only. "
            "Set auth.admin_token to use it from other pages."
        )


def _without_port(host_untrusted: str) -> str:
    if host_untrusted.startswith("["):
        return host_untrusted[1:].partition("]")[0]
    return host_untrusted.partition(":")[0]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _answer(model: BaseModel) -> web.Response:
    return web.Response(
        body=model.model_dump_json().encode(),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
