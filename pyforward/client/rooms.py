"""What every client needs, built from the bottom up: an engine turned round, its sessions, HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from pyforward.client.exchange import Permit, trust, where
from pyforward.client.home import endpoint
from pyforward.client.sessions import Sessions
from pyforward.client.signalling import LEAVE_LIMIT_S, Signalling
from pyforward.config import Config
from pyforward.dtls import Certificate
from pyforward.engine import Engine


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and how it is asked. ``patience_s`` is how long one that asks to come again later
    is waited for, ``leave_limit_s`` how long one that says nothing is at the end. ``permit`` judges
    each host and address that it leads to, by redirects and candidates."""

    url: str
    token: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: Path | None = None
    insecure: bool = False
    patience_s: float = 30.0
    leave_limit_s: float = LEAVE_LIMIT_S
    permit: Permit | None = field(default=None, repr=False, compare=False)

    @property
    def place(self) -> str:
        """The server alone, because paths and queries are often secrets. Raises ConfigError for
        what is no address."""
        url, _ = endpoint(self.url, self.token, self.headers)
        return where(url)


@dataclass(slots=True)
class Rooms:
    """What both commands work with."""

    engine: Engine
    sessions: Sessions
    signalling: Signalling


@contextlib.asynccontextmanager
async def open_rooms(config: Config, target: Target, connections: int) -> AsyncIterator[Rooms]:
    """Everything for up to so many requests at a time. It is left in the opposite order, on errors
    too: sessions end at their servers before their sockets close."""
    async with contextlib.AsyncExitStack() as rooms:
        engine = Engine.start(_for_clients(config), asyncio.get_running_loop())
        rooms.push_async_callback(engine.close)
        sessions = Sessions(config, engine, Certificate.generate(), permit=target.permit)
        events = asyncio.create_task(sessions.run_events(), name="events")
        rooms.callback(events.cancel)
        connector = aiohttp.TCPConnector(limit=max(100, connections))
        http = await rooms.enter_async_context(aiohttp.ClientSession(connector=connector))
        signalling = await rooms.enter_async_context(
            Signalling(
                http,
                token=target.token,
                headers=target.headers,
                ssl=trust(target.ca_file, insecure=target.insecure),
                patience_s=target.patience_s,
                leave_limit_s=target.leave_limit_s,
                permit=target.permit,
            )
        )
        rooms.push_async_callback(sessions.close)
        yield Rooms(engine, sessions, signalling)


def _for_clients(config: Config) -> Config:
    """The shared port is of no use here: it is bound where nobody else reaches it."""
    media = config.media.model_copy(update={"port": 0, "bind": ("127.0.0.1",)})
    return config.model_copy(update={"media": media})
