"""WHIP and WHEP in front of a forwarder that speaks neither: one publisher, then viewers.

It is only there to be joined: nothing of it runs while media flows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import uvloop
from aiohttp import web

from pyforward import sdp
from pyforward.errors import PyforwardError

_SDP_TYPE = "application/sdp"
_PROBLEM_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Place:
    """A session: the text of its answer, and what ends it."""

    answer: str
    leave: Callable[[], Awaitable[object]]


class Room(Protocol):
    """A forwarder. What it refuses it raises as a PyforwardError."""

    async def publish(self, offer: sdp.SessionDescription) -> Place:
        """A place for who sends."""

    async def watch(self, offer: sdp.SessionDescription) -> Place:
        """A place for who receives."""

    async def close(self) -> None:
        """Its end."""


class Front:
    """The two endpoints, from :meth:`open` to :meth:`close`, which closes the room too."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._places: dict[str, Place] = {}
        self._runner: web.AppRunner | None = None

    async def open(self, host: str) -> dict[str, str]:
        """Serves HTTP at a free port of this address; gives the URLs ``whip`` and ``whep``."""
        app = web.Application()
        app.router.add_post("/whip", self._join)
        app.router.add_post("/whep", self._join)
        app.router.add_delete("/session/{secret}", self._leave)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, 0).start()
        name = f"[{host}]" if ":" in host else host
        url = f"http://{name}:{self._runner.addresses[0][1]}"
        return {path: f"{url}/{path}" for path in ("whip", "whep")}

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        await self._room.close()

    # Private -------------------------------------------------------------------------------------

    async def _join(self, request: web.Request) -> web.Response:
        join = self._room.publish if request.path == "/whip" else self._room.watch
        try:
            place = await join(sdp.parse(await request.text()))
        except PyforwardError as error:
            problem = json.dumps({"status": 422, "detail": str(error)})
            return web.Response(status=422, text=problem, content_type=_PROBLEM_TYPE)
        secret = secrets.token_hex(8)
        self._places[secret] = place
        location = {"Location": f"/session/{secret}"}
        return web.Response(status=201, text=place.answer, content_type=_SDP_TYPE, headers=location)

    async def _leave(self, request: web.Request) -> web.Response:
        place = self._places.pop(request.match_info["secret"], None)
        if place is None:
            return web.Response(status=404)
        await place.leave()
        return web.Response()


def main(of: str, room: Callable[[str], Room], arguments: Sequence[str] | None = None) -> int:
    """A forwarder as a process: ``--host ADDRESS`` is where all of it is bound. It says its
    endpoints in one line of JSON on stdout, and ends with SIGINT or SIGTERM. Gives the exit
    code."""
    parser = argparse.ArgumentParser(description=of.partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1", help="the address to serve at")
    host = parser.parse_args(arguments).host

    async def serve() -> None:
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        front = Front(room(host))
        try:
            endpoints = await front.open(host)
            sys.stdout.write(json.dumps(endpoints) + "\n")
            sys.stdout.flush()
            await ended.wait()
        finally:
            await front.close()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())
    except PyforwardError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0
