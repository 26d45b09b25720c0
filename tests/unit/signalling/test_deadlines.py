"""The heap of deadlines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyforward.state import Deadlines


def test_due_keys_come_once_and_the_earliest_first() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("late", 3.0)
    deadlines.set("early", 1.0)
    assert deadlines.next_at() == 1.0
    assert deadlines.take_due(0.9) == []
    assert deadlines.take_due(3.0) == ["early", "late"]
    assert deadlines.take_due(9.0) == []
    assert deadlines.next_at() is None


def test_setting_again_moves_and_cancelling_removes() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 1.0)
    deadlines.set("a", 5.0)
    deadlines.set("b", 2.0)
    deadlines.cancel("b")
    deadlines.cancel("never set")
    assert deadlines.next_at() == 5.0
    assert deadlines.take_due(4.0) == []
    assert deadlines.take_due(5.0) == ["a"]


def test_moving_one_key_for_ever_does_not_grow_the_heap() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for step in range(10_000):
        deadlines.set("a", float(step))
    assert len(deadlines) == 1
    assert len(deadlines._heap) < 200


@given(
    st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 50))), max_size=60),
    st.integers(0, 50),
)
def test_equals_a_dictionary(steps: list[tuple[int, int | None]], now: int) -> None:
    deadlines: Deadlines[int] = Deadlines()
    model: dict[int, int] = {}
    for key, due_at in steps:
        if due_at is None:
            deadlines.cancel(key)
            model.pop(key, None)
        else:
            deadlines.set(key, float(due_at))
            model[key] = due_at
    assert deadlines.next_at() == min(model.values(), default=None)
    due = deadlines.take_due(float(now))
    assert sorted(due) == sorted(key for key, at in model.items() if at <= now)
    assert [model[key] for key in due] == sorted(model[key] for key in due)
