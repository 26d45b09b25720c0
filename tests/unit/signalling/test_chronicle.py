"""What operators are told while streams begin, break and end: each change once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from pyforward.commands import Flowing
from pyforward.config import Config
from pyforward.errors import Overloaded, StreamNotFound
from pyforward.ids import SessionId, format_session
from tests.unit.signalling.offers import offer
from tests.unit.signalling.world import World, running

PUBLISH, WATCH = offer("sendonly"), offer("recvonly")


class Story:
    """A world, and what its feed has told so far."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._listener = world.control.feed.listen()

    async def told(self) -> list[dict[str, Any]]:
        """Everything since the last time, without what every event has."""
        events = [json.loads(told.text) for told in await self._listener.wait(0)]
        return [{k: v for k, v in one.items() if k not in ("id", "time")} for one in events]

    async def kinds(self) -> list[str]:
        return [event["kind"] for event in await self.told()]

    async def publisher(self, name: str = "show") -> SessionId:
        return await self._flowing((await self.world.publish(name, PUBLISH)).session)

    async def viewer(self, name: str = "show") -> SessionId:
        return await self._flowing((await self.world.watch(name, WATCH)).session)

    async def _flowing(self, session: SessionId) -> SessionId:
        await self.world.connect(session)
        await self.world.tell(Flowing(session))
        return session


async def test_a_stream_s_life(world: World) -> None:
    story = Story(world)
    first = await story.publisher()
    (event,) = await story.told()
    assert event == {
        "kind": "stream_started",
        "stream": "show",
        "session": format_session(first),
        "codecs": ["opus", "vp8"],
    }
    viewer = await story.viewer()
    world.clock.now += 60.0
    await world.close(first, "silent")
    joined, lost = await story.told()
    assert (joined["kind"], joined["session"], joined["viewers"]) == (
        "viewer_joined",
        format_session(viewer),
        1,
    )
    assert lost == {
        "kind": "publisher_lost",
        "stream": "show",
        "session": format_session(first),
        "reason": "silent",
        "published_s": 60.0,
        "viewers": 1,
    }
    world.clock.now += 5.0
    second = await story.publisher()
    (back,) = await story.told()
    assert (back["kind"], back["session"], back["away_s"], back["viewers"]) == (
        "publisher_back",
        format_session(second),
        5.0,
        1,
    )
    third = await story.publisher()
    (replaced,) = await story.told()
    assert (replaced["kind"], replaced["session"], replaced["replaced"]) == (
        "publisher_replaced",
        format_session(third),
        format_session(second),
    )
    await world.close(second, "replaced")
    assert await story.kinds() == [], "the stream has not lost its publisher"
    await world.close(third, "bye")
    world.pass_time(31.0)
    assert await story.kinds() == ["publisher_lost", "stream_ended"]
    await world.close(viewer, "stream_ended")
    (left,) = await story.told()
    assert (left["kind"], left["reason"], left["watched_s"], left["viewers"]) == (
        "viewer_left",
        "stream_ended",
        96.0,
        0,
    )


async def test_what_never_flowed_is_not_told(world: World) -> None:
    story = Story(world)
    accepted = await world.publish("show", PUBLISH)
    await world.connect(accepted.session)
    await world.control.remove_stream("show")
    await world.close(accepted.session)
    assert await story.kinds() == []


async def test_an_operator_ends_a_stream(world: World) -> None:
    story = Story(world)
    publisher = await story.publisher()
    world.clock.now += 7.5
    await world.control.remove_stream("show")
    await world.close(publisher)
    *_, ended = await story.told()
    assert ended == {
        "kind": "stream_ended",
        "stream": "show",
        "reason": "deleted",
        "lasted_s": 7.5,
    }


async def test_a_declared_stream_starts_again() -> None:
    async with running(Config.model_validate({"streams": {"declared": ["show"]}})) as world:
        story = Story(world)
        publisher = await story.publisher()
        await world.control.remove_stream("show")
        await world.close(publisher)
        await story.publisher()
        assert await story.kinds() == ["stream_started", "stream_ended", "stream_started"]


async def test_the_end_of_the_server(world: World) -> None:
    story = Story(world)
    await story.publisher("a")
    await story.publisher("b")
    await story.told()
    await world.control.close()
    assert [(event["kind"], event["stream"], event["reason"]) for event in await story.told()] == [
        ("stream_ended", "a", "stopping"),
        ("stream_ended", "b", "stopping"),
    ]


async def test_a_limit_is_told_once_and_then_with_how_many() -> None:
    async with running(Config.model_validate({"limits": {"viewers": 1}})) as world:
        story = Story(world)
        await story.publisher()
        await story.viewer()
        await story.told()
        for _ in range(100):
            with pytest.raises(Overloaded):
                await world.watch("show", WATCH)
        (event,) = await story.told()
        assert event == {
            "kind": "capacity_reached",
            "limit": "limits.viewers",
            "value": 1,
            "stream": None,
            "refused": 1,
        }
        world.clock.now += 10.0
        with pytest.raises(Overloaded):
            await world.watch("show", WATCH)
        (event,) = await story.told()
        assert event["refused"] == 100


async def test_who_is_refused_for_another_reason_is_no_event(world: World) -> None:
    story = Story(world)
    with pytest.raises(StreamNotFound):
        await world.watch("nothing", WATCH)
    assert await story.kinds() == []


async def test_the_log_has_ids_reasons_durations_and_no_secret(world: World) -> None:
    story = Story(world)
    with capture_logs() as lines:
        accepted = await world.publish("show", PUBLISH)
        await world.connect(accepted.session)
        await world.tell(Flowing(accepted.session))
        viewer = await story.viewer()
        world.clock.now += 3.0
        await world.close(viewer, "bye")
        await world.close(accepted.session, "silent")
        world.pass_time(31.0)
    assert [line["event"] for line in lines] == [
        "session_connected",
        "session_flows",
        "stream_started",
        "session_connected",
        "session_flows",
        "session_closed",
        "session_closed",
        "publisher_lost",
        "stream_ended",
    ]
    closed = lines[5]
    assert (closed["role"], closed["stream"], closed["session"]) == (
        "watch",
        "show",
        format_session(viewer),
    )
    assert (closed["reason"], closed["lasted_s"]) == ("bye", 3.0)
    assert accepted.secret not in str(lines)
    assert PUBLISH.splitlines()[1] not in str(lines)
