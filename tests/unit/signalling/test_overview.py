"""Figures of streams and viewers: who is worst, how they are spread, what it costs to ask."""

from __future__ import annotations

import asyncio
import random
from math import ceil

import pytest

from pyforward.commands import Flowing, ReportSessions
from pyforward.control import StreamFigures
from pyforward.control.figures import PublisherFigures, Quality, Spread
from pyforward.control.health import health
from pyforward.control.overview import BATCH, ENOUGH, SAMPLE, _sample_sizes
from pyforward.ids import SessionId, format_session
from tests.unit.signalling.offers import offer
from tests.unit.signalling.world import World, report_row

PUBLISH, WATCH = offer("sendonly"), offer("recvonly")


async def show(world: World, losses: list[float]) -> list[SessionId]:
    """A stream whose viewers lose so much; their sessions."""
    publisher = (await world.publish("show", PUBLISH)).session
    await world.connect(publisher)
    await world.tell(Flowing(publisher))
    world.engine.rows[publisher] = report_row(publisher, loss=0.0)
    viewers = []
    for loss in losses:
        session = (await world.watch("show", WATCH)).session
        world.engine.rows[session] = report_row(session, loss=loss, drops=0, rtt_ms=20.0)
        viewers.append(session)
    return viewers


async def passed() -> None:
    """Time for what is over to be forgotten."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_the_worst_viewers_come_first_page_by_page(world: World) -> None:
    viewers = await show(world, [0.0, 0.3, 0.1, 0.0, 0.2])
    losses, seen, after = [], set(), None
    while True:
        page = await world.control.viewers("show", after, 2, "worst")
        losses += [one.loss for one in page.items]
        seen |= {one.session for one in page.items}
        if (after := page.next) is None:
            break
    assert losses == [0.3, 0.2, 0.1, 0.0, 0.0]
    assert seen == {format_session(one) for one in viewers}
    joined = await world.control.viewers("show", None, 10, "joined")
    assert [one.session for one in joined.items] == [format_session(one) for one in viewers]


async def test_the_spread_is_over_all_viewers(world: World) -> None:
    await show(world, [number / 1000 for number in range(100)])
    stream = await world.control.stream("show")
    assert stream.viewers == stream.quality.measured == stream.quality.live == 100
    assert stream.quality.loss == Spread(p50=0.049, p90=0.089, p99=0.098, max=0.099)
    assert (stream.health, stream.health_reason) == (
        "poor",
        "A tenth of the viewers loses 8.9 % of the packets or more.",
    )


async def test_a_list_of_streams_asks_a_bounded_sample(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyforward.control.overview.SAMPLE", 10)
    monkeypatch.setattr("pyforward.control.overview.ENOUGH", 10)
    await show(world, [0.0] * 95)
    world.engine.forget()
    asked = set()
    for _ in range(10):
        (stream,) = (await world.control.streams()).items
        assert stream.quality.measured == 10
        assert stream.viewers == 95
        await passed()
    for question in world.engine.taken(ReportSessions):
        asked |= set(question.sessions)
    assert len(asked) == 95 + 1, "others are asked at each turn, and the publisher at all of them"


@pytest.mark.parametrize(
    ("viewers", "sizes"),
    [
        ([], []),
        ([3, 0, 1500], [3, 0, 1500]),
        ([10_000], [SAMPLE]),
        ([10_000, 2, 2], [SAMPLE - 4, 2, 2]),
        ([900, 5000, 5000], [666, 667, 667]),
        ([100] * 1000, [ENOUGH] * 1000),
        ([100] * 300 + [10_000], [ENOUGH] * 301),
    ],
)
def test_what_small_streams_leave_is_for_large_ones(viewers: list[int], sizes: list[int]) -> None:
    assert _sample_sizes(viewers) == sizes


def test_the_sample_of_a_well_stream_is_well() -> None:
    """Two viewers of a hundred have bad lines: the worst tenth does not, and no list says so."""
    lots = random.Random(6)
    crowd = [0.3, 0.3] + [0.0] * 98
    samples = [lots.sample(crowd, ENOUGH) for _ in range(1000)]
    assert max(sorted(sample)[ceil(0.9 * ENOUGH) - 1] for sample in samples) == 0.0


async def test_a_storm_of_lists_costs_one_sample(world: World) -> None:
    await show(world, [0.0] * (BATCH + 10))
    world.engine.forget()
    pages = await asyncio.gather(*(world.control.streams() for _ in range(200)))
    assert {len(page.items) for page in pages} == {1}
    assert len(world.engine.taken(ReportSessions)) == 2


async def test_a_viewer_that_joins_meanwhile_is_measured(world: World) -> None:
    await show(world, [])
    listing = asyncio.create_task(world.control.streams())
    await asyncio.sleep(0)
    await world.watch("show", WATCH)
    assert (await listing).items[0].quality.measured == 1


async def test_a_stream_that_ends_meanwhile_is_in_no_list(world: World) -> None:
    await show(world, [0.0])
    listing = asyncio.create_task(world.control.streams())
    await asyncio.sleep(0)
    await world.control.remove_stream("show")
    assert (await listing).items == ()


async def test_a_storm_costs_one_survey_in_questions_of_bounded_size(world: World) -> None:
    await show(world, [0.0] * (BATCH + 10))
    world.engine.forget()
    pages = await asyncio.gather(
        *(world.control.viewers("show", None, 5, "worst") for _ in range(200))
    )
    assert {len(page.items) for page in pages} == {5}
    questions = world.engine.taken(ReportSessions)
    assert [len(question.sessions) for question in questions] == [BATCH, 10]


async def test_one_who_gives_up_takes_nothing_from_the_others(world: World) -> None:
    await show(world, [0.0])
    hasty = asyncio.create_task(world.control.viewers("show", None, 5, "worst"))
    patient = asyncio.create_task(world.control.viewers("show", None, 5, "worst"))
    await asyncio.sleep(0)
    hasty.cancel()
    assert len((await patient).items) == 1


async def test_bitrates_of_the_server(world: World) -> None:
    world.engine.counters.update(bytes_in=1000, bytes_out=5000, bytes_out_retransmission=0)
    world.clock.now += 1.0
    assert world.control.server().bitrate_in_bps == 2 * 8 * 1000  # two shards
    world.engine.counters.update(bytes_out=6000, bytes_out_retransmission=500)
    world.clock.now += 0.1
    assert world.control.server().bitrate_out_bps == 2 * 8 * 5000, "too early for a new figure"
    world.clock.now += 1.9
    assert world.control.server().bitrate_out_bps == 8 * 1500
    assert world.control.server().uptime_s == 3.0


# Screens ------------------------------------------------------------------------------------------


async def test_figures_come_while_somebody_looks_and_cost_nothing_otherwise(world: World) -> None:
    await show(world, [0.5, 0.0])
    world.engine.forget()
    screens, feed = world.control.screens, world.control.feed
    first, second, other = feed.listen(), feed.listen(), feed.listen()
    with screens.shown(first, None), screens.shown(second, None), screens.shown(other, "show"):
        (all_of_them,) = await first.wait(10)
        (same,) = await second.wait(10)
        assert same is all_of_them, "gathered once for both"
        (one,) = await other.wait(10)
        late = feed.listen()
        with screens.shown(late, None):
            assert [told.kind for told in await late.wait(0)] == ["figures"]
    assert screens.is_idle
    world.engine.forget()
    await asyncio.sleep(0)
    assert world.engine.submitted == []
    assert '"name":"show"' in all_of_them.text
    assert '"worst":[]' in all_of_them.text
    assert '"loss":0.5' in one.text.partition('"worst":')[2]


async def test_a_stream_that_is_not_there_leaves_its_place_empty(world: World) -> None:
    figures = await world.control.screens.figures("nothing")
    assert (figures.streams, figures.worst) == ((), ())


# Health -------------------------------------------------------------------------------------------

WELL = PublisherFigures(
    session="0" * 16,
    address=None,
    codecs=("vp8",),
    connected_s=1,
    bitrate_bps=1_000_000,
    loss=0.0,
    rtt_ms=None,
    srtp_profile=None,
    keyframe_interval_ms=2000,
    tracks=(),
)


def quality(p50: float, p90: float, *, starting: int = 0, stuck: int = 0) -> Quality:
    return Quality(
        measured=100,
        connecting=0,
        starting=starting,
        stuck=stuck,
        live=100 - starting,
        loss=Spread(p50=p50, p90=p90, p99=p90, max=p90),
        rtt_ms=None,
        bitrate_bps=None,
        repaired=0,
        drops=0,
    )


@pytest.mark.parametrize(
    ("publisher", "p50", "p90", "level", "says"),
    [
        ({}, 0.0, 0.009, "good", ""),
        ({}, 0.0, 0.02, "fair", "A tenth of the viewers loses 2.0 %"),
        ({}, 0.0, 0.05, "poor", "A tenth of the viewers loses 5.0 %"),
        ({}, 0.06, 0.2, "poor", "Half of the viewers lose 6.0 %"),
        ({"loss": 0.03}, 0.0, 0.0, "fair", "The publisher's line loses 3.0 %"),
        ({"loss": 0.03}, 0.0, 0.1, "poor", "A tenth of the viewers"),
        ({"bitrate_bps": 0}, 0.0, 0.02, "poor", "Nothing comes"),
        ({"keyframe_interval_ms": 12_000}, 0.0, 0.0, "fair", "every 12 s"),
    ],
)
def test_health(
    publisher: dict[str, object], p50: float, p90: float, level: str, says: str
) -> None:
    found, why = health(WELL.model_copy(update=publisher), quality(p50, p90), flows_s=60.0)
    assert found == level
    assert why.startswith(says) if says.endswith("%") else says in why
    assert bool(why) == (level != "good")


@pytest.mark.parametrize(
    ("starting", "stuck", "level", "says"),
    [
        (50, 0, "good", ""),
        (50, 9, "fair", "9 of 100 viewers wait for media or a keyframe."),
        (10, 10, "poor", "10 of 100 viewers wait for media or a keyframe."),
        (100, 100, "poor", "100 of 100 viewers wait for media or a keyframe."),
    ],
)
def test_viewers_without_a_picture_are_not_well(
    starting: int, stuck: int, level: str, says: str
) -> None:
    found = health(WELL, quality(0, 0, starting=starting, stuck=stuck), flows_s=60.0)
    assert found == (level, says)


def test_without_media_there_is_nothing_to_judge() -> None:
    assert health(None, quality(0, 0), flows_s=None)[0] == "waiting"
    assert health(WELL, quality(0, 0), flows_s=None)[0] == "waiting"
    begins = WELL.model_copy(update={"bitrate_bps": 0})
    assert health(begins, quality(0, 0), flows_s=1.9)[0] == "waiting"
    assert health(begins, quality(0, 0), flows_s=2.0)[0] == "poor"


def test_every_field_of_the_api_says_what_it_is() -> None:
    for name, field in StreamFigures.model_fields.items():
        assert field.description, name
