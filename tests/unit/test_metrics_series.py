"""Series of streams: bounded, and never falling."""

from __future__ import annotations

from pyforward.control import StreamView
from pyforward.engine import NEVER_US
from pyforward.metrics.series import GONE_AFTER_US, LOST_S, OTHER, StreamSeries
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


def test_viewers_have_no_media_without_a_publisher_or_from_one_that_is_silent() -> None:
    one, watched = StreamSeries(5), [named(1, "a", 3)]
    flows = [stream(1, publisher=5, packet_age_us=GONE_AFTER_US)]
    assert one.look(watched, flows)["a"].without_media == 0
    silent = [stream(1, publisher=5, packet_age_us=GONE_AFTER_US + 1)]
    assert one.look(watched, silent)["a"].without_media == 1
    assert one.look([named(1, "a")], silent)["a"].without_media == 0, "nobody watches"
    never = [stream(1, publisher=6, packet_age_us=NEVER_US)]
    assert one.look(watched, never)["a"].without_media == 1
    assert one.look(watched, [])["a"].without_media == 1, "no shard knows its publisher"
    assert one.look([named(1, "a", 3, live=False)], [])["a"].without_media == 1


def test_of_a_stream_that_nobody_publishes_and_nobody_watches_it_is_not_told() -> None:
    """What was told last stands, of a declared stream as of one that ended."""
    world = World(seen=view(each_stream=(named(1, "a", 3, live=False),)))
    one = world.exporter()
    assert samples(one)[of("stream_without_media", stream="a")] == 1
    world.seen = view(each_stream=(named(1, "a", live=False),))
    told = samples(one)
    assert told[of("stream_publishers", stream="a")] == 0
    assert of("stream_without_media", stream="a") not in told


def test_the_others_that_lost_their_publishers_are_counted_until_they_are_back() -> None:
    now = 0.0
    one = StreamSeries(1, clock=lambda: now)
    flows = [stream(number, publisher=5) for number in (1, 2, 3, 4)]

    def lost(*others: StreamView) -> int | None:
        return one.look([named(1, "own", 1), *others], flows)[OTHER].without_media

    well = named(4, "well", 1)
    assert lost(named(2, "b", 1), named(3, "c", 1), well) == 0
    waiting = (named(2, "b", 1, live=False), named(3, "c", 1, live=False))
    assert lost(*waiting, well) == 2
    # One is declared and stays, without its viewers; the other ends. Neither is back.
    assert lost(named(2, "b", live=False), well) == 2
    now = LOST_S - 1
    assert lost(named(2, "b", 1), well) == 1
    assert lost(named(2, "b"), well) == 1, "whoever watches it had media last"
    now = LOST_S
    assert lost(well) == 0, "ten minutes later nobody waits for it"


def test_one_of_the_others_that_comes_back_under_its_own_name_is_not_lost() -> None:
    one = StreamSeries(1)
    one.look([named(1, "own", 1), named(2, "b", 1, live=False), named(3, "c", 1)], [])
    series = one.look([named(4, "b", 1), named(3, "c")], [stream(4, publisher=5)])
    assert (series["b"].without_media, series[OTHER].without_media) == (0, 0)


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
