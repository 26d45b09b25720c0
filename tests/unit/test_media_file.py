"""A media file becomes packets that say what the file says, or is refused with the way out."""

from __future__ import annotations

import builtins
import random
import shlex
from dataclasses import replace
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import av
import pytest
from aiortc.codecs.h264 import H264PayloadDescriptor
from aiortc.codecs.vpx import VpxPayloadDescriptor
from av.video.codeccontext import VideoCodecContext

from pyforward.errors import HostError, MediaError
from pyforward.media import avc, container, conversion
from pyforward.media.demo import Demo
from pyforward.media.file import Frame, MediaFile
from pyforward.media.packetizers import h264
from pyforward.media.source import Burst, Source
from tests.unit import recordings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def mp4(folder: Path) -> Path:
    """H.264 baseline and Opus: times to the sample, parameter sets out of band."""
    return recordings.make(folder / "plain.mp4")


@pytest.fixture(scope="module")
def webm(folder: Path) -> Path:
    """VP8 and Opus: times in milliseconds."""
    return recordings.make(folder / "plain.webm", video="libvpx", video_options=recordings.VP8)


def of(kind: str, found: list[Frame]) -> list[Frame]:
    return [frame for frame in found if frame.kind == kind]


def samples_within(path: Path, kind: str) -> list[bytes]:
    """What PyAV itself reads."""
    with av.open(str(path)) as file:
        packets = file.demux(file.streams.best(kind))  # type: ignore[arg-type]
        return [bytes(packet) for packet in packets if packet.size]


def decoded(codec: str, frames: list[bytes]) -> int:
    """How many pictures a decoder makes of them, without what a container would tell it."""
    context = av.codec.CodecContext.create(codec, "r")
    assert isinstance(context, VideoCodecContext)
    pictures = [p for frame in frames for p in context.decode(av.Packet(frame))]
    return len(pictures) + len(context.decode(None))


# Frames ------------------------------------------------------------------------------------------


def test_all_frames_in_the_order_of_their_time(mp4: Path) -> None:
    found = list(MediaFile(mp4).frames())
    assert len(of("video", found)) == 30
    assert len(of("audio", found)) in (50, 51)
    assert [f.time_s for f in found] == sorted(f.time_s for f in found)
    assert found[0].timestamp == 0
    assert {b.timestamp - a.timestamp for a, b in pairwise(of("video", found))} == {3_000}
    assert {b.timestamp - a.timestamp for a, b in pairwise(of("audio", found))} == {960}
    for frame in found:
        clock_hz = 90_000 if frame.kind == "video" else 48_000
        assert frame.time_s == frame.timestamp / clock_hz


def test_h264_comes_in_annex_b_with_parameter_sets_before_each_keyframe(mp4: Path) -> None:
    frames = of("video", list(MediaFile(mp4).frames()))
    assert [n for n, frame in enumerate(frames) if frame.keyframe] == [0, 15]
    for frame in frames:
        kinds = [unit[0] & 0x1F for unit in h264.nal_units(frame.data) if unit[0] & 0x1F != 6]
        assert kinds == ([7, 8, 5] if frame.keyframe else [1])
    assert decoded("h264", [frame.data for frame in frames]) == 30
    assert decoded("h264", [frame.data for frame in frames[15:]]) == 15


def test_vp8_and_opus_come_as_they_are(webm: Path) -> None:
    found = list(MediaFile(webm).frames())
    for kind in ("video", "audio"):
        assert [frame.data for frame in of(kind, found)] == samples_within(webm, kind)
    assert [n for n, f in enumerate(of("video", found)) if f.keyframe] == [0, 15]


def test_what_a_container_rounds_off_is_given_back_to_opus(webm: Path) -> None:
    frames = of("audio", list(MediaFile(webm).frames()))
    assert {b.timestamp - a.timestamp for a, b in pairwise(frames)} == {960}


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".mp4"])
def test_parameter_sets_are_not_doubled(folder: Path, suffix: str) -> None:
    path = recordings.make(folder / f"container{suffix}")
    frames = of("video", list(MediaFile(path).frames()))
    assert len(frames) == 30
    for frame in frames:
        assert len(avc.parameter_sets(frame.data)) == (2 if frame.keyframe else 0)
    assert decoded("h264", [frame.data for frame in frames]) == 30


@pytest.mark.parametrize(("video", "audio"), [("libx264", None), (None, "libopus")])
def test_one_track_is_enough(folder: Path, video: str | None, audio: str | None) -> None:
    file = MediaFile(recordings.make(folder / f"{video}-{audio}.mp4", video=video, audio=audio))
    assert len(file.tracks()) == 1
    assert {frame.kind for frame in file.frames()} == {"video" if video else "audio"}
    assert (file.video_bits_per_s > 0) is (video is not None)


@pytest.mark.parametrize("name", ["plain.mp4", "plain.webm"])
def test_a_loop_runs_on_without_going_back(mp4: Path, webm: Path, name: str) -> None:
    path = mp4 if name == mp4.name else webm
    once = list(MediaFile(path).frames())
    looped = list(islice(MediaFile(path, loop=True).frames(), 5 * len(once)))
    assert [f.data for f in looped] == [f.data for f in once] * 5
    assert [f.time_s for f in looped] == sorted(f.time_s for f in looped)
    for kind, step in (("video", 3_000), ("audio", 960)):
        times = [frame.timestamp for frame in of(kind, looped)]
        seams = [times[n * len(times) // 5] - times[n * len(times) // 5 - 1] for n in range(1, 5)]
        # The shorter track waits for the longer one; they differ by one packet of Opus or less.
        assert all(step - 90 <= seam <= step + 0.05 * 90_000 for seam in seams)
    lap_s = (looped[2 * len(once)].time_s - looped[len(once)].time_s, looped[len(once)].time_s)
    assert lap_s[0] == pytest.approx(lap_s[1], abs=1e-6), "every turn takes as long"


def test_a_turn_lasts_until_its_longest_track_has_ended(folder: Path) -> None:
    """One picture for a second, and sound for half of it."""
    path = recordings.make(folder / "slide.mp4", rate=1, seconds=0.5)
    pictures = (frame for frame in MediaFile(path, loop=True).frames() if frame.kind == "video")
    times = [frame.timestamp for frame in islice(pictures, 4)]
    # The sound begins 6.5 ms before, with what its decoder skips.
    assert {b - a for a, b in pairwise(times)} == {90_000 + 585}


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> list[container.Sample]:
    """What the file "film.webm" holds, instead of a file: VP8 alone."""
    track = container.Track("video", "vp8", 0, b"", 0)
    held: list[container.Sample] = []
    monkeypatch.setattr(container, "contents", lambda path: container.Contents((track,), None))
    monkeypatch.setattr(container, "samples", lambda path, track: iter(held))
    return held


def sample(time_ms: int, duration_ms: int = 0, data: bytes = b"\x10\0\0") -> container.Sample:
    time = Fraction(time_ms, 1_000)
    return container.Sample(time, time, Fraction(duration_ms, 1_000), data)


def test_frames_of_one_time_get_timestamps_of_their_own(samples: list[container.Sample]) -> None:
    samples += [sample(500), sample(533), sample(533), sample(566)]
    assert [f.timestamp for f in MediaFile(Path("film.webm")).frames()] == [0, 2_970, 2_971, 5_940]


@pytest.mark.parametrize(("duration_ms", "next_ms"), [(100, 140), (0, 80)])
def test_the_last_frame_lasts_as_the_file_says_or_as_the_one_before(
    samples: list[container.Sample], duration_ms: int, next_ms: int
) -> None:
    samples += [sample(0), sample(40, duration_ms)]
    frames = islice(MediaFile(Path("film.webm"), loop=True).frames(), 3)
    assert [frame.timestamp // 90 for frame in frames] == [0, 40, next_ms]


def test_a_loop_ends_when_nothing_is_left(samples: list[container.Sample]) -> None:
    samples += [sample(0), sample(40)]
    frames = MediaFile(Path("film.webm"), loop=True).frames()
    next(frames)
    samples.clear()
    with pytest.raises(MediaError, match="no frames any more"):
        list(frames)


def test_video_without_a_keyframe_is_refused(samples: list[container.Sample]) -> None:
    samples += [sample(0, data=b"\x11\0\0"), sample(40, data=b"\x11\0\0")]
    assert "have no keyframe" in refusal(Path("film.webm"))[0]


def test_times_that_go_back_are_refused(samples: list[container.Sample]) -> None:
    samples += [sample(0), sample(40), sample(20)]
    with pytest.raises(MediaError, match=r"the times of its video go back to 0\.020 s"):
        MediaFile(Path("film.webm"))


def test_a_track_without_a_frame_is_refused(samples: list[container.Sample]) -> None:
    with pytest.raises(MediaError, match="has video, but not one frame of it"):
        MediaFile(Path("film.webm"))


def test_parameter_sets_may_be_in_band_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recordings.make(folder / "in-band.ts", audio=None)
    contents = container.contents(path)
    bare = tuple(replace(track, extradata=b"") for track in contents.tracks)
    monkeypatch.setattr(container, "contents", lambda path: replace(contents, tracks=bare))
    file = MediaFile(path)
    assert [unit[0] & 0x1F for unit in file.tracks()[0].parameter_sets] == [7, 8]
    assert "profile-level-id=42" in file.fmtp("video")


def test_the_cover_of_a_music_file_is_no_video(folder: Path) -> None:
    path = recordings.make(
        folder / "music.mp4",
        video="mjpeg",
        video_options={},
        pix_fmt="yuvj420p",
        rate=1,
        cover=True,
    )
    assert MediaFile(path).codecs == {"audio": "opus"}


def test_a_loop_ends_when_the_file_is_gone(folder: Path) -> None:
    path = recordings.make(folder / "going.mp4", audio=None, seconds=0.2)
    frames = MediaFile(path, loop=True).frames()
    next(frames)
    path.unlink()
    with pytest.raises(MediaError, match="no file"):
        list(frames)


# Packets -----------------------------------------------------------------------------------------


def test_packets_carry_the_frames(mp4: Path, webm: Path) -> None:
    for path in (mp4, webm):
        file = MediaFile(path)
        frames, bursts = list(file.frames()), list(file.bursts())
        assert [(f.time_s, f.kind) for f in frames] == [(b.due_s, b.kind) for b in bursts]
        for frame, burst in zip(frames, bursts, strict=True):
            assert carried(burst, file.codecs[burst.kind]) == frame.data


def carried(burst: Burst, codec: str) -> bytes:
    payloads = [packet[12:] for packet in burst.packets]
    match codec:
        case "h264":
            return b"".join(H264PayloadDescriptor.parse(p)[1] for p in payloads)
        case "vp8":
            return b"".join(VpxPayloadDescriptor.parse(p)[1] for p in payloads)
        case _:
            return b"".join(payloads)


def test_headers_are_those_of_the_tracks(mp4: Path) -> None:
    file = MediaFile(mp4)
    tracks = {track.kind: track for track in file.tracks()}
    for kind, track in tracks.items():
        bursts = [burst for burst in file.bursts() if burst.kind == kind]
        packets = [packet for burst in bursts for packet in burst.packets]
        assert all(packet[0] == 0x80 and len(packet) <= 1_200 for packet in packets)
        assert {packet[1] & 0x7F for packet in packets} == {track.payload_type}
        assert {int.from_bytes(packet[8:12], "big") for packet in packets} == set(track.ssrcs)
        numbers = [int.from_bytes(packet[2:4], "big") for packet in packets]
        assert numbers[0] < 0x8000
        assert {b - a for a, b in pairwise(numbers)} == {1}
        for burst in bursts:
            markers = [packet[1] >> 7 for packet in burst.packets]
            assert markers == [0] * (len(markers) - 1) + [int(kind == "video")]
            assert len({packet[4:8] for packet in burst.packets}) == 1


def test_picture_ids_count_the_frames(webm: Path) -> None:
    bursts = [burst for burst in MediaFile(webm).bursts() if burst.kind == "video"]
    ids = [VpxPayloadDescriptor.parse(burst.packets[0][12:])[0].picture_id for burst in bursts]
    assert ids == list(range(30))


def test_numbers_begin_at_random_and_each_reading_begins_anew(mp4: Path) -> None:
    file = MediaFile(mp4, chance=random.Random(1))
    first = [burst.packets for burst in file.bursts()]
    assert first == [burst.packets for burst in file.bursts()]
    assert first == [b.packets for b in MediaFile(mp4, chance=random.Random(1)).bursts()]
    others = [MediaFile(mp4, chance=random.Random(n)).tracks()[0].ssrcs for n in range(5)]
    assert len(set(others)) == 5


def test_what_an_offer_needs(mp4: Path, webm: Path) -> None:
    file = MediaFile(mp4)
    video, audio = file.tracks()
    assert (video.codec, video.clock_rate, audio.codec, audio.clock_rate) == (
        "h264",
        90_000,
        "opus",
        48_000,
    )
    assert [unit[0] & 0x1F for unit in video.parameter_sets] == [7, 8]
    level = video.parameter_sets[0][1:4].hex()
    assert level.startswith("42")
    assert file.fmtp("video") == (
        f"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={level}"
    )
    assert "stereo=1" in file.fmtp("audio")
    assert MediaFile(webm).fmtp("video") == ""
    assert file.duration_s == pytest.approx(1.0, abs=0.1)


def test_the_rate_is_the_video_s(mp4: Path) -> None:
    file = MediaFile(mp4)
    total = sum(len(frame.data) for frame in file.frames() if frame.kind == "video")
    assert file.video_bits_per_s == pytest.approx(8 * total / 1.0, rel=0.1)


def test_a_file_and_the_demo_are_the_same_to_a_publisher(mp4: Path) -> None:
    sources: list[Source] = [MediaFile(mp4), Demo.load()]
    for source in sources:
        assert [track.kind for track in source.tracks()] == ["video", "audio"]
        assert "profile-level-id=42" in source.fmtp("video")
        assert source.video_bits_per_s > 1_000
        burst = next(source.bursts())
        assert burst.due_s == 0
        assert burst.packets


# Refusals ----------------------------------------------------------------------------------------


def refusal(path: Path) -> tuple[str, list[str]]:
    """The sentence, and the words of its command."""
    with pytest.raises(MediaError) as caught:
        MediaFile(path)
    reason, _, command = str(caught.value).partition(" Convert it: ")
    return reason, shlex.split(command)


def test_b_frames_are_refused(folder: Path) -> None:
    path = recordings.make(folder / "b.mp4", video_options=recordings.B_FRAMES)
    reason, command = refusal(path)
    assert "b.mp4 cannot be sent as it is: its video has B-frames (the first is at 0.0" in reason
    assert command == [
        *("ffmpeg", "-i", str(path)),
        *("-c:v", "libx264", "-profile:v", "baseline", "-pix_fmt", "yuv420p"),
        *("-bf", "0", "-g", "60", "-c:a", "copy"),
        str(folder / "b-webrtc.mp4"),
    ]


def test_b_frames_after_the_first_seconds_are_refused_on_the_way(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recordings.make(folder / "late-b.mp4", video_options=recordings.B_FRAMES)
    monkeypatch.setattr("pyforward.media.file.EXAMINED_S", 0.02)
    bursts = MediaFile(path).bursts()
    with pytest.raises(MediaError, match="has B-frames"):
        list(bursts)


def test_other_codecs_are_refused_and_what_can_stay_stays(folder: Path) -> None:
    reason, command = refusal(recordings.make(folder / "aac.mp4", audio="aac"))
    assert "its audio is aac, not Opus" in reason
    assert ("-c:v", "copy") in pairwise(command)
    assert ("-c:a", "libopus") in pairwise(command)
    options = {"strict": "experimental"}
    path = recordings.make(folder / "4.mp4", video="mpeg4", video_options=options)
    reason, command = refusal(path)
    assert "its video is mpeg4, not H.264 or VP8" in reason
    assert ("-c:v", "libx264") in pairwise(command)
    assert ("-c:a", "copy") in pairwise(command)
    path = recordings.make(folder / "both.mkv", video="mpeg4", video_options=options, audio="aac")
    assert "its video is mpeg4, not H.264 or VP8 and its audio is aac, not Opus" in refusal(path)[0]


def test_vp8_that_stays_goes_into_webm(folder: Path) -> None:
    options = recordings.VP8
    path = recordings.make(folder / "8.mkv", video="libvpx", video_options=options, audio="aac")
    assert refusal(path)[1][-1] == str(folder / "8-webrtc.webm")


def test_more_than_two_channels_are_refused(folder: Path) -> None:
    path = recordings.make(folder / "surround.mp4", audio="libopus", layout="5.1")
    assert "its audio has 6 channels, more than two" in refusal(path)[0]


def test_a_profile_that_no_browser_takes_is_refused(folder: Path) -> None:
    options = {"preset": "ultrafast", "bf": "0"}
    path = recordings.make(folder / "444.mp4", video_options=options, pix_fmt="yuv444p")
    assert "its H.264 profile, f4" in refusal(path)[0]


def test_frames_without_a_time_are_refused(folder: Path) -> None:
    path = recordings.make(folder / "bare.h264", audio=None)
    assert "its video has frames without a time" in refusal(path)[0]


def test_what_is_no_media_is_refused(folder: Path, mp4: Path) -> None:
    (folder / "text.mp4").write_text("not a film at all\n" * 100)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "cut.mp4").write_bytes(mp4.read_bytes()[:400])
    for name in ("text.mp4", "empty.mp4", "cut.mp4"):
        with pytest.raises(MediaError, match=rf"{name} cannot be read: \w"):
            MediaFile(folder / name)
    for path in (folder / "nothing.mp4", folder):
        with pytest.raises(MediaError, match="There is no file"):
            MediaFile(path)


def test_subtitles_alone_are_no_media(folder: Path) -> None:
    path = folder / "words.srt"
    path.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    with pytest.raises(MediaError, match="has neither video nor audio"):
        MediaFile(path)


def test_a_broken_frame_names_its_time(folder: Path, mp4: Path) -> None:
    data = bytearray(mp4.read_bytes())
    frame = samples_within(mp4, "video")[12]
    at = data.index(frame)
    data[at : at + 4] = b"\x7f\xff\xff\xff"
    path = folder / "broken.mp4"
    path.write_bytes(data)
    with pytest.raises(MediaError, match=r"broken\.mp4, at 0\.4\d\d s: .* claims 2147483647 bytes"):
        MediaFile(path)


def test_without_pyav_it_says_what_to_install(mp4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_av(name: str, *rest: object) -> object:
        if name == "av":
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_av)
    with pytest.raises(HostError, match=r"pip install 'pyforward\[media\]'"):
        MediaFile(mp4)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("my film.mov", "my film.mov", "my film-webrtc.mp4"),
        ("it's.mov", "it's.mov", "it's-webrtc.mp4"),
        ("10:30.mov", "file:10:30.mov", "file:10:30-webrtc.mp4"),
        ("-y.mov", "file:-y.mov", "file:-y-webrtc.mp4"),
    ],
)
def test_a_name_reaches_ffmpeg_as_it_is(name: str, first: str, last: str) -> None:
    words = shlex.split(conversion.line(Path(name)))
    assert (words[2], words[-1]) == (first, last)


# The H.264 configuration -------------------------------------------------------------------------

SPS, PPS = b"\x67\x42\xe0\x1e\xab", b"\x68\xce\x3c"
RECORD = b"\x01\x42\xe0\x1e\xff\xe1\x00\x05" + SPS + b"\x01\x00\x03" + PPS


def test_a_configuration_record_is_read() -> None:
    assert avc.configuration(RECORD) == avc.Configuration(4, (SPS, PPS))
    assert avc.configuration(RECORD + b"\xfd\xf8\xf8\0") == avc.Configuration(4, (SPS, PPS))
    short = bytes([*RECORD[:4], 0xFD, *RECORD[5:]])
    assert avc.configuration(short).length_bytes == 2
    assert avc.configuration(b"\0\0\1" + SPS + b"\0\0\0\1" + PPS) == avc.Configuration(
        0, (SPS, PPS)
    )
    assert avc.configuration(b"") == avc.Configuration(0, ())
    assert avc.profile_level_id((PPS, SPS)) == "42e01e"


def test_a_cut_configuration_record_is_refused() -> None:
    for cut in range(1, len(RECORD)):
        with pytest.raises(MediaError):
            avc.configuration(RECORD[:cut])
    with pytest.raises(MediaError, match="unknown kind"):
        avc.configuration(b"\x02" + RECORD[1:])
    with pytest.raises(MediaError, match="no sequence parameter set"):
        avc.profile_level_id((PPS,))


def test_only_a_keyframe_without_an_sps_gets_the_configured_ones() -> None:
    given = avc.Configuration(4, (SPS, PPS))

    def prefixed(*units: bytes) -> bytes:
        return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)

    def kinds(*units: bytes) -> list[int]:
        data = avc.access_unit(prefixed(*units), given).data
        return [unit[0] & 0x1F for unit in h264.nal_units(data)]

    assert kinds(b"\x65a") == [7, 8, 5]
    assert kinds(b"\x06a", b"\x65a") == [7, 8, 6, 5]
    assert kinds(SPS, PPS, b"\x65a") == [7, 8, 5]
    assert kinds(b"\x41a") == [1]
