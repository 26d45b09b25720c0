"""A trace as a source, how late it leaves, and what is told of it."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import pytest

from pyforward.client import Target
from pyforward.commands import Kind, SessionReport
from pyforward.config import Config
from pyforward.errors import ConfigError, MediaError
from pyforward.ids import new_session_id
from pyforward.media import pacer
from pyforward.media.source import Burst
from pyforward_bench import publish, traces
from pyforward_bench.measuring import Output
from pyforward_bench.payloads import Stamp, Video
from pyforward_bench.publish.command import for_publishing
from pyforward_bench.publish.figures import figures, line, rows
from pyforward_bench.publish.lag import Lag
from pyforward_bench.publish.source import TraceSource
from pyforward_bench.traces import Frame, Trace
from tests.unit.signalling.world import report_row

CLIP = Trace(
    "clip",
    (
        Frame(0, "video", (78, 900, 901), keyframe=True),
        Frame(5_000, "audio", (160,)),
        Frame(25_000, "audio", (161,)),
        Frame(40_000, "video", (500, 501)),
    ),
)
TURN = len(CLIP.frames)


def source(trace: Trace = CLIP, rate: float = 1.0) -> TraceSource:
    return TraceSource(trace, rate=rate, chance=random.Random(1))


def packets(bursts: list[Burst], kind: Kind) -> list[bytes]:
    return [packet for burst in bursts if burst.kind == kind for packet in burst.packets]


def sequence(packet: bytes) -> int:
    return int.from_bytes(packet[2:4], "big")


def timestamp(packet: bytes) -> int:
    return int.from_bytes(packet[4:8], "big")


def counter(packet: bytes) -> int:
    stamp = Stamp.read(packet[12:])
    assert stamp is not None
    return stamp.counter


# The source --------------------------------------------------------------------------------------


def test_it_offers_what_servers_take() -> None:
    video, audio = source().tracks()
    assert (video.kind, video.codec, video.payload_type, video.mid) == ("video", "h264", 96, "0")
    assert (audio.kind, audio.codec, audio.payload_type, audio.mid) == ("audio", "opus", 111, "1")
    assert video.ssrcs != audio.ssrcs
    assert video.parameter_sets == Video().parameter_sets
    assert "packetization-mode=1" in source().fmtp("video")
    assert "minptime=10" in source().fmtp("audio")
    (alone,) = source(CLIP.only(["audio"])).tracks()
    assert (alone.kind, alone.mid) == ("audio", "0")


def test_a_burst_is_a_frame_of_the_trace() -> None:
    bursts = list(islice(source().bursts(), TURN))
    assert [(b.due_s, b.kind, tuple(len(p) - 12 for p in b.packets)) for b in bursts] == [
        (frame.due_us / 1e6, frame.kind, frame.sizes) for frame in CLIP.frames
    ]
    video, audio = source().tracks()
    for packet in packets(bursts, "video"):
        assert packet[0] == 0x80
        assert packet[1] & 0x7F == 96
        assert int.from_bytes(packet[8:12], "big") == video.ssrcs[0]
    assert [packet[1] >> 7 for packet in packets(bursts, "video")] == [0, 0, 1, 0, 1]
    assert [packet[1] for packet in packets(bursts, "audio")] == [111, 111]
    assert int.from_bytes(packets(bursts, "audio")[0][8:12], "big") == audio.ssrcs[0]


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_everything_runs_on_over_many_turns(kind: Kind) -> None:
    bursts = list(islice(source().bursts(), 20_000 * TURN))
    assert all(a.due_s <= b.due_s for a, b in pairwise(bursts))
    sent = packets(bursts, kind)
    assert [counter(packet) for packet in sent] == list(range(len(sent)))
    assert len(sent) > 1 << 15
    assert sequence(sent[0]) < 1 << 15
    assert all((sequence(b) - sequence(a)) % (1 << 16) == 1 for a, b in pairwise(sent))
    first = timestamp(sent[0])
    clock_hz = 90_000 if kind == "video" else 48_000
    zero_s = next(burst.due_s for burst in bursts if burst.kind == kind)
    for burst in bursts[-TURN:]:
        if burst.kind == kind:
            ticks = round(burst.due_s * clock_hz) - round(zero_s * clock_hz)
            assert {(timestamp(p) - first) % (1 << 32) for p in burst.packets} == {
                ticks % (1 << 32)
            }


def test_each_call_begins_anew() -> None:
    played = source()
    first, again = (list(islice(played.bursts(), TURN)) for _ in range(2))
    assert [counter(p) for p in packets(first, "video")] == [0, 1, 2, 3, 4]
    assert [counter(p) for p in packets(again, "video")] == [0, 1, 2, 3, 4]


def test_ten_times_as_fast_is_ten_times_as_many_frames() -> None:
    usual, fast = source(), source(rate=10)
    slow_bursts = list(islice(usual.bursts(), 3 * TURN))
    fast_bursts = list(islice(fast.bursts(), 3 * TURN))
    assert [b.due_s for b in fast_bursts] == pytest.approx([b.due_s / 10 for b in slow_bursts])
    assert [len(p) for b in fast_bursts for p in b.packets] == [
        len(p) for b in slow_bursts for p in b.packets
    ]
    ticks = [timestamp(b.packets[0]) for b in fast_bursts if b.kind == "video"]
    assert (ticks[2] - ticks[0]) % (1 << 32) == 90_000 * 80_000 // 10_000_000
    assert fast.video_bits_per_s == pytest.approx(10 * usual.video_bits_per_s)
    assert usual.step_s == pytest.approx(0.04)
    assert fast.step_s == pytest.approx(0.004)


def test_two_frames_never_share_a_timestamp() -> None:
    crowded = Trace("crowded", tuple(Frame(n, "video", (100,)) for n in range(50)))
    bursts = list(islice(source(crowded, rate=100).bursts(), 50))
    ticks = [timestamp(burst.packets[0]) for burst in bursts]
    assert len(set(ticks)) == 50


def test_the_rate_of_the_video_is_that_of_its_packets() -> None:
    played = source(traces.profile("1080p30"))
    bursts = list(islice(played.bursts(), len(played.trace.frames)))
    sent = sum(len(packet) for packet in packets(bursts, "video"))
    assert played.video_bits_per_s == pytest.approx(8 * sent / 10)
    assert source(traces.profile("audio")).video_bits_per_s == 0


def test_it_can_be_paced() -> None:
    played = source(traces.profile("1080p30").only(["video"]))
    bursts = list(islice(pacer.paced(played.bursts(), played.video_bits_per_s), 2_000))
    sizes = [len(burst.packets) for burst in bursts]
    assert max(sizes) <= 5, "what 5 ms hold at 2.5 × the rate"
    sent = packets(bursts, "video")
    assert [counter(packet) for packet in sent] == list(range(len(sent)))


# How late it leaves ------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def played(lags_s: list[float], step_s: float = 0.02) -> Lag:
    """Bursts 20 ms apart, each asked for so late."""
    clock = Clock()
    lag = Lag(clock, step_s)
    bursts: Iterator[Burst] = (Burst(n * 0.02, "audio", (b"x",)) for n in range(len(lags_s) + 1))
    observed = lag.observed(bursts)
    next(observed)
    for number, late_s in enumerate(lags_s):
        clock.now_s = 100.0 + number * 0.02 + late_s
        next(observed)
    return lag


def test_lateness_is_counted_from_the_first_burst() -> None:
    lag = played([0.0, 0.001, 0.0, 0.004])
    assert lag.late_us.count == 4
    assert lag.late_us.most == 4_000
    assert lag.late_us.total == 5_000
    assert lag.verdict() == []


def test_a_burst_that_is_early_by_rounding_is_in_time() -> None:
    assert played([0.0, -0.0005]).late_us.most == 0


def test_a_publisher_that_falls_behind_says_so() -> None:
    assert played([0.0] * 99 + [0.03]).verdict() == []
    (sentence,) = played([0.0] * 90 + [0.03] * 10).verdict()
    assert "fell behind" in sentence
    assert "30.0 ms late" in sentence
    assert "20.0 ms are allowed" in sentence


def test_frames_that_follow_closely_may_be_ten_milliseconds_late() -> None:
    assert played([0.0] * 9 + [0.009], step_s=0.001).verdict() == []
    assert played([0.0] * 9 + [0.011], step_s=0.001).verdict() != []


def test_a_halt_is_counted_once_and_what_follows_is_in_time_again() -> None:
    lag = played([0.0, 0.0, 2.0, 2.0, 2.0, 2.0])
    assert lag.halts == 1
    assert lag.late_us.count == 5
    assert lag.late_us.quantile(0.8) == 0
    assert lag.late_us.most == 0
    assert "stood still once for more than 0.5 s" in lag.verdict()[-1]


# What is told ------------------------------------------------------------------------------------


def report() -> SessionReport:
    return report_row(new_session_id())


def test_rows_tell_what_was_sent() -> None:
    given = report()
    told = {row.name: row for row in rows(figures(given, played([0.0, 0.002]), 4.0))}
    values = {name.removeprefix("publish."): row.value for name, row in told.items()}
    assert values["seconds"] == 4.0
    assert values["packets"] == given.packets
    assert values["bytes"] == given.bytes
    assert values["bitrate"] == given.bytes * 2
    assert values["asked_again"] == given.nacks
    assert values["repaired"] == given.repaired
    assert values["late.max"] == 2.0
    assert values["halts"] == 0
    assert all(row.row == "publish" for row in told.values())


def test_without_reports_there_is_no_round_trip() -> None:
    lag = played([])
    for rtt_ms in (None, 12.5):
        found = figures(dataclasses.replace(report(), rtt_ms=rtt_ms), lag, 1.0)
        (row,) = [row for row in rows(found) if row.name == "publish.round_trip"]
        assert row.value == rtt_ms
        assert (row.why is None) is (rtt_ms is not None)
        assert ("round trip 12.5 ms" in line(found, None)) is (rtt_ms is not None)


def test_the_line_tells_the_newest_bitrate() -> None:
    lag = played([0.0, 0.002])
    before = figures(dataclasses.replace(report(), bytes=1_000_000), lag, 10.0)
    now = figures(dataclasses.replace(report(), bytes=1_500_000, packets=4_321), lag, 12.0)
    assert line(now, None).startswith("4321 packets, 1.00 Mbit/s, ")
    assert line(now, before).startswith("4321 packets, 2.00 Mbit/s, ")
    assert line(now, before).endswith("p99 2.0 ms late")


# The command -------------------------------------------------------------------------------------


def test_nothing_is_gathered_or_padded_on_the_way() -> None:
    given = Config()
    config = for_publishing(given)
    assert config.engine.frame_window_ms == 0
    assert config.engine.padding is False
    assert config.engine.gso is given.engine.gso
    assert config.log == given.log


def begin(url: str, options: publish.Options) -> int:
    def say(message: str, /, *, err: bool = False) -> None:
        raise AssertionError(message)

    return publish.run(Config(), Target(url), options, Output((), say))


def test_what_keeps_it_from_beginning(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--i-may-load-this-host"):
        begin("http://192.0.2.1/whip/show", publish.Options())
    with pytest.raises(ConfigError, match="looks like https://host"):
        begin("nonsense", publish.Options())
    with pytest.raises(MediaError, match="cannot be read"):
        begin("http://127.0.0.1:9/whip", publish.Options(trace=tmp_path / "nowhere.csv"))
    with pytest.raises(MediaError, match="audio has no video"):
        begin("http://127.0.0.1:9/whip", publish.Options(profile="audio", video_only=True))
