"""Series of streams: bounded, and never falling."""

from __future__ import annotations

from pyforward.engine import NEVER_US
from pyforward.metrics.series import OTHER, StreamSeries
from tests.unit.metrics_world import World, named, of, samples, stream, view


def test_each_stream_adds_up_its_shards() -> None:
    one = StreamSeries(5)
    rows = [stream(1, packets_out=5, viewers=2), stream(1, packets_out=7, viewers=1)]
    series = one.look([named(1, "a", 3)], rows)
    assert series["a"].sums["packets_out"] == 12
    assert (series["a"].viewers, series["a"].publishers) == (3, 1)
    rows = [stream(1, packets_out=6), stream(1, packets_out=7)]
    assert one.look([named(1, "a", 3)], rows)["a"].sums["packets_out"] == 13


def test_past_the_limit_the_rest_are_one_and_it_never_falls() -> None:
    one = StreamSeries(2)
    views = [named(number, f"s{number}", 1) for number in range(1, 6)]
    rows = [stream(number, packets_out=100 * number) for number in range(1, 6)]
    series = one.look(views, rows)
    assert list(series) == ["s1", "s2", OTHER]
    assert series[OTHER].sums["packets_out"] == 300 + 400 + 500
    assert series[OTHER].viewers == 3
    # Streams of both kinds end: nobody moves up, and what was counted stays.
    series = one.look(views[2:4], rows[2:4])
    assert list(series) == [OTHER]
    assert series[OTHER].sums["packets_out"] == 1200
    assert series[OTHER].viewers == 2


def test_a_new_stream_gets_the_place_of_one_that_ended() -> None:
    one = StreamSeries(1)
    assert list(one.look([named(1, "a")], [])) == ["a"]
    assert list(one.look([named(2, "b")], [])) == ["b"]
    # The namesake of one that is there has no series of its own.
    assert list(one.look([named(2, "b"), named(3, "b")], [])) == ["b", OTHER]


def test_a_stream_called_other_is_one_of_the_others() -> None:
    one = StreamSeries(5)
    series = one.look([named(1, OTHER, 1), named(2, "a", 2)], [])
    assert list(series) == ["a", OTHER]
    assert series[OTHER].viewers == 1


def test_a_publisher_that_comes_back_begins_anew_and_its_stream_goes_on() -> None:
    one, views = StreamSeries(5), [named(1, "a")]
    assert one.look(views, [stream(1, publisher=5, packets_in=50)])["a"].sums["packets_in"] == 50
    assert one.look(views, [stream(1)])["a"].sums["packets_in"] == 50
    assert one.look(views, [stream(1, publisher=6, packets_in=3)])["a"].sums["packets_in"] == 53
    # One that is quicker than the look is no fall either.
    assert one.look(views, [stream(1, publisher=7, packets_in=60)])["a"].sums["packets_in"] == 113


def test_the_picture_stands_still_for_who_waits_and_for_all_when_nothing_comes() -> None:
    one, views = StreamSeries(5), [named(1, "a", 10)]
    away = stream(1, viewers=4, waiting=1)
    home = {"viewers": 5, "waiting": 2, "publisher": 5}
    flows = stream(1, packet_age_us=20_000, **home)
    assert one.look(views, [away, flows])["a"].frozen == 3
    silent = stream(1, packet_age_us=1_500_000, **home)
    assert one.look(views, [away, silent])["a"].frozen == 9
    assert one.look(views, [away])["a"].frozen == 4, "nobody publishes"


def test_ages_are_told_once_there_is_something_to_be_old() -> None:
    one, views = StreamSeries(5), [named(1, "a")]
    rows = [stream(1, publisher=5, keyframe_age_us=NEVER_US, packet_age_us=7)]
    series = one.look(views, rows)["a"]
    assert (series.keyframe_age_us, series.packet_age_us) == (None, 7)


def test_a_thousand_streams_have_a_bounded_number_of_series() -> None:
    views = tuple(named(number, f"stream-{number:04}", 10) for number in range(1000))
    rows = [stream(number, publisher=5, bytes_out=1) for number in range(1000)]
    few = World(seen=view(each_stream=views[:100]), rows=rows[:100])
    many = World(seen=view(each_stream=views), rows=rows)
    before, after = samples(few.exporter(100)), samples(many.exporter(100))
    of_one_stream = [key for key in after if ("stream", "stream-0042") in key[1]]
    assert len(after) - len(before) == len(of_one_stream), "those of other"
    assert after[of("stream_viewers", stream=OTHER)] == 9000
    assert sum(key[0] == "pyforward_stream_viewers" for key in after) == 101


def test_a_hostile_name_is_one_label_in_both_formats() -> None:
    # The API lets no such name in; a label does not rely on that.
    name = 'a"} 1\nup{b="\\'
    world = World(seen=view(each_stream=(named(1, name, 3),)), rows=[stream(1)])
    assert samples(world.exporter())[of("stream_viewers", stream=name)] == 3
    assert ("up", frozenset({("b", "\\")})) not in samples(world.exporter())
