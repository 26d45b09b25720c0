"""The harness at a forwarder whose faults are known: each shows in its own figure and in no other,
and whatever a server does, there is a line, an exit code, and what was measured until then."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from tests.e2e.bad_forwarder import BadForwarder, Mischief, forwarding
from tests.e2e.benches import Bench, Measured, bench, measured
from tests.e2e.commands import run
from tests.e2e.server import wait_for

VIEWERS = 2
SECONDS = 3

AT_IT = (f"--viewers={VIEWERS}", f"--duration={SECONDS}")

SHARES = (
    "lost",
    "repaired",
    "missing",
    "repeated",
    "reordered_content",
    "corrupted",
    "unstamped",
    "discards.srtp_auth",
    "discards.srtp_replay",
)
"""Rows that are zero at a server that does nothing wrong."""

DELAY_MS = 200
BOTH = ("audio", "video")

MUCH_MS = 100
"""No forwarder on loopback takes so long, however busy the machine is."""


@contextlib.asynccontextmanager
async def published(
    mischief: Mischief | None = None, *, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[BadForwarder, Bench]]:
    """A forwarder to which the harness publishes."""
    async with forwarding(mischief, host=host) as forwarder:
        with bench("publish", f"{forwarder.url}/whip", "--profile=1080p30") as publishing:
            await until("media comes in", lambda: forwarder.done.received > 100)
            yield forwarder, publishing


async def until(what: str, true: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_for, what, true)


def shares(told: Measured) -> dict[str, float]:
    """The rows of :data:`SHARES` that are not zero, by what was received."""
    values = told.values()
    found = {name: values.get(name, 0.0) / values["packets"] for name in SHARES}
    return {name: share for name, share in found.items() if share}


# What the forwarder is held to itself -------------------------------------------------------------


async def test_the_forwarder_forwards() -> None:
    """By ``pyforward watch``, which counts without stamps."""
    async with published() as (forwarder, _):
        told = await asyncio.to_thread(
            run, "watch", f"{forwarder.url}/whep", "--count=2", "--duration=3", "--json"
        )
        assert told.code == 0, told.err
        for track in told.figures["tracks"]:
            assert track["packets_received"] == track["packets_expected"] > 100
        assert forwarder.done.deleted == 2
        assert forwarder.done.dropped == forwarder.done.corrupted == 0


# Media --------------------------------------------------------------------------------------------


async def test_a_good_one_gets_a_clean_bill() -> None:
    async with published() as (forwarder, publishing):
        told = await measured("load", f"{forwarder.url}/whep", *AT_IT)
        assert told.is_well(), told
        assert shares(told) == {}
        assert told.value("joined") == told.value("probes") == VIEWERS
        assert told.value("packets") == pytest.approx(VIEWERS * 329 * SECONDS, rel=0.1)
        assert 0 < told.value("latency.packet.p50") <= told.value("latency.frame.max")
        # Of most frames: a busy machine may hold up any one of them.
        assert told.value("latency.frame.p50") < MUCH_MS
        assert forwarder.done.deleted == VIEWERS
        publishing.interrupt()
        sent = await publishing.ended()
        assert sent.is_well(), sent


@pytest.mark.parametrize(
    ("mischief", "seen"),
    [
        pytest.param(Mischief(drop=0.01), {"lost": 0.01, "missing": 0.01}, id="drops"),
        pytest.param(Mischief(drop=0.01, renumber=True), {"missing": 0.01}, id="drops-renumbered"),
        pytest.param(Mischief(repeat=0.02), {"repeated": 0.02}, id="repeats"),
        pytest.param(Mischief(echo=0.02), {"discards.srtp_replay": 0.02}, id="echoes"),
        pytest.param(Mischief(corrupt=0.01), {"corrupted": 0.01}, id="corrupts"),
        pytest.param(
            Mischief(damage=0.01),
            {"lost": 0.01, "missing": 0.01, "discards.srtp_auth": 0.01},
            id="damages",
        ),
    ],
)
async def test_a_fault_shows_in_its_figure_alone(
    mischief: Mischief, seen: dict[str, float]
) -> None:
    async with published(mischief) as (forwarder, _):
        told = await measured("load", f"{forwarder.url}/whep", *AT_IT)
        assert shares(told) == pytest.approx(seen, rel=0.3)
        assert told.value("latency.frame.p50") < MUCH_MS
        assert told.value("joined") == VIEWERS


async def test_a_delay_shows_in_latency_alone() -> None:
    async with published(Mischief(delay_s=DELAY_MS / 1e3)) as (forwarder, _):
        told = await measured("load", f"{forwarder.url}/whep", *AT_IT)
        assert shares(told) == {}
        for kind in ("packet", "frame"):
            assert told.value(f"latency.{kind}.p50") == pytest.approx(DELAY_MS, abs=MUCH_MS / 2)


async def test_a_gap_that_is_closed_is_no_loss_of_the_way() -> None:
    """Shares of what was repaired are by sequence numbers, which such a server falsifies."""
    async with published(Mischief(drop=0.02, renumber=True)) as (forwarder, _):
        told = await measured("loss", f"{forwarder.url}/whep", "--loss=1%", *AT_IT)
        assert told.has_failed(), told
        assert told.says("no gap in the numbers showed it")


@pytest.mark.parametrize(
    ("mischief", "row", "words"),
    [
        pytest.param(Mischief(corrupt=0.01), "corrupted", "were corrupted", id="corrupts"),
        pytest.param(Mischief(repeat=0.02), "repeated", "came twice", id="repeats"),
        pytest.param(
            Mischief(drop=0.02, renumber=True), "missing", "no gap in the numbers", id="drops"
        ),
    ],
)
@pytest.mark.parametrize("probes", [0, 2], ids=["who-joins", "who-stands-by"])
async def test_who_joins_gets_what_was_sent_until_it_leaves(
    mischief: Mischief, row: str, words: str, probes: int
) -> None:
    """A server whose joins are whole and whose media are not."""
    storm = ("--rate=20", "--count=2", "--hold=2", f"--probes={probes}")
    async with published(mischief) as (forwarder, _):
        told = await measured("joins", f"{forwarder.url}/whep", *storm)
    assert told.has_failed(), told
    assert told.says(words)
    assert told.value(row) > 0
    assert told.value("unserved") == 0
    assert told.value("probes") == 2 + probes


async def test_joins_of_a_good_one_have_nothing_wrong() -> None:
    async with published() as (forwarder, _):
        told = await measured("joins", f"{forwarder.url}/whep", "--rate=20", "--count=4")
    assert told.is_well(), told
    assert shares(told) == {}
    assert told.value("probes") == 8


async def test_lost_on_the_way_and_repaired() -> None:
    """``loss`` loses by itself; the forwarder gives again what it is asked for."""
    async with published() as (forwarder, _):
        told = await measured("loss", f"{forwarder.url}/whep", "--loss=5%", *AT_IT)
        assert forwarder.done.repaired > 0
        assert told.value("repaired") > 0


# Servers that do not serve ------------------------------------------------------------------------


def nobody() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


COMMANDS = {
    "load": ("--viewers=2", "--duration=2"),
    "joins": ("--rate=20", "--count=2"),
    "loss": ("--loss=5%", "--viewers=2", "--duration=2"),
}

QUICK = ("--dtls-handshake-timeout-s=2", "--ice-connect-timeout-s=5")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("mischief", "reason", "words"),
    [
        pytest.param(Mischief(refuses=403), "http_403", "403", id="refuses"),
        pytest.param(
            Mischief(bend=lambda _: "v=0\r\n"), "bad_answer", "The answer cannot", id="wrong-sdp"
        ),
        pytest.param(
            Mischief(ignores_dtls=True), "handshake", "The DTLS handshake came", id="endless-dtls"
        ),
    ],
)
async def test_viewers_that_are_not_let_in(
    command: str, mischief: Mischief, reason: str, words: str
) -> None:
    async with published(mischief) as (forwarder, _):
        told = await measured(command, f"{forwarder.url}/whep", *COMMANDS[command], *QUICK)
        assert told.has_failed(), told
        (line,) = told.problems
        assert words in line
        assert told.value(f"failed.{reason}") >= 1
        assert told.value("joined") == 0


@pytest.mark.parametrize("command", COMMANDS)
async def test_nobody_is_there(command: str) -> None:
    told = await measured(command, f"{nobody()}/whep", *COMMANDS[command])
    assert told.has_failed(), told
    (line,) = told.problems
    assert "Connection refused" in line
    assert told.value("failed.unreachable") >= 1


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("load", "2 viewers joined and received nothing"),
        ("loss", "2 viewers joined and received nothing"),
        ("joins", "had no whole keyframe"),
    ],
)
async def test_one_that_sends_nothing(command: str, words: str) -> None:
    async with published(Mischief(withholds=BOTH)) as (forwarder, _):
        told = await measured(command, f"{forwarder.url}/whep", *COMMANDS[command])
        assert told.has_failed(), told
        assert told.says(words)
        assert told.value("joined") == VIEWERS
        assert told.value("unserved" if command == "joins" else "silent") == VIEWERS


async def test_one_that_sends_no_video() -> None:
    async with published(Mischief(withholds=("video",))) as (forwarder, _):
        told = await measured("load", f"{forwarder.url}/whep", "--viewers=2", "--duration=6")
        assert told.has_failed(), told
        assert told.says("received no video")
        assert told.value("silent.video") == told.value("joined") == VIEWERS
        assert told.value("silent") == told.value("stalled") == told.value("lost") == 0


async def test_one_that_stops_sending_in_the_middle() -> None:
    """It answers checks all the same, so that nobody is lost and no number is missing."""
    async with published() as (forwarder, _):
        with bench("load", f"{forwarder.url}/whep", "--viewers=2", "--duration=6") as loading:
            await until("viewers", lambda: forwarder.done.sent > 1500)
            forwarder.mischief.withholds = BOTH
            told = await loading.ended()
        assert told.has_failed(), told
        assert told.says("received nothing more")
        assert told.value("stalled") == VIEWERS
        assert told.value("silent") == told.value("lost") == told.value("missing") == 0


async def test_one_that_dies_in_the_middle() -> None:
    async with published() as (forwarder, publishing):
        silence = "--ice-silence-s=3"
        with bench("load", f"{forwarder.url}/whep", "--viewers=2", silence) as loading:
            await until("viewers", lambda: forwarder.done.sent > 1500)
            await forwarder.die()
            told = await loading.ended()
        assert told.has_failed(), told
        assert told.says("the server went away")
        assert told.value("packets") > 0
        assert told.value("joined") == VIEWERS
        # How long nobody knew that it was dead is in no mean.
        assert told.results is not None
        assert told.results.duration_s - told.value("seconds") > 2.5
        sent = await publishing.ended()
        assert sent.has_failed(), sent
        assert sent.value("packets") > 0


async def test_one_that_dies_behind_a_lossy_way() -> None:
    async with published() as (forwarder, _):
        bad_way = ("--viewers=2", "--loss=5%", "--duration=60", "--ice-silence-s=3")
        with bench("loss", f"{forwarder.url}/whep", *bad_way) as losing:
            await until("viewers", lambda: forwarder.done.sent > 1500)
            await forwarder.die()
            told = await losing.ended()
        assert told.has_failed(), told
        assert told.says("the server went away")
        assert told.value("joined") == VIEWERS
        assert told.value("expected") > 0


async def test_one_that_dies_in_a_storm() -> None:
    async with published() as (forwarder, _):
        with bench("joins", f"{forwarder.url}/whep", "--rate=10", "--count=100") as storming:
            await until("some to come and go", lambda: forwarder.done.deleted >= 5)
            await forwarder.die()
            told = await storming.ended()
        assert told.has_failed(), told
        assert told.value("failed.unreachable") > 0
        assert 0 < told.value("joined") < 100


async def test_ctrl_c_keeps_what_there_is() -> None:
    async with published() as (forwarder, _):
        with bench("load", f"{forwarder.url}/whep", "--viewers=2") as loading:
            await until("viewers", lambda: forwarder.done.sent > 1500)
            loading.interrupt()
            told = await loading.ended()
        assert told.is_well(), told
        assert told.value("packets") > 0
        await until("both have left", lambda: forwarder.done.deleted == 2)


@pytest.mark.parametrize(
    ("mischief", "words"),
    [
        pytest.param(Mischief(meets="/whip", refuses=403), "403", id="refuses"),
        pytest.param(
            Mischief(meets="/whip", bend=lambda _: "v=0\r\n"), "The answer cannot", id="wrong-sdp"
        ),
        pytest.param(
            Mischief(meets="/whip", ignores_dtls=True), "The DTLS handshake", id="endless-dtls"
        ),
    ],
)
async def test_a_publisher_that_is_not_let_in(mischief: Mischief, words: str) -> None:
    async with forwarding(mischief) as forwarder:
        told = await measured("publish", f"{forwarder.url}/whip", *QUICK)
        assert told.has_failed(), told
        (line,) = told.problems
        assert words in line


async def test_a_publisher_of_nobody() -> None:
    told = await measured("publish", f"{nobody()}/whip")
    assert told.has_failed(), told
    (line,) = told.problems
    assert "Connection refused" in line
