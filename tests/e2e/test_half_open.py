"""Ten thousand sessions that begin and never go on: what they cost, and who still gets in.

Every one of them goes as far as it can without a key: it posts an offer, checks from a port of its
own, and says a whole ClientHello whose answer it never acknowledges, or a part of one as long as a
datagram can be. Meanwhile good viewers join, one after the other. The crowd asks as fast as this
process can: four connections post without a pause, then every datagram is sent at once. It shares
its cores with the server, which is more than a crowd elsewhere would take away.
"""

from __future__ import annotations

import contextlib
import resource
import secrets
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from OpenSSL import SSL

from tests.e2e import stun
from tests.e2e.peer import GCM_128, dtls_context, fingerprint, joined
from tests.e2e.sdp import audio, credentials, offer, video
from tests.e2e.server import SDP, Server, running
from tests.e2e.watching import Watching, watching

pytestmark = pytest.mark.alone

SESSIONS = 10_000
ALLOWED_BYTES = 150 * 1024 * 1024
JOIN_WITHIN_S = 2.0
CLIENTS = 4
AT_A_TIME = 100
PAUSE_S = 0.2
"""Between two good viewers, while the crowd posts or checks."""


@dataclass(frozen=True)
class HalfOpen:
    """What a peer knows of its session before anything has left its socket."""

    username: str
    pwd: str


@dataclass
class Crowd:
    """The half-open sessions of a server, a path each, and who joined while they came."""

    server: Server
    good: Watching
    rss_bytes: int
    """Before they came."""
    checked: Sequence[socket.socket] = ()
    joins_s: dict[str, list[float]] = field(default_factory=dict)
    """How long each good viewer took to its first packet, by what the crowd did meanwhile."""

    def join_while(self, what: str, busy: Callable[[], bool]) -> None:
        """Good viewers join for as long as this is true, and one more."""
        took = self.joins_s.setdefault(what, [])
        while True:
            is_last = not busy()
            took.append(join_s(self.server))
            if is_last:
                return


@pytest.fixture(scope="module")
def crowd() -> Iterator[Crowd]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # They may stay as long as this takes; how many there are is what counts.
    patient = ("--ice-connect-timeout-s", "300", "--ice-silence-s", "300")
    handshakes = ("--dtls-handshake-timeout-s", "120")
    limits = ("--limits-sessions-half-open", "20000", "--engine-shards", "2")
    with (
        running(*patient, *handshakes, *limits, command="demo") as server,
        watching(server, tracks=[audio(), video("H264")]) as good,
        contextlib.ExitStack() as sockets,
        ThreadPoolExecutor(1) as beside,
    ):
        crowd = Crowd(server, good, server.rss_bytes())
        posting = beside.submit(open_sessions, server, SESSIONS)
        crowd.join_while("posts", lambda: is_running(posting))
        opened = posting.result()
        crowd.checked = [
            sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in opened
        ]
        checking = beside.submit(check_all, server, crowd.checked, opened)
        crowd.join_while("checks", lambda: is_running(checking))
        checking.result()
        yield crowd


def test_flows_spread_over_the_shards(crowd: Crowd) -> None:
    counted: Counter[int] = Counter()
    after: str | None = "0"
    while after is not None:
        page = crowd.server.get(f"/api/streams/demo/viewers?limit=1000&after={after}").json
        counted.update(viewer["shard"] for viewer in page["items"] if viewer["shard"] is not None)
        after = page["next"]
    assert sum(counted.values()) == SESSIONS + 1
    assert len(counted) == 2
    assert max(counted.values()) / (SESSIONS / 2) < 1.15, counted


def test_ten_thousand_half_open_sessions(crowd: Crowd) -> None:
    server = crowd.server
    assert server.sessions() >= SESSIONS
    most = server.rss_bytes()
    whole, part = hellos()
    for number, one in enumerate(crowd.checked):
        one.send(whole if number % 2 else part)

    def rushing() -> bool:
        nonlocal most
        most = max(most, server.rss_bytes())
        return not is_worked_off(server)

    # Some find all places taken and wait; who has stalled longest makes room for them.
    crowd.join_while("hellos", rushing)
    crowd.good.more()
    grown = max(most, server.rss_bytes()) - crowd.rss_bytes
    took = {what: f"{len(each)}: {max(each):.2f} s" for what, each in crowd.joins_s.items()}
    assert grown < ALLOWED_BYTES, f"{grown / 2**20:.0f} MB for {SESSIONS} sessions"
    assert max(map(max, crowd.joins_s.values())) < JOIN_WITHIN_S, took


def join_s(server: Server) -> float:
    """Somebody joins, from the offer to the first packet, and leaves; how long the joining took."""
    since = time.monotonic()
    newcomer = joined(server, "/whep/demo", [audio(), video("H264")])
    newcomer.checked()
    newcomer.shake_hands()
    newcomer.wait_for_rtp(1)
    took_s = time.monotonic() - since
    newcomer.drop()
    return took_s


def is_running(crowd: Future[Any]) -> bool:
    """Looks for a while, so that who joins leaves this process to the crowd."""
    return bool(wait([crowd], PAUSE_S).not_done)


def is_worked_off(server: Server) -> bool:
    """Whether the crowd's ClientHellos have come, and nobody waits with one any more: those who
    were too many had to make room."""
    told = server.metrics()
    failed = 'pyforward_joins_total{kind="watch",reason="handshake",result="failed"}'
    waiting = told['pyforward_dtls_handshakes{state="waiting"}']
    return told.get(failed, 0) >= SESSIONS // 10 and waiting == 0


def open_sessions(server: Server, count: int) -> list[HalfOpen]:
    """So many offers that are accepted, on a few connections at a time."""
    opened: list[HalfOpen] = []
    shares = [count // CLIENTS] * CLIENTS
    threads = [threading.Thread(target=_post, args=(server, n, opened)) for n in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == count
    return opened


def _post(server: Server, count: int, opened: list[HalfOpen]) -> None:
    """On one connection by hand: a client library would take longer than the server."""
    host = urlsplit(server.url).netloc
    tracks = [audio(), video("H264", rtx=97)]
    template = offer(tracks, "recvonly", ("U" * 8, "P" * 24), fingerprint())
    head = f"POST /whep/demo HTTP/1.1\r\nHost: {host}\r\nContent-Type: {SDP}\r\n"
    head += f"Content-Length: {len(template)}\r\n\r\n"
    address, _, port = host.rpartition(":")
    with socket.create_connection((address, int(port)), timeout=60) as connection:
        answers = connection.makefile("rb")
        for _ in range(count):
            ufrag, pwd = secrets.token_hex(4), secrets.token_hex(12)
            text = template.replace("U" * 8, ufrag).replace("P" * 24, pwd)
            connection.sendall((head + text).encode())
            status, length = answers.readline(), 0
            while (line := answers.readline()) != b"\r\n":
                name, _, value = line.lower().partition(b":")
                length = int(value) if name == b"content-length" else length
            body = answers.read(length).decode()
            if b" 201 " not in status:
                return  # the number of those opened tells
            theirs, key = credentials(body)
            opened.append(HalfOpen(f"{theirs}:{ufrag}", key))


def check_all(server: Server, some: Sequence[socket.socket], sessions: Sequence[HalfOpen]) -> None:
    """Each socket checks for a session of its own until that is answered, some at a time."""
    for start in range(0, len(some), AT_A_TIME):
        batch = some[start : start + AT_A_TIME]
        for one in batch:
            one.connect(server.media[0])
            one.setblocking(False)
        _all_checked(batch, sessions[start : start + AT_A_TIME])


def hellos() -> tuple[bytes, bytes]:
    """A ClientHello, and the first part of a longer one."""
    peers = []
    for padding in (0, 1150):
        connection = SSL.Connection(dtls_context([GCM_128], hello_padding=padding), None)
        connection.set_connect_state()
        connection.set_ciphertext_mtu(1200)
        with contextlib.suppress(SSL.WantReadError):
            connection.do_handshake()
        peers.append(connection.bio_read(65536))
    whole, long = peers
    return whole, long[: 13 + int.from_bytes(long[11:13], "big")]


def _all_checked(some: Sequence[socket.socket], batch: Sequence[HalfOpen]) -> None:
    waiting = dict(zip(some, batch, strict=True))
    with selectors.DefaultSelector() as selector:
        for one in some:
            selector.register(one, selectors.EVENT_READ)
        until = time.monotonic() + 20
        while waiting:
            assert time.monotonic() < until, f"{len(waiting)} checks were not answered"
            for one, session in waiting.items():
                one.send(stun.check(session.username, session.pwd))
            while events := selector.select(0.2):
                for key, _ in events:
                    assert isinstance(key.fileobj, socket.socket)
                    assert stun.parse(key.fileobj.recv(65536))[0] == stun.SUCCESS
                    waiting.pop(key.fileobj, None)
                if not waiting:
                    break
