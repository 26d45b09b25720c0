"""The web application and the runner that serves it."""

from __future__ import annotations

import structlog
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.log import access_logger

from pyforward.api.admin import Admin, MetricsText
from pyforward.api.connections import Runner
from pyforward.api.cors import on_response_prepare
from pyforward.api.house import House
from pyforward.api.pages import Pages
from pyforward.api.peers import Peers
from pyforward.api.problem import problems, route_of
from pyforward.api.unread import Unread
from pyforward.api.whep import add_whep
from pyforward.api.whip import add_whip
from pyforward.config import Config
from pyforward.control import Authorise, Control

STOP_PATIENCE_S = 0.1
"""How long a stop waits for a request to end, and once more after it was cancelled: a body that
comes slowly must not cost the 2 s that the whole process has."""

_log = structlog.get_logger("pyforward.http")


def make_app(
    control: Control, config: Config, authorise: Authorise, metrics_text: MetricsText
) -> web.Application:
    """Everything that answers HTTP. It starts nothing and owns nothing."""
    app = web.Application(middlewares=[problems], client_max_size=config.limits.body_bytes)
    app.on_response_prepare.append(on_response_prepare)
    house = House(
        control, config, authorise, Peers(config.http.trusted_proxies, config.http.public_url)
    )
    add_whip(app, house)
    add_whep(app, house)
    Admin(house, metrics_text).add_to(app)
    Pages().add_to(app)

    async def say_goodbye(_app: web.Application) -> None:
        # Answers that never end by themselves would cost a stop its patience.
        control.feed.close()

    app.on_shutdown.append(say_goodbye)
    return app


def make_runner(app: web.Application, config: Config, unread: Unread) -> web.AppRunner:
    """A runner with this application's habits: compressed bodies are never unpacked (a small one
    could grow without bound), answers that nobody reads are bounded by ``unread``, access is logged
    at level debug and without secrets, and a stop waits for nobody."""
    return Runner(
        app,
        unread,
        access_log=access_logger if config.log.level == "debug" else None,
        access_log_class=AccessLogger,
        auto_decompress=False,
        handler_cancellation=True,
        shutdown_timeout=STOP_PATIENCE_S,
    )


class AccessLogger(AbstractAccessLogger):
    """One line a request at level debug, through the log of everything else."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Called by aiohttp after each response; ``time`` in seconds."""
        _log.debug(
            "request",
            method=request.method,
            route=route_of(request),
            status=response.status,
            peer=request.remote,
            ms=round(time * 1000, 2),
        )
