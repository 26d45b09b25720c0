"""Makes ``bench/pyforward_bench/traces/*.csv``: 10 s of packet times and sizes each, to be looped.

``1080p30`` is H.264 at 2.5 Mbit/s with a keyframe every 2 s, ``720p30`` the same at 1.5 Mbit/s, and
each has the sound of ``audio`` too, which is Opus at 64 kbit/s in packets of 20 ms. The pictures
are synthetic: a camera that pans over hills, nearer ones faster, now hastening and now at rest,
with a grain that no encoder foresees. So is the sound: a voice that sings and hisses. Encoders set
for live use make sizes of them that vary as those of a real stream do.

It needs PyAV (see ``encoders.py``). All repeats after 10 s, so that it can be looped.
"""

from __future__ import annotations

import math
import random
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

from pyforward.commands import Kind
from pyforward.media.packetizers import h264
from pyforward.media.rtp import MOST_PAYLOAD_BYTES
from pyforward_bench.payloads import Video
from pyforward_bench.traces import Frame, Trace
from pyforward_bench.traces.table import written
from scripts import encoders
from scripts.encoders import SAMPLES_PER_PACKET, SAMPLES_PER_S, Planes

TARGET = Path(__file__).resolve().parents[1] / "bench" / "pyforward_bench" / "traces"

FRAMES_PER_S = 30
LOOP_S = 10
FRAMES = LOOP_S * FRAMES_PER_S
KEYFRAME_FRAMES = 2 * FRAMES_PER_S

AUDIO_BITS_PER_S = 64_000
# What makes the encoder meet that with this sound.
ENCODER_AUDIO_BITS_PER_S = 61_500
# A rate off by more is not what the name says.
MOST_DEVIATION = 0.02


@dataclass(frozen=True)
class Profile:
    """``encoder_bits_per_s`` is what makes the encoder meet ``bits_per_s`` of RTP payload."""

    name: str
    width: int
    height: int
    level: str
    bits_per_s: int
    encoder_bits_per_s: int


PROFILES = (
    Profile("1080p30", 1920, 1080, "4.0", 2_500_000, 2_605_000),
    Profile("720p30", 1280, 720, "3.1", 1_500_000, 1_530_000),
)


# The picture -------------------------------------------------------------------------------------

TILE = 512


def hills(seed: int, octaves: int, low: int, high: int, size: int = TILE) -> list[bytes]:
    """A square of smooth noise, row by row, that goes on at its edges as it begins."""
    chance = random.Random(seed)
    heights = [[0.0] * size for _ in range(size)]
    for octave in range(octaves):
        cells = 4 << octave
        grid = [[chance.random() for _ in range(cells)] for _ in range(cells)]
        weight = 0.5**octave
        step = size // cells
        ease = [(1 - math.cos(math.pi * at / step)) / 2 for at in range(step)]
        for y in range(size):
            above, below = grid[y // step], grid[(y // step + 1) % cells]
            down = ease[y % step]
            column = [a + (b - a) * down for a, b in zip(above, below, strict=True)]
            row = heights[y]
            for x in range(size):
                left, right = column[x // step], column[(x // step + 1) % cells]
                row[x] += weight * (left + (right - left) * ease[x % step])
    scale = (high - low) / sum(0.5**octave for octave in range(octaves))
    return [bytes(low + round(height * scale) for height in row) for row in heights]


class Camera:
    """Pictures of the landscape, in planes without padding."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        # Twice as wide as the picture, so that each row is one slice.
        repeats = -(-2 * width // TILE) + 1
        self._far = [row * repeats for row in hills(1, 6, 60, 200)]
        self._near = [row * repeats for row in hills(2, 7, 30, 220)]
        self._tint = [row * repeats for row in hills(3, 4, 108, 148, TILE // 2)]
        self._grain_mask = int.from_bytes(b"\x03" * (width * height), "little")

    def planes(self, number: int) -> tuple[bytes, bytes, bytes]:
        """Of the frame with this number; it is the same again a turn later."""
        at = 2 * math.pi * (number % FRAMES) / FRAMES
        # Whole tiles in a turn; the sines make it hasten and rest.
        far_x = round(TILE * (number % FRAMES) / FRAMES + 60 * math.sin(at)) % TILE
        near_x = round(3 * TILE * (number % FRAMES) / FRAMES + 140 * math.sin(2 * at)) % TILE
        y = round(40 * math.sin(at)) % TILE
        horizon = self._height * 3 // 5
        luma = self._rows(self._far, far_x, y, self._width, horizon)
        luma += self._rows(self._near, near_x, y, self._width, self._height - horizon)
        size = self._width * self._height
        grain = random.Random(number % FRAMES).getrandbits(8 * size) & self._grain_mask
        grained = int.from_bytes(luma, "little") + grain  # at most 223 in a byte: none overflows
        half = self._width // 2, self._height // 2
        u = self._rows(self._tint, far_x // 2, y // 2, *half)
        v = self._rows(self._tint, TILE // 2 - far_x // 2, y // 2, *half)
        return grained.to_bytes(size, "little"), u, v

    @staticmethod
    def _rows(tile: list[bytes], x: int, y: int, width: int, count: int) -> bytes:
        return b"".join(tile[(y + row) % len(tile)][x : x + width] for row in range(count))


def pictures(profile: Profile) -> Iterator[Planes]:
    """Of two turns."""
    camera = Camera(profile.width, profile.height)
    yield from map(camera.planes, range(2 * FRAMES))


# The sound ---------------------------------------------------------------------------------------


def samples() -> array[int]:
    """One turn, both channels interleaved: four syllables a second, of which every third hisses,
    and in each five seconds a rest, with the noise of a room."""
    chance = random.Random(4)
    out = array("h")
    for number in range(LOOP_S * SAMPLES_PER_S):
        at = number / SAMPLES_PER_S
        syllable, within = divmod(at * 4, 1)
        loud = math.sin(math.pi * within) ** 2 if at % 5 < 4.2 else 0.0
        if syllable % 3 == 2:
            left = right = 0.15 * loud * (chance.random() - 0.5)
        else:
            tone = 110 * (1 + int(syllable) * 5 % 7)
            harmonics = range(1, 9)
            left = sum(math.sin(2 * math.pi * tone * n * at) / n for n in harmonics) * 0.1 * loud
            right = left * 0.8
        room = 0.002 * (chance.random() - 0.5)
        out.append(round(32767 * (left + room)))
        out.append(round(32767 * (right + room)))
    return out


# Encoding ----------------------------------------------------------------------------------------


def encoded(profile: Profile) -> list[bytes]:
    """The frames of a turn, as a live encoder makes them that holds its rate within half a
    second."""
    rate_kbps = profile.encoder_bits_per_s // 1_000
    video = encoders.Video(
        profile.width,
        profile.height,
        FRAMES_PER_S,
        KEYFRAME_FRAMES,
        profile.encoder_bits_per_s,
        options={"preset": "veryfast", "tune": "zerolatency", "level": profile.level},
        x264=(f"vbv-maxrate={rate_kbps}", f"vbv-bufsize={rate_kbps // 2}"),
    )
    return encoders.h264(video, pictures(profile))


# Packets -----------------------------------------------------------------------------------------


def picture_sizes(unit: bytes) -> list[int]:
    """The payloads of a slice as libwebrtc divides it: one NAL unit, or FU-As that are even to
    within a byte, the shorter ones first."""
    if len(unit) <= MOST_PAYLOAD_BYTES:
        return [len(unit)]
    body_bytes = len(unit) - 1
    count = -(-body_bytes // (MOST_PAYLOAD_BYTES - 2))
    size, longer = divmod(body_bytes, count)
    return [size + 2] * (count - longer) + [size + 3] * longer


def video_trace(profile: Profile) -> list[Frame]:
    parameters_bytes = Video(profile.height).least_parameters_bytes
    frames = []
    for number, access_unit in enumerate(encoded(profile)):
        slices = {u[0] & 0x1F: u for u in h264.nal_units(access_unit) if u[0] & 0x1F in (1, 5)}
        ((kind, unit),) = slices.items()
        sizes = picture_sizes(unit)
        if kind == 5:
            sizes.insert(0, parameters_bytes)
        due_us = round(number * 1_000_000 / FRAMES_PER_S)
        frames.append(Frame(due_us, "video", tuple(sizes), keyframe=kind == 5))
    return frames


def audio_trace() -> list[Frame]:
    step_us = SAMPLES_PER_PACKET * 1_000_000 // SAMPLES_PER_S
    return [
        Frame(number * step_us, "audio", (len(packet),))
        for number, packet in enumerate(encoders.opus(samples(), ENCODER_AUDIO_BITS_PER_S))
    ]


ABOUT = (
    "A packet trace of pyforward-bench, made by scripts/make_traces.py of a synthetic picture and",
    "sound; 10 s, to be looped. due_us: microseconds from the start. bytes: of RTP payload.",
    "flags: k keyframe, m marker.",
)
ABOUT_VIDEO = (
    "A frame's packets are as libwebrtc makes them: even to within a byte, the shorter ones first,",
    "at most 1,188 bytes. The first packet of a keyframe holds its parameter sets.",
)


def main() -> int:
    audio = audio_trace()
    about: dict[str, tuple[str, ...]] = {"audio": ABOUT}
    made = {"audio": Trace("audio", tuple(audio))}
    wanted: dict[tuple[str, Kind], int] = {("audio", "audio"): AUDIO_BITS_PER_S}
    for profile in PROFILES:
        frames = sorted([*video_trace(profile), *audio], key=lambda frame: frame.due_us)
        about[profile.name] = (*ABOUT, *ABOUT_VIDEO)
        made[profile.name] = Trace(profile.name, tuple(frames))
        wanted[profile.name, "video"] = profile.bits_per_s
    for (name, kind), bits_per_s in wanted.items():
        rate = made[name].bits_per_s(kind)
        if abs(rate / bits_per_s - 1) > MOST_DEVIATION:
            print(f"{name}: {rate:.0f} bit/s of {kind} instead of {bits_per_s}", file=sys.stderr)
            return 1
    for name, trace in made.items():
        text = written(trace.frames, (*about[name], _told(trace)))
        (TARGET / f"{name}.csv").write_text(text, encoding="ascii")
        print(f"{name}.csv: {len(text)} bytes")
    return 0


def _told(trace: Trace) -> str:
    rates = (f"{kind} {trace.bits_per_s(kind) / 1e3:.0f} kbit/s" for kind in trace.kinds)
    return f"{', '.join(rates)} of RTP payload."


if __name__ == "__main__":
    sys.exit(main())
