"""The composition root: the only file that knows every room.

It builds them from the bottom up, tells when the server is ready, waits for a signal, and takes
them down in the opposite order within :data:`STOP_LIMIT_S`. What the rooms do is theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import faulthandler
import ipaddress
import json
import os
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import structlog
import uvloop
from aiohttp import web

import pyforward
from pyforward import api, client, log, process
from pyforward.config import Config
from pyforward.control import Control
from pyforward.dtls import Certificate
from pyforward.engine import Engine
from pyforward.errors import ConfigError, HostError, RunError
from pyforward.feed import Feed
from pyforward.media import Demo
from pyforward.metrics import Exporter, Pulse, facts_of
from pyforward.webhooks import Webhooks

STOP_LIMIT_S = 1.9
"""From the first signal to the end of the process, whatever hangs."""

WEBHOOK_LIMIT_S = STOP_LIMIT_S - 0.15
"""Until then, from the first signal, the last events may still be delivered."""

DEMO_STREAM = "demo"

_BACKLOG = 1024

_log = structlog.get_logger("pyforward.server")


def serve(
    config: Config,
    *,
    ready_file: Path | None = None,
    demo: bool = False,
    on_ready: Callable[[str], None] | None = None,
) -> int:
    """Runs the server until a signal ends it, and returns the exit code.

    ``ready_file`` receives ``{http_url, media, pid}`` once everything answers and is removed at the
    end; ``on_ready`` is called with the URL at the same moment. Raises ConfigError, HostError or
    RunError.
    """
    bursts = log.set_up(config)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(config, ready_file, demo, on_ready))
    finally:
        faulthandler.cancel_dump_traceback_later()
        bursts.flush()
    return 0


async def _run(
    config: Config,
    ready_file: Path | None,
    demo: bool,
    on_ready: Callable[[str], None] | None,
) -> None:
    stop = process.stop_on_signals(STOP_LIMIT_S)
    process.raise_descriptor_limit()
    tls = _tls(config)
    certificate = _certificate(config)
    # Everything that was entered is left in the opposite order, on errors too.
    async with contextlib.AsyncExitStack() as rooms:
        engine = Engine.start(config, asyncio.get_running_loop())
        rooms.push_async_callback(engine.close)
        process.keep_off(config.engine.cores)
        for note in engine.notes:
            _log.warning("engine_note", note=note)
        feed = Feed(
            kept=config.events.kept,
            listeners=config.events.listeners,
            queue=config.events.queue,
        )
        webhooks = await rooms.enter_async_context(Webhooks.open(config.webhooks, feed))
        control = Control(config, engine, certificate, feed=feed)
        events = asyncio.create_task(control.run_events(), name="events")
        pulse = Pulse(engine.busy_s)
        pulse.start()
        rooms.callback(pulse.stop)
        facts = facts_of(config, certificate.certificate)
        unread = api.Unread(config.limits.unread_bytes)
        exporter = Exporter(engine, control, pulse, unread, facts)
        app = api.make_app(control, config, api.TokenAuthoriser(config), exporter.text)
        runner = api.make_runner(app, config, unread)
        await runner.setup()
        # While farewells are said HTTP still answers: readyz says no, and nobody joins.
        rooms.push_async_callback(runner.cleanup)
        rooms.push_async_callback(control.close)
        http_url = await _listen(config, runner, tls)
        if demo:
            await rooms.enter_async_context(_demo(config, http_url, engine.addresses))
        rooms.enter_context(_announced(ready_file, http_url, engine.addresses))
        _log.info(
            "ready", version=pyforward.__version__, http=http_url, media=list(engine.addresses)
        )
        if on_ready is not None:
            on_ready(http_url)
        await _until(stop, events)
        _log.info("stopping")
        webhooks.end_by(asyncio.get_running_loop().time() + WEBHOOK_LIMIT_S)


# The end -----------------------------------------------------------------------------------------


async def _until(stop: asyncio.Event, events: asyncio.Task[None]) -> None:
    """Returns when ``stop`` is set. Without its events the server is deaf: a failure of the run."""
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([stopped, events], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
    if not stop.is_set():
        error = events.exception()
        _log.error("events_ended", exc_info=error)
        raise RunError(f"The engine's events ended by themselves: {error or 'no error'}.")


# The beginning -----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _demo(
    config: Config, http_url: str, media: Sequence[tuple[str, int]]
) -> AsyncIterator[None]:
    """Publishes the demo to this server as any other WHIP client would, until it is left or until
    somebody else takes the stream."""
    token = config.auth.publish_token.get_secret_value() or None
    # Whatever its certificate says: it is our own server, at the address where it listens. Where
    # http.public_url puts the session is another matter, and need not be reached from here.
    target = client.Target(
        f"{http_url}/whip/{DEMO_STREAM}", token=token, insecure=True, leave_limit_s=STOP_LIMIT_S / 4
    )
    # And whatever addresses it advertises: those are for others.
    near = [(_reached_by(ipaddress.ip_address(address)), port) for address, port in media]
    # Its engine is no part of what is pinned, and keeps off those cores as all else does.
    engine = config.engine.model_copy(update={"cores": ()})
    config = config.model_copy(update={"engine": engine})
    async with client.open_rooms(config, target, connections=2) as rooms:
        publication = client.Publication(rooms.sessions, Demo.load())
        await publication.begin(rooms.signalling, target.url, also=near)
        over = asyncio.create_task(_end_when_over(publication), name="demo")
        yield
        over.cancel()
        await publication.end()


async def _end_when_over(publication: client.Publication) -> None:
    await publication.wait()
    await publication.end()


def _reached_by(bound: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """An address of this machine by which what is bound there is reached from here."""
    if not bound.is_unspecified:
        return str(bound)
    return "127.0.0.1" if bound.version == 4 else "::1"


def _certificate(config: Config) -> Certificate:
    if config.dtls.cert_file:
        return Certificate.load(config.dtls.cert_file, config.dtls.key_file)
    return Certificate.generate()


def _tls(config: Config) -> ssl.SSLContext | None:
    if not config.http.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # An empty password, because without one OpenSSL asks the terminal for it and waits.
        context.load_cert_chain(config.http.tls_cert, config.http.tls_key, password="")
    except OSError as error:
        why = error.strerror or str(error)
        if isinstance(error, ssl.SSLError):  # its own words name lines of C
            why = "not a PEM certificate and its own unencrypted PEM key"
        raise ConfigError(
            f"http.tls_cert, http.tls_key: {config.http.tls_cert} and {config.http.tls_key} "
            f"cannot be used: {why}."
        ) from None
    return context


async def _listen(config: Config, runner: web.AppRunner, tls: ssl.SSLContext | None) -> str:
    """Opens the HTTP port and returns the URL that this machine reaches it by."""
    try:
        await _site(config, runner, tls).start()
    except OSError as error:
        raise HostError(_http_refusal(config, error)) from None
    near = _reached_by(ipaddress.ip_address(config.http.address))
    host = f"[{near}]" if ":" in near else near
    return f"{'https' if tls else 'http'}://{host}:{runner.addresses[0][1]}"


def _site(config: Config, runner: web.AppRunner, tls: ssl.SSLContext | None) -> web.BaseSite:
    address, port = config.http.address, config.http.port
    if address != "::":
        return web.TCPSite(runner, address, port, ssl_context=tls, backlog=_BACKLOG)
    # Event loops make such a listener deaf to IPv4, but [::] stands for every address.
    listener = socket.create_server(
        (address, port),
        family=socket.AF_INET6,
        backlog=_BACKLOG,
        dualstack_ipv6=socket.has_dualstack_ipv6(),
    )
    return web.SockSite(runner, listener, ssl_context=tls, backlog=_BACKLOG)


def _http_refusal(config: Config, error: OSError) -> str:
    bind = config.http.bind
    match error.errno:
        case errno.EADDRINUSE:
            return f"HTTP on {bind}: the port is in use. Stop the other process or set http.bind."
        case errno.EACCES | errno.EPERM:
            return f"HTTP on {bind}: not permitted. Set http.bind to a port of 1024 or above."
        case errno.EADDRNOTAVAIL:
            return f"HTTP on {bind}: this machine has no such address. Correct http.bind."
        case _:
            return f"HTTP on {bind}: {error.strerror or error}."


@contextlib.contextmanager
def _announced(
    ready_file: Path | None, http_url: str, media: tuple[tuple[str, int], ...]
) -> Iterator[None]:
    """While inside, ``ready_file`` says where the server answers; it appears whole or never."""
    if ready_file is None:
        yield
        return
    told = {
        "http_url": http_url,
        "media": [{"address": address, "port": port} for address, port in media],
        "pid": os.getpid(),
    }
    try:
        with tempfile.TemporaryDirectory(
            dir=ready_file.parent, prefix=f".{ready_file.name}."
        ) as folder:
            draft = Path(folder, "draft")
            draft.write_text(json.dumps(told), encoding="utf-8")
            draft.replace(ready_file)
    except OSError as error:
        raise HostError(f"--ready-file {ready_file}: {error.strerror}.") from None
    try:
        yield
    finally:
        ready_file.unlink(missing_ok=True)
