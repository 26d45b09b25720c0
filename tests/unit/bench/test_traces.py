"""Traces are what their names say, come back as they were written, and bad files are told."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from pyforward.errors import ConfigError, MediaError
from pyforward.media import rtp, rtpdump
from pyforward.media.demo import Demo
from pyforward_bench import traces
from pyforward_bench.payloads import Video
from pyforward_bench.publish.options import Options
from pyforward_bench.traces import Frame, Trace, model, table

HEADER = "due_us,track,bytes,flags\n"


# What is shipped ---------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["1080p30", "720p30"])
def film(request: pytest.FixtureRequest) -> Trace:
    return traces.profile(request.param)


def frames(trace: Trace, kind: str) -> list[Frame]:
    return [frame for frame in trace.frames if frame.kind == kind]


def test_the_rates_of_the_profiles() -> None:
    near = {"1080p30": 2_500_000, "720p30": 1_500_000}
    for name, bits_per_s in near.items():
        trace = traces.profile(name)
        assert trace.kinds == ("video", "audio")
        assert trace.bits_per_s("video") == pytest.approx(bits_per_s, rel=0.02)
        assert trace.bits_per_s("audio") == pytest.approx(64_000, rel=0.02)
        assert f"{trace.height}p30" == name
    audio = traces.profile("audio")
    assert audio.kinds == ("audio",)
    assert audio.bits_per_s("audio") == pytest.approx(64_000, rel=0.02)
    assert audio.packets("audio") == 500
    assert sorted([*near, "audio"]) == sorted(traces.PROFILES)


def test_overhead_counts_for_each_packet() -> None:
    audio = traces.profile("audio")
    assert audio.bits_per_s("audio", 12) == pytest.approx(audio.bits_per_s("audio") + 50 * 12 * 8)


def test_frames_are_even_in_time(film: Trace) -> None:
    assert film.duration_us == 10_000_000
    video, audio = frames(film, "video"), frames(film, "audio")
    assert len(video) == 300
    assert {b.due_us - a.due_us for a, b in pairwise(video)} == {33_333, 33_334}
    assert {b.due_us - a.due_us for a, b in pairwise(audio)} == {20_000}
    assert (film.step_us("video"), film.step_us("audio")) == (33_333, 20_000)
    assert [f.due_us for f in film.frames] == sorted(f.due_us for f in film.frames)


def test_a_keyframe_every_two_seconds_and_larger_than_others(film: Trace) -> None:
    video = frames(film, "video")
    assert [number for number, frame in enumerate(video) if frame.keyframe] == [
        0,
        60,
        120,
        180,
        240,
    ]
    keyframes = [sum(frame.sizes) for frame in video if frame.keyframe]
    others = [sum(frame.sizes) for frame in video if not frame.keyframe]
    assert min(keyframes) > sorted(others)[len(others) // 2]
    assert len(set(others)) > 200, "sizes spread as an encoder's do"


def test_packets_of_a_frame_are_even_and_the_shorter_ones_come_first(film: Trace) -> None:
    for frame in frames(film, "video"):
        sizes = list(frame.sizes)
        if frame.keyframe:
            assert sizes.pop(0) == Video(film.height).least_parameters_bytes
        assert sizes == sorted(sizes)
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= rtp.MOST_PAYLOAD_BYTES
        assert len(sizes) == 1 or sum(sizes) > (len(sizes) - 1) * (rtp.MOST_PAYLOAD_BYTES - 3)


def test_sizes_of_sound_spread() -> None:
    sizes = [size for frame in traces.profile("audio").frames for size in frame.sizes]
    assert len(set(sizes)) > 50
    assert min(sizes) >= 25, "each has room for a stamp"


def test_what_is_shipped_is_small_and_written_as_it_is_read() -> None:
    for name in traces.PROFILES:
        path = Path(traces.__file__).with_name(f"{name}.csv")
        text = path.read_text()
        assert len(text) < 80_000
        about = [line[2:] for line in text.splitlines() if line.startswith("# ")]
        assert table.written(traces.read(path).frames, about) == text


# Choosing ----------------------------------------------------------------------------------------


def test_one_track_alone(film: Trace) -> None:
    video = film.only(["video"])
    assert video.kinds == ("video",)
    assert video.duration_us == film.duration_us
    assert video.height == film.height
    assert Options(profile=film.name, video_only=True).load() == video
    with pytest.raises(MediaError, match="audio has no video"):
        traces.profile("audio").only(["video"])


def test_a_file_goes_before_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(HEADER + "0,audio,100,\n")
    assert Options(trace=path, profile="1080p30").load().frames == (Frame(0, "audio", (100,)),)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Options(profile="4k"), "'4k': there are 1080p30, 720p30, audio"),
        (lambda: Options(rate=0), "--rate 0"),
        (lambda: Options(rate=float("nan")), "--rate nan"),
        (lambda: Options(rate=101), "--rate 101"),
        (lambda: Options(duration_s=-1), "--duration -1"),
        (lambda: Options(duration_s=float("inf")), "--duration inf"),
        (lambda: Options(trace=Path("x"), bitrate_kbps=1), "take one"),
        (lambda: Options(bitrate_kbps=1).load(), "8 kbit/s to 1 Gbit/s"),
        (lambda: Options(bitrate_kbps=100, fps=0).load(), "1 to 1,000 frames/s"),
        (lambda: Options(bitrate_kbps=float("nan")).load(), "8 kbit/s to 1 Gbit/s"),
    ],
)
def test_options_that_cannot_be(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


# On the fly --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits_per_s", "frames_per_s"), [(8_000, 1), (300_000, 15), (4e6, 60), (50e6, 30), (1e9, 1_000)]
)
def test_a_trace_at_any_rate(bits_per_s: float, frames_per_s: float) -> None:
    trace = traces.generated(bits_per_s, frames_per_s)
    assert trace.kinds == ("video",)
    assert trace.bits_per_s("video") == pytest.approx(bits_per_s, rel=0.01)
    assert trace.duration_us == pytest.approx(2e6, abs=1_000)
    assert [frame.keyframe for frame in trace.frames].count(True) == 1
    assert len(trace.frames) == 2 * frames_per_s
    assert trace.frames[0].keyframe
    sizes = [size for frame in trace.frames for size in frame.sizes]
    assert 1 <= min(sizes) <= max(sizes) <= rtp.MOST_PAYLOAD_BYTES


@pytest.mark.parametrize("total", [1, 1_188, 1_189, 2_376, 2_377, 100_003])
def test_even_sizes(total: int) -> None:
    sizes = traces.even_sizes(total)
    assert sum(sizes) == total
    assert sizes == sorted(sizes)
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-total // 1_188)


def test_a_trace_of_one_moment_is_no_flood() -> None:
    assert Trace("one", (Frame(5, "audio", (100,)),)).duration_us == 1_000_005


# CSV ---------------------------------------------------------------------------------------------


def read(tmp_path: Path, data: str | bytes) -> Trace:
    path = tmp_path / "own.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return traces.read(path)


def test_packets_become_frames(tmp_path: Path) -> None:
    rows = "0,video,78,k\r\n10,audio,100,\n20,video,900,km\n30,video,500,m\n"
    assert read(tmp_path, f"# about\n\n{HEADER}{rows}# end\n").frames == (
        Frame(0, "video", (78, 900), keyframe=True),
        Frame(10, "audio", (100,)),
        Frame(30, "video", (500,)),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no packets"),
        (HEADER, "has no packets"),
        ("0,video,1,m\n", "line 1: a trace begins with"),
        (f"# x\n{HEADER}0,video,1\n", "line 3: 3 columns instead of 4"),
        (f"{HEADER}0,text,1,\n", "line 2: the track is 'text'"),
        (f"{HEADER}0,video,1,z\n", "line 2: the flags are 'z'"),
        (f"{HEADER}0,video,0,m\n", "line 2: bytes is '0'"),
        (f"{HEADER}0,video,1189,m\n", "line 2: bytes is '1189', not a number from 1 to 1188"),
        (f"{HEADER}0,video,,m\n", "line 2: bytes is ''"),
        (f"{HEADER}-1,video,1,m\n", "line 2: due_us is '-1'"),
        (f"{HEADER}1e3,video,1,m\n", "line 2: due_us is '1e3'"),
        (f"{HEADER}86400000001,video,1,m\n", "line 2: due_us is '86400000001'"),
        (f"{HEADER}{'9' * 5_000},video,1,m\n", "line 2: due_us is '99999999999999999999', "),
        (f"{HEADER}5,video,1,m\n4,video,1,m\n", "line 3: due_us goes back from 5 to 4"),
        (f"{HEADER}5,video,1,\n", "its last video frame has no end"),
        (b"due_us\n\xff", "line 2: a trace is plain ASCII text"),
        (b"\x7fELF\0\1\2", "line 1: a trace begins with"),
    ],
)
def test_files_that_are_no_traces(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=message) as caught:
        read(tmp_path, text)
    assert "own.csv" in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_no_more_packets_than_are_bearable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MOST_PACKETS", 3)
    read(tmp_path, HEADER + "0,audio,9,\n" * 3)
    with pytest.raises(MediaError, match="line 5: a trace has at most 3 packets"):
        read(tmp_path, HEADER + "0,audio,9,\n" * 4)


def test_no_more_bytes_than_are_bearable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MOST_FILE_BYTES", 100)
    with pytest.raises(MediaError, match="no trace needs that"):
        read(tmp_path, HEADER + "0,audio,9,\n" * 10)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot be read: No such file or directory"):
        traces.read(tmp_path / "nowhere.csv")
    with pytest.raises(MediaError, match="cannot be read: Is a directory"):
        traces.read(tmp_path)


# Recordings --------------------------------------------------------------------------------------


def test_the_recording_of_the_demo_is_a_trace(tmp_path: Path) -> None:
    demo = Path(rtpdump.__file__).with_name("demo.rtp")
    trace = traces.read(demo)
    records = rtpdump.read(demo.read_bytes())
    assert trace.kinds == ("video", "audio")
    assert trace.duration_us == pytest.approx(20e6, abs=100)
    assert trace.packets("video") == sum(record.payload_type == 96 for record in records)
    assert 8 * sum(len(record.packet) for record in records if record.payload_type == 96) / 20 == (
        pytest.approx(trace.bits_per_s("video", 12), rel=1e-3)
    )
    video = frames(trace, "video")
    assert [number for number, frame in enumerate(video) if frame.keyframe] == [
        number for number in range(600) if number % 60 == 0
    ]
    bursts = [burst for burst, _ in zip(Demo.load().bursts(), trace.frames, strict=False)]
    assert [burst.kind for burst in bursts] == [frame.kind for frame in trace.frames]
    for burst, frame in zip(bursts, trace.frames, strict=True):
        assert burst.due_s == pytest.approx(frame.due_us / 1e6, abs=0.001)
        assert [len(packet) - 12 for packet in burst.packets] == list(frame.sizes)


def packet(
    payload: bytes = b"\x41payload", kind: int = 96, ticks: int = 0, first: int = 0x80
) -> rtpdump.Record:
    head = bytes((first, kind)) + bytes(2) + ticks.to_bytes(4, "big") + bytes(4)
    return rtpdump.Record(0, head + payload)


def recording(tmp_path: Path, *records: rtpdump.Record) -> Trace:
    return read(tmp_path, rtpdump.write(records))


def test_extensions_and_padding_are_no_payload(tmp_path: Path) -> None:
    extended = packet(b"\xbe\xde\0\1" + bytes(4) + b"\x41" * 50 + b"\0\0\3", first=0xB0)
    sourced = packet(bytes(8) + b"\x41" * 20, first=0x82)
    trace = recording(tmp_path, extended, sourced)
    assert trace.frames == (Frame(0, "video", (50, 20)),)


def test_timestamps_that_wrap_go_on(tmp_path: Path) -> None:
    late = (1 << 32) - 90
    trace = recording(tmp_path, packet(ticks=late), packet(ticks=0), packet(ticks=90))
    assert [frame.due_us for frame in trace.frames] == [0, 1_000, 2_000]


@pytest.mark.parametrize(
    ("payload", "keyframe"),
    [
        (b"\x65\x88", True),
        (b"\x41\x9a", False),
        (b"\x7c\x85", True),
        (b"\x7c\x45", True),
        (b"\x5c\x81", False),
        (b"\x7c", False),
        (b"\x78\0\2\x67\1\0\2\x65\1", True),
        (b"\x78\0\2\x67\1\0\2\x68\1", False),
        (b"\x78\0", False),
        (b"\x78\xff\xff\x65", True),
    ],
)
def test_keyframes_are_seen(payload: bytes, keyframe: bool, tmp_path: Path) -> None:
    (frame,) = recording(tmp_path, packet(payload)).frames
    assert frame.keyframe is keyframe


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ((), "has no packets"),
        ((packet(), packet(kind=97)), "packet 2: its payload type is 97"),
        ((packet(b""),), "packet 1: its payload is not of 1 to 1188 bytes"),
        ((packet(bytes(1_189)),), "packet 1: its payload"),
        ((packet(b"\x41\xff", first=0xA0),), "packet 1: its payload"),
        ((packet(b"\x41", first=0x90),), "packet 1: its payload"),
        ((packet(b"\x41", first=0x8F),), "packet 1: its payload"),
        ((packet(ticks=90), packet(ticks=0)), "packet 2: its timestamp is before the first"),
    ],
)
def test_recordings_that_are_no_traces(
    records: tuple[rtpdump.Record, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(MediaError, match=message):
        recording(tmp_path, *records)


def test_a_recording_of_days(tmp_path: Path) -> None:
    steps = [packet(ticks=number * 0x7000_0000 % (1 << 32)) for number in range(5)]
    with pytest.raises(MediaError, match="packet 6: its timestamp"):
        recording(tmp_path, *steps, packet(ticks=5 * 0x7000_0000 % (1 << 32)))


def test_a_recording_that_is_cut(tmp_path: Path) -> None:
    data = rtpdump.write([packet()])
    with pytest.raises(MediaError, match="wrong length"):
        read(tmp_path, data[:-1])
    assert model.MOST_PACKETS <= rtpdump.MOST_RECORDS
