"""What a scrape costs the control loop of a server with 100 streams and 10,000 viewers.

The sessions are true entries of the books and the figures are of a real engine of two shards that
holds the same streams: what a scrape must not do is walk sessions, and these are there for it.
Viewers have no sockets; a scrape would not look at them.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

import pytest

from pyforward.api import Unread
from pyforward.config import Config
from pyforward.config.models import Engine as EngineSettings
from pyforward.config.models import Media
from pyforward.control import Control
from pyforward.dtls import Certificate
from pyforward.engine import Engine
from pyforward.ids import new_secret, new_session_id
from pyforward.metrics import Exporter, Pulse, facts_of
from pyforward.state import Peer

STREAMS = 100
VIEWERS = 10_000
ROUNDS = 30
MOST_MS = 50.0


@pytest.mark.alone
async def test_a_scrape_takes_less_than_50_ms() -> None:
    config = Config(media=Media(port=0), engine=EngineSettings(shards=2))
    certificate = Certificate.generate()
    engine = Engine.start(config, asyncio.get_running_loop())
    control = Control(config, engine, certificate)
    events = asyncio.create_task(control.run_events())
    fill(control)
    pulse = Pulse(engine.busy_s)
    facts = facts_of(config, certificate.certificate)
    # A clock that stands still: no answer is one that was kept.
    unread = Unread(config.limits.unread_bytes)
    exporter = Exporter(engine, control, pulse, unread, facts, clock=lambda: 0.0)
    await asyncio.sleep(1.0)  # the shards tell what they have twice a second
    for accept in ("text/plain", "application/openmetrics-text; version=1.0.0"):
        taken = []
        for _ in range(ROUNDS):
            began = time.thread_time()
            text, _ = exporter.text(accept)
            taken.append((time.thread_time() - began) * 1e3)
        assert text.count(b"\npyforward_stream_viewers{") == STREAMS
        assert f"\npyforward_viewers {VIEWERS}.0\n".encode() in text
        median = statistics.median(taken)
        sys.stdout.write(f"{accept}: median {median:.1f} ms, most {max(taken):.1f} ms\n")
        assert median < MOST_MS
    events.cancel()
    await engine.close()


def fill(control: Control) -> None:
    """Streams and viewers as joins would leave them."""
    context = control._context
    for number in range(STREAMS):
        context.commit(context.books.publish(f"s{number:03}", peer(), (), (), 0.0))
    for stream in context.books.streams():
        for _ in range(VIEWERS // STREAMS):
            context.commit(context.books.watch(stream, peer(), (), "cname", 0.0))


def peer() -> Peer:
    return Peer(new_session_id(), new_secret(), '"etag"')
