"""Viewers are told one by one up to a rate, and summed beyond it: nobody is told twice or never."""

from __future__ import annotations

from collections.abc import Callable

from pyforward.feed import Crowd, Event, ViewerJoined, ViewerLeft, ViewersChanged

SESSION = "00064d0f3f2a91c4"


class Told:
    """What comes out, and the end of the second when the test says so."""

    def __init__(self, per_s: int) -> None:
        self.events: list[Event] = []
        self.timers: list[Callable[[], None]] = []
        self.crowd = Crowd(self.events.append, per_s, lambda _s, call: self.timers.append(call))

    def second(self) -> list[Event]:
        (timer,) = self.timers
        self.timers.clear()
        timer()
        told, self.events[:] = list(self.events), []
        return told


def joined(stream: str = "show", viewers: int = 1) -> ViewerJoined:
    return ViewerJoined(stream=stream, session=SESSION, took_s=0.1, viewers=viewers)


def left(stream: str = "show", viewers: int = 0) -> ViewerLeft:
    return ViewerLeft(stream=stream, session=SESSION, reason="bye", watched_s=9, viewers=viewers)


def test_a_few_are_told_one_by_one() -> None:
    told = Told(per_s=2)
    told.crowd.add(joined())
    told.crowd.add(left())
    assert told.events == [joined(), left()]
    assert told.second() == [joined(), left()]
    told.crowd.add(joined())
    assert told.second() == [joined()]


def test_a_crowd_is_summed_once_a_second_by_stream() -> None:
    told = Told(per_s=2)
    for number in range(1, 1001):
        told.crowd.add(joined("a", number))
    told.crowd.add(left("a", 999))
    told.crowd.add(left("b", 4))
    one_by_one, sums = told.events[:2], told.second()[2:]
    assert one_by_one == [joined("a", 1), joined("a", 2)]
    assert sums == [
        ViewersChanged(stream="a", joined=998, left=1, reasons={"bye": 1}, viewers=999),
        ViewersChanged(stream="b", joined=0, left=1, reasons={"bye": 1}, viewers=4),
    ]
    told.crowd.add(joined("a", 1000))
    assert told.events == [joined("a", 1000)], "the next second has its own rate"


def test_zero_sums_everything_and_the_end_tells_it() -> None:
    told = Told(per_s=0)
    told.crowd.add(joined())
    assert told.events == []
    told.crowd.flush()
    (event,) = told.events
    assert isinstance(event, ViewersChanged)
    assert (event.joined, event.left, event.viewers) == (1, 0, 1)
    assert told.second() == [event], "the timer finds nothing more"
