"""What operators ask: streams, viewers, metrics, health; and what they end.

Lists are ``{"items": […], "next": cursor or null}``; ``?after=`` takes the cursor for the next page
and ``?limit=`` the size of one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from ipaddress import ip_address

from aiohttp import web

from pyforward.api.cors import Handler, add_resource
from pyforward.api.house import House
from pyforward.control import Page, StreamFigures, ViewerFigures
from pyforward.errors import BadRequest, Forbidden, SessionNotFound
from pyforward.ids import parse_session

MAX_PAGE = 1000
DEFAULT_PAGE = 100

MetricsText = Callable[[str], tuple[bytes, str]]
"""An Accept header to the exposition and its content type."""


class Admin:
    """Handlers behind the admin role, and the two that need none."""

    def __init__(self, house: House, metrics_text: MetricsText) -> None:
        self._house = house
        self._metrics_text = metrics_text

    def add_to(self, app: web.Application) -> None:
        """Routes everything of this file."""
        guard = self._guarded
        add_resource(app, "/api/streams", {"GET": guard(self._streams)})
        add_resource(
            app,
            "/api/streams/{stream}",
            {"GET": guard(self._stream), "DELETE": guard(self._end_stream)},
        )
        add_resource(app, "/api/streams/{stream}/viewers", {"GET": guard(self._viewers)})
        add_resource(app, "/api/sessions/{session}", {"DELETE": guard(self._end_session)})
        add_resource(app, "/metrics", {"GET": guard(self._metrics)})
        add_resource(app, "/healthz", {"GET": self._alive})
        add_resource(app, "/readyz", {"GET": self._ready})

    def _guarded(self, handler: Callable[[web.Request], Awaitable[web.Response]]) -> Handler:
        async def guarded(request: web.Request) -> web.Response:
            if not self._house.config.auth.admin_token.get_secret_value():
                _refuse_foreign_pages(request)
            await self._house.admit(request, "admin", request.match_info.get("stream"))
            return await handler(request)

        return guarded

    async def _streams(self, request: web.Request) -> web.Response:
        after, limit = _paging(request)
        return _page(await self._house.control.streams(after, limit))

    async def _stream(self, request: web.Request) -> web.Response:
        figures = await self._house.control.stream(request.match_info["stream"])
        return web.json_response(asdict(figures))

    async def _viewers(self, request: web.Request) -> web.Response:
        after, limit = _paging(request)
        name = request.match_info["stream"]
        return _page(await self._house.control.viewers(name, after, limit))

    async def _end_stream(self, request: web.Request) -> web.Response:
        name = request.match_info["stream"]
        await self._house.control.remove_stream(name)
        return web.json_response({"ended": name})

    async def _end_session(self, request: web.Request) -> web.Response:
        session = parse_session(request.match_info["session"])
        if session is None:
            raise SessionNotFound
        await self._house.control.remove_session(session)
        return web.json_response({"ended": request.match_info["session"]})

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


def _page(page: Page[StreamFigures] | Page[ViewerFigures]) -> web.Response:
    return web.json_response({"items": [asdict(item) for item in page.items], "next": page.next})


def _paging(request: web.Request) -> tuple[str | None, int]:
    limit_untrusted = request.query.get("limit", str(DEFAULT_PAGE))
    is_number = limit_untrusted.isascii() and limit_untrusted.isdigit()
    if not is_number or len(limit_untrusted) > 4 or not 1 <= int(limit_untrusted) <= MAX_PAGE:
        raise BadRequest(f"limit is a number from 1 to {MAX_PAGE}.")
    return request.query.get("after"), int(limit_untrusted)
