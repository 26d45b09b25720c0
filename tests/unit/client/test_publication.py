"""A source on its way to a server: what begins it, and what ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from pyforward.client import Publication, Session
from pyforward.commands import InjectRtp, Kind, PublishTrack
from pyforward.errors import MediaError, SessionFailed
from pyforward.media.source import Burst, publish_track
from tests.unit.answers import RECEIVING
from tests.unit.client.world import World, answered, world
from tests.unit.offers import H264
from tests.unit.signalling.world import report_row


@dataclass
class Clip:
    """So many bursts, all of them due at once, and then an error or the end."""

    bursts_: int = 3
    error: Exception | None = None
    asked: list[int] = field(default_factory=list)
    video_bits_per_s: float = 0.0

    def tracks(self) -> tuple[PublishTrack, ...]:
        return (publish_track("video", "0", "h264", 7), publish_track("audio", "1", "opus", 8))

    def fmtp(self, kind: Kind) -> str:
        return H264 if kind == "video" else ""

    def bursts(self) -> Iterator[Burst]:
        for number in range(self.bursts_):
            self.asked.append(number)
            yield Burst(0.0, "video", (bytes([number]),))
        if self.error is not None:
            raise self.error


async def begun(w: World, publication: Publication) -> Session:
    """Joined and connected."""
    beginning = asyncio.create_task(publication.begin(w.signalling, w.site.url("/whip/show")))
    (session,) = await w.sessions_of(1)
    assert not w.engine.taken(InjectRtp), "nothing is played to nobody"
    w.connect(session)
    return await beginning


def played(w: World) -> list[bytes]:
    return [packet for command in w.engine.taken(InjectRtp) for packet in command.packets]


@pytest.fixture(autouse=True)
def _no_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyforward.client.publication.REPAIR_S", 0.0)


async def test_it_plays_to_the_end_and_leaves() -> None:
    async with world(answered(RECEIVING)) as w:
        clip = Clip()
        publication = Publication(w.sessions, clip)
        session = await begun(w, publication)
        await publication.wait()
        assert played(w) == [b"\0", b"\1", b"\2"]
        assert w.removed() == []
        w.obey()
        await publication.end()
        assert session.closed.result() == "deleted"
        await w.settled()
        assert len(w.site.requests("DELETE")) == 1


async def test_bursts_go_through_the_pacer() -> None:
    async with world(answered(RECEIVING)) as w:

        def reversed_(bursts: Iterator[Burst]) -> Iterator[Burst]:
            yield from reversed(list(bursts))

        publication = Publication(w.sessions, Clip(), pace=reversed_)
        await begun(w, publication)
        await publication.wait()
        assert played(w) == [b"\2", b"\1", b"\0"]


async def test_a_source_that_breaks_off() -> None:
    async with world(answered(RECEIVING)) as w:
        publication = Publication(w.sessions, Clip(2, MediaError("The file breaks off.")))
        await begun(w, publication)
        with pytest.raises(MediaError, match="breaks off"):
            await publication.wait()
        assert played(w) == [b"\0", b"\1"]


async def test_a_session_that_ends_before_the_source() -> None:
    async with world(answered(RECEIVING)) as w:
        publication = Publication(w.sessions, Endless())
        session = await begun(w, publication)
        waiting = asyncio.create_task(publication.wait())
        w.close(session, "bye")
        await waiting
        assert await publication.report() is None
        await publication.end()
        await w.settled()
        assert len(w.site.requests("DELETE")) == 1


class Endless(Clip):
    """One burst, and the next in a long time."""

    def bursts(self) -> Iterator[Burst]:
        yield Burst(0.0, "video", (b"x",))
        yield Burst(1e9, "video", (b"never",))


async def test_a_session_that_never_connects_plays_nothing() -> None:
    async with world(answered(RECEIVING)) as w:
        clip = Clip()
        publication = Publication(w.sessions, clip)
        beginning = asyncio.create_task(publication.begin(w.signalling, w.site.url("/whip/show")))
        (session,) = await w.sessions_of(1)
        w.close(session, "never_connected")
        with pytest.raises(SessionFailed):
            await beginning
        assert clip.asked == []


async def test_figures_while_it_plays() -> None:
    async with world(answered(RECEIVING)) as w:
        publication = Publication(w.sessions, Endless())
        assert await publication.report() is None
        session = await begun(w, publication)
        w.engine.rows[session.id] = report_row(session.id)
        events = asyncio.create_task(w.sessions.run_events())
        report = await publication.report()
        assert report is not None
        assert report.packets == 100
        w.engine.end()
        await events
        w.obey()
        await publication.end()


async def test_ended_before_it_began() -> None:
    async with world(answered(RECEIVING)) as w:
        publication = Publication(w.sessions, Clip())
        await publication.wait()
        await publication.end()
        assert w.engine.submitted == []
