"""Every query of every panel and rule against a real Prometheus that scrapes a real server under a
small load: it answers with something, or a test here or promtool's makes it fire."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from grafana.generate.boards import BOARDS
from grafana.generate.rules import ALERTS, RECORDINGS
from pyforward.engine import Histogram
from pyforward_bench.exposition import LATENCY_BOUNDS_S, Exposition, Standing
from tests.e2e.commands import command
from tests.e2e.peer import joined, nack
from tests.e2e.prometheus import Prometheus, scraping
from tests.e2e.sdp import ssrc_of, video
from tests.e2e.server import Server, running, wait_for
from tests.e2e.test_webhooks import SECRET, receiver, well

VIEWERS = 5
STREAM = "show"

VARIABLES = {
    "[$__rate_interval]": "[5s]",
    "$job": "pyforward",
    "$instance": ".+",
    "$stream": STREAM,
    "$bench": "pyforward-bench",
}


@dataclass
class Site:
    """What a test asks."""

    server: Server
    prometheus: Prometheus

    def answers(self, expr: str) -> bool:
        """Whether the query of a board has data now."""
        for name, value in VARIABLES.items():
            expr = expr.replace(name, value)
        assert "$" not in expr, expr
        return bool(self.prometheus.query(expr))


@contextlib.contextmanager
def a_load_test_s_own_figures() -> Iterator[str]:
    """The URL of an exposition that goes on as a load test's does."""
    looks = 0

    def standing() -> Standing:
        nonlocal looks
        looks += 1
        latency = Histogram(LATENCY_BOUNDS_S, (looks,) * len(LATENCY_BOUNDS_S), 0, 0.1 * looks)
        joins = {"connected": looks}
        return Standing({"receiving": 5}, joins, 100 * looks, 9_000 * looks, looks, looks, latency)

    server, port = Exposition(standing).serve("127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with (
        receiver(well) as hook,
        running("--webhooks-urls", hook.url, "--webhooks-secret", SECRET) as server,
        a_load_test_s_own_figures() as bench,
        scraping({"pyforward": server.url, "pyforward-bench": bench}) as prometheus,
        command("publish", "test", f"{server.url}/whip/{STREAM}", "--loop"),
        command("watch", f"{server.url}/whep/{STREAM}", f"--count={VIEWERS}"),
    ):
        prometheus_has = f'pyforward_stream_viewer_reports_total{{stream="{STREAM}"}} > {VIEWERS}'
        wait_for("reports of viewers", lambda: prometheus.query(prometheus_has), 60)
        yield Site(server, prometheus)


BUSY = [
    (f"{board.key}/{panel.key}/{query.legend}", query.expr)
    for board in BOARDS
    for panel in board.panels
    for query in panel.queries
    if not query.idle
]
IDLE = [
    (f"{board.key}/{panel.key}/{query.legend}", query)
    for board in BOARDS
    for panel in board.panels
    for query in panel.queries
    if query.idle
]


def test_scrapes_go_well_and_hold_exemplars(site: Site) -> None:
    for target in site.prometheus.targets():
        assert target["health"] == "up", target["lastError"]
    found = site.prometheus.exemplars("pyforward_join_stage_seconds_bucket")
    sessions = {one["labels"]["session"] for series in found for one in series["exemplars"]}
    known = {viewer["session"] for viewer in site.server.viewers(STREAM)}
    assert sessions & known, "an exemplar leads to a session that the API and the log know"


def test_every_panel_has_data(site: Site) -> None:
    empty = [(place, expr) for place, expr in BUSY if not appears(site, expr)]
    assert empty == []


def appears(site: Site, expr: str) -> bool:
    """Whether it has data, now or soon: joins are over in a moment, so new ones come for it."""
    for _ in range(40):
        if site.answers(expr):
            return True
        viewer = joined(site.server, f"/whep/{STREAM}", [video("H264")]).connect()
        viewer.wait_for_rtp(1)
        viewer.drop()
    return False


def test_every_rule_has_data(site: Site) -> None:
    for recording in RECORDINGS:
        # The query itself, and that Prometheus has kept what it gave.
        for expr in (recording.expr, recording.name):
            wait_for(recording.name, partial(site.prometheus.query, expr), 60)


def test_alerts_are_silent_and_what_they_compare_is_there(site: Site) -> None:
    """That each of them fires is grafana/alerts/pyforward.test.yml's to show."""
    for alert in ALERTS:
        # A viewer that has just come stands still for a moment, too short for an alert.
        wait_for(f"{alert.name}: silence", partial(is_silent, site, alert.expr))
        for name in re.findall(r"\b(?:pyforward[_:][\w:]+|process_\w+)", alert.expr):
            assert site.prometheus.query(name), f"{alert.name}: {name}"


def is_silent(site: Site, expr: str) -> bool:
    return not site.prometheus.query(expr)


# What is empty while all is well -----------------------------------------------------------------


def test_every_panel_that_is_empty_has_a_test_that_fills_it() -> None:
    assert {query.idle for _, query in IDLE} <= set(globals())


def filled(site: Site, test: str) -> bool:
    """Whether everything that this test is named for has data."""
    return all(site.answers(query.expr) for _, query in IDLE if query.idle == test)


def test_a_lossy_way_shows(site: Site) -> None:
    viewer = joined(site.server, f"/whep/{STREAM}", [video("H264")]).connect()
    media = ssrc_of(viewer.answer, "video")
    viewer.wait_for_rtp(20)

    def asks_and_it_shows() -> bool:
        viewer.send_rtcp(nack(1, media, {packet.sequence for packet in viewer.rtp[-20:]}))
        viewer.pumped(lambda: False, 0.3)
        return filled(site, "test_a_lossy_way_shows")

    wait_for("what a lossy way shows", asks_and_it_shows, 30)
    viewer.close()


def test_failures_show(site: Site) -> None:
    def fail() -> bool:
        site.server.offer("/whep/nobody-publishes-this", "v=0\r\n")
        # A handshake with a certificate that the offer does not name.
        peer = joined(
            site.server,
            f"/whep/{STREAM}",
            [video("H264")],
            claimed="sha-256 " + bytes(32).hex(":").upper(),
        )
        peer.checked()
        for record in peer.hello():
            peer.send(record)
        peer.pumped(lambda: bool(peer.refused), 5.0)
        peer.close()
        return filled(site, "test_failures_show")

    wait_for("what failures show", fail, 60)


def test_discards_show(site: Site) -> None:
    viewer = joined(site.server, f"/whep/{STREAM}", [video("H264")]).connect()

    def sends_nonsense() -> bool:
        viewer.send(b"\x90\x60" + bytes(60))
        viewer.pumped(lambda: False, 0.3)
        return filled(site, "test_discards_show")

    wait_for("what discards show", sends_nonsense, 30)
    viewer.close()
