"""The command ``top``: listens to ``/api/events`` and draws, until a signal comes or, with
``once``, until it has seen the figures."""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.live import Live
from yarl import URL

import pyforward
from pyforward import process
from pyforward.client import trust
from pyforward.errors import BadAnswer, ConfigError, Refused, Unreachable
from pyforward.top.events import Event, Reader
from pyforward.top.screen import Screen

STOP_LIMIT_S = 3.0

CONNECT_LIMIT_S = 10.0

SILENT_S = 40.0
"""A server says something every 15 s."""

LONGEST_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """Where to ask, and how."""

    url: str
    token: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    insecure: bool = False

    def events(self, stream: str | None) -> URL:
        """The address of its events; raises ConfigError for what is no address."""
        try:
            url = URL(self.url)
            if url.scheme in ("http", "https") and url.host:
                query = {"figures": "true"} | ({"stream": stream} if stream is not None else {})
                return url.origin().with_path("/api/events").with_query(query)
        except ValueError:
            pass
        raise ConfigError(
            "The address of a server looks like https://host:8080; this one does not."
        )


def top(
    server: Server,
    *,
    stream: str | None,
    once: bool,
    as_json: bool,
    say: Callable[[str], None],
) -> int:
    """Shows until a signal; raises RemoteError where the server refuses, and with ``once`` where it
    is not reached either. The exit code is 1 with ``once`` when a stream fares poorly, or is not
    there although it was asked for."""
    url = server.events(stream)
    ssl = trust(server.ca_file, insecure=server.insecure)

    async def run() -> int:
        stop = process.stop_on_signals(STOP_LIMIT_S)
        async with aiohttp.ClientSession(auto_decompress=False) as http:
            link = _Link(http, url, server.token, ssl)
            if once:
                return await _once(link, stream, as_json=as_json, say=say)
            showing = asyncio.ensure_future(_show(link, stream))
            stopped = asyncio.ensure_future(stop.wait())
            await asyncio.wait([showing, stopped], return_when=asyncio.FIRST_COMPLETED)
            if showing.done():
                showing.result()
            showing.cancel()
            stopped.cancel()
            return 0

    try:
        with asyncio.Runner() as runner:
            return runner.run(run())
    finally:
        faulthandler.cancel_dump_traceback_later()


# Private -----------------------------------------------------------------------------------------


class _Link:
    """The stream of events; one connection at a time."""

    def __init__(
        self, http: aiohttp.ClientSession, url: URL, token: str | None, ssl: object
    ) -> None:
        self._http = http
        self._url = url
        self._token = token
        self._ssl = ssl
        self._reader = Reader()

    @property
    def place(self) -> str:
        return str(self._url.origin())

    async def events(self) -> AsyncIterator[Event]:
        """Events until the connection ends. Raises Unreachable, Refused or BadAnswer."""
        headers = {"User-Agent": f"pyforward/{pyforward.__version__}"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        if self._reader.last_id:
            headers["Last-Event-ID"] = self._reader.last_id
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_LIMIT_S, sock_read=SILENT_S)
        try:
            async with self._http.get(
                self._url,
                headers=headers,
                ssl=self._ssl,  # type: ignore[arg-type]
                timeout=limits,
                allow_redirects=False,
            ) as response:
                await self._require(response)
                async for chunk in response.content.iter_any():
                    for event in self._reader.feed(chunk):
                        yield event
        except TimeoutError:
            raise Unreachable(f"{self.place} does not answer.") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"{self.place} cannot be reached: {_cause(error)}.") from error
        except ValueError as error:
            raise BadAnswer(f"{self.place} answered what cannot be read: {error}.") from None

    async def _require(self, response: aiohttp.ClientResponse) -> None:
        if response.status != 200:
            detail = ""
            if response.content_type == "application/problem+json":
                try:
                    problem = json.loads(await response.content.read(64 * 1024))
                    detail = str(problem.get("detail", "")) if isinstance(problem, dict) else ""
                except ValueError:
                    pass
            raise Refused(
                f"{self.place} answered {response.status}{f': {detail}' if detail else '.'}",
                response.status,
            )
        if response.content_type != "text/event-stream":
            raise BadAnswer(f"{self.place} has no events: is it a pyforward server?")


def _cause(error: Exception) -> str:
    """In few words; aiohttp's own repeat the address."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    number = cause.errno if isinstance(cause, OSError) else None
    return os.strerror(number) if number and number > 0 else str(cause) or type(cause).__name__


async def _once(
    link: _Link, stream: str | None, *, as_json: bool, say: Callable[[str], None]
) -> int:
    async with asyncio.timeout(CONNECT_LIMIT_S) as limit:
        try:
            async for event in link.events():
                if event.get("kind") != "figures":
                    continue
                if as_json:
                    say(json.dumps(event, indent=2))
                else:
                    screen = Screen(link.place, stream)
                    screen.take(event)
                    screen.status = "live"
                    Console().print(screen.draw())
                return _verdict(event, stream)
        except asyncio.CancelledError:
            if limit.expired():
                raise Unreachable(f"{link.place} sent no figures.") from None
            raise
    raise Unreachable(f"{link.place} closed the connection without figures.")


def _verdict(event: Event, stream: str | None) -> int:
    streams = event.get("streams")
    found = [one for one in streams if isinstance(one, dict)] if isinstance(streams, list) else []
    if stream is not None and not found:
        return 1
    return int(any(one.get("health") == "poor" for one in found))


async def _show(link: _Link, stream: str | None) -> None:
    """Draws what comes and joins again when nothing does. Only what waiting will not mend ends it:
    a token that is wrong, or what is no pyforward server."""
    screen = Screen(link.place, stream)
    attempts = 0
    with Live(screen.draw(), auto_refresh=False, screen=Console().is_terminal) as live:
        while True:
            try:
                async for event in link.events():
                    attempts = 0
                    screen.status = "live"
                    screen.take(event)
                    live.update(screen.draw(), refresh=True)
                why = f"{link.place} closed the connection."
            except Unreachable as error:
                why = str(error)
            except Refused as error:
                if error.status not in (429, 503):
                    raise
                why = str(error)
            most = min(2.0**attempts, LONGEST_WAIT_S)
            wait_s = most * (0.5 + 0.5 * random.random())
            attempts += 1
            screen.status = f"{why} Trying again in {wait_s:.0f} s."
            live.update(screen.draw(), refresh=True)
            await asyncio.sleep(wait_s)
