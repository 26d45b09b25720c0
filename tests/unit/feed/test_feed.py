"""The feed: numbers, the ring for those who come back, bounds for those who do not read."""

from __future__ import annotations

import asyncio
import json

import pytest

from pyforward.errors import Overloaded
from pyforward.feed import EVENTS, Feed, Listener, StreamEnded, Told

NOW = 1_700_000_000.25
RUN = f"{int(NOW):x}"


def feed(**more: int) -> Feed:
    return Feed(wall=lambda: NOW, **more)


def ended(name: str = "show") -> StreamEnded:
    return StreamEnded(stream=name, reason="deleted", lasted_s=1.5)


def tell(feed: Feed, count: int) -> None:
    for _ in range(count):
        feed.tell(ended())


def numbers(told: object) -> list[str]:
    assert isinstance(told, (list, tuple))
    return [one.id.rpartition("-")[2] for one in told]


async def test_an_event_is_numbered_and_dated() -> None:
    made = feed()
    listener = made.listen()
    made.tell(ended())
    (told,) = await listener.wait(0)
    assert (told.id, told.kind, told.stream) == (f"{RUN}-1", "stream_ended", "show")
    assert json.loads(told.text) == {
        "id": f"{RUN}-1",
        "time": "2023-11-14T22:13:20.250Z",
        "kind": "stream_ended",
        "stream": "show",
        "reason": "deleted",
        "lasted_s": 1.5,
    }
    assert "\n" not in told.text


async def test_listeners_hear_in_order_and_only_what_comes_after_them() -> None:
    made = feed()
    tell(made, 1)
    listener = made.listen()
    waiting = asyncio.create_task(listener.wait(60))
    await asyncio.sleep(0)
    assert not waiting.done()
    tell(made, 3)
    assert numbers(await waiting) == ["2", "3", "4"]
    assert list(await listener.wait(0)) == []


async def test_who_comes_back_hears_what_it_missed() -> None:
    made = feed(kept=4)
    tell(made, 3)
    assert numbers(made.since(f"{RUN}-1")) == ["2", "3"]
    assert list(made.since(f"{RUN}-3")) == []
    tell(made, 4)  # 4 to 7 are kept
    assert numbers(made.since(f"{RUN}-3")) == ["4", "5", "6", "7"]
    missed, *kept = made.since(f"{RUN}-1")
    assert (missed.id, missed.kind, json.loads(missed.text)["count"]) == ("", "missed", 2)
    assert numbers(kept) == ["4", "5", "6", "7"]


@pytest.mark.parametrize("last", ["abc-2", f"{RUN}-99", "", "x", f"{RUN}-²", f"{RUN}-1\n", "-1"])
async def test_an_id_of_another_run_misses_everything(last: str) -> None:
    made = feed()
    tell(made, 2)
    missed, *kept = made.since(last)
    assert (missed.kind, json.loads(missed.text)["count"]) == ("missed", None)
    assert numbers(kept) == ["1", "2"]


async def test_a_listener_that_does_not_read_is_dropped_and_harms_nobody() -> None:
    made = feed(queue=3)
    slow, quick = made.listen(), made.listen()
    woken: list[bool] = []
    slow.on_dropped = lambda: woken.append(True)
    for _ in range(3):
        tell(made, 1)
        await quick.wait(0)
    assert made.stats().dropped == 0
    tell(made, 5)
    assert slow.is_over
    assert woken == [True]
    assert list(await slow.wait(0)) == []
    stats = made.stats()
    assert (stats.listeners, stats.dropped, stats.told) == (0, 2, 8)


async def test_there_is_a_limit_on_listeners() -> None:
    made = feed(listeners=2)
    first = made.listen()
    made.listen()
    with pytest.raises(Overloaded) as refused:
        made.listen()
    assert refused.value.limit == "events.listeners"
    made.leave(first)
    made.leave(first)
    made.listen()
    assert made.stats().refused == 1


async def test_only_the_newest_figures_wait() -> None:
    made = feed()
    listener = made.listen()
    for number in range(1000):
        listener.offer_figures(Told("", "figures", None, str(number)))
    tell(made, 1)
    assert [told.kind for told in await listener.wait(0)] == ["stream_ended", "figures"]
    assert list(await listener.wait(0)) == []


async def test_the_end_wakes_whoever_waits() -> None:
    made = feed()
    listeners: list[Listener] = [made.listen(), made.listen()]
    waiting = [asyncio.create_task(one.wait(60)) for one in listeners]
    await asyncio.sleep(0)
    made.close()
    assert await asyncio.gather(*waiting) == [[], []]
    assert all(one.is_over for one in listeners)
    tell(made, 1)
    listeners[0].offer_figures(Told("", "figures", None, ""))
    assert list(await listeners[0].wait(0)) == []


def test_every_event_and_every_field_says_what_it_is() -> None:
    kinds = [model.model_fields["kind"].default for model in EVENTS]
    assert len(set(kinds)) == len(kinds) == 9
    for model in EVENTS:
        assert model.__doc__
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
