"""Makes ``pyforward/media/demo.rtp``: 20 s of test picture and tone as RTP packets, to be looped.

H.264 constrained baseline, 640×360, 30 frames/s, a keyframe every 2 s, and Opus, 48 kHz stereo.
It needs PyAV (see ``encoders.py``); what it makes is data, so playing the demo needs no encoder.

What the picture holds: colour bars, a clock, a ball that crosses in two seconds, the frame's number
as text and as a bar code (lower left: white, ten bits with the highest first, black), and a square
that flashes with a short beep at every full second, so that eye and ear can judge lip sync.

Everything in it repeats after 20 s, so that it can be looped.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pyforward.media import demo, rtp, rtpdump, source
from pyforward.media.packetizers import h264
from scripts import encoders
from scripts.encoders import SAMPLES_PER_PACKET, SAMPLES_PER_S, Planes

TARGET = Path(__file__).resolve().parents[1] / "pyforward" / "media" / "demo.rtp"
LARGEST_FILE_BYTES = 2_000_000

WIDTH, HEIGHT, FRAMES_PER_S = 640, 360, 30
LOOP_S = 20
FRAMES = LOOP_S * FRAMES_PER_S
VIDEO_BITS_PER_S = 560_000
VIDEO_SSRC = 0x70797631

AUDIO_BITS_PER_S = 64_000
AUDIO_SSRC = 0x70796131

LARGEST_PAYLOAD_BYTES = 1_180


# The picture -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Colour:
    """BT.601, limited range."""

    y: int
    u: int
    v: int


NIGHT = Colour(34, 134, 124)
DUSK = Colour(50, 136, 122)
INK = Colour(24, 130, 126)
PAPER = Colour(225, 126, 130)
GREY = Colour(120, 130, 126)
AMBER = Colour(172, 60, 168)
BLACK = Colour(16, 128, 128)
WHITE = Colour(235, 128, 128)
BARS = (  # 75 %
    Colour(180, 128, 128),
    Colour(162, 44, 142),
    Colour(131, 156, 44),
    Colour(112, 72, 58),
    Colour(84, 184, 198),
    Colour(65, 100, 212),
    Colour(35, 212, 114),
    Colour(16, 128, 128),
)

# Five columns, seven rows; each number is a row, its highest bit on the left.
GLYPHS = {
    " ": (0, 0, 0, 0, 0, 0, 0),
    ".": (0, 0, 0, 0, 0, 12, 12),
    ":": (0, 12, 12, 0, 12, 12, 0),
    "0": (14, 17, 19, 21, 25, 17, 14),
    "1": (4, 12, 4, 4, 4, 4, 14),
    "2": (14, 17, 1, 2, 4, 8, 31),
    "3": (31, 2, 4, 2, 1, 17, 14),
    "4": (2, 6, 10, 18, 31, 2, 2),
    "5": (31, 16, 30, 1, 1, 17, 14),
    "6": (6, 8, 16, 30, 17, 17, 14),
    "7": (31, 1, 2, 4, 8, 8, 8),
    "8": (14, 17, 17, 14, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 2, 12),
    "a": (0, 0, 14, 1, 15, 17, 15),
    "d": (1, 1, 13, 19, 17, 17, 15),
    "e": (0, 0, 14, 17, 31, 16, 14),
    "f": (6, 9, 8, 28, 8, 8, 8),
    "m": (0, 0, 26, 21, 21, 17, 17),
    "o": (0, 0, 14, 17, 17, 17, 14),
    "p": (0, 0, 30, 17, 30, 16, 16),
    "r": (0, 0, 22, 25, 16, 16, 16),
    "w": (0, 0, 17, 17, 21, 21, 10),
    "y": (0, 0, 17, 17, 15, 1, 14),
}


class Picture:
    """A 4:2:0 picture; coordinates in luma samples from the upper left."""

    def __init__(self, source: Picture | None = None) -> None:
        if source is None:
            self.y = bytearray(WIDTH * HEIGHT)
            self.u = bytearray(WIDTH * HEIGHT // 4)
            self.v = bytearray(WIDTH * HEIGHT // 4)
        else:
            self.y, self.u, self.v = source.y[:], source.u[:], source.v[:]

    def rectangle(self, x: int, y: int, width: int, height: int, colour: Colour) -> None:
        for row in range(y, y + height):
            start = row * WIDTH + x
            self.y[start : start + width] = bytes([colour.y]) * width
        first, last = x // 2, (x + width + 1) // 2
        for row in range(y // 2, (y + height + 1) // 2):
            start = row * (WIDTH // 2) + first
            self.u[start : start + last - first] = bytes([colour.u]) * (last - first)
            self.v[start : start + last - first] = bytes([colour.v]) * (last - first)

    def disc(self, centre_x: float, centre_y: float, radius: float, colour: Colour) -> None:
        """With soft edges, so that it moves evenly."""
        for row in range(int(centre_y - radius) - 1, int(centre_y + radius) + 2):
            for column in range(int(centre_x - radius) - 1, int(centre_x + radius) + 2):
                distance = math.hypot(column + 0.5 - centre_x, row + 0.5 - centre_y)
                cover = min(1.0, max(0.0, radius - distance + 0.5))
                if cover == 0.0:
                    continue
                at = row * WIDTH + column
                self.y[at] = round(self.y[at] + (colour.y - self.y[at]) * cover)
                if cover > 0.5 and row % 2 == 0 and column % 2 == 0:
                    at = row // 2 * (WIDTH // 2) + column // 2
                    self.u[at], self.v[at] = colour.u, colour.v

    def text(self, x: int, y: int, scale: int, text: str, colour: Colour) -> None:
        for character in text:
            for row, bits in enumerate(GLYPHS[character]):
                for column in range(5):
                    if bits >> (4 - column) & 1:
                        self.rectangle(x + column * scale, y + row * scale, scale, scale, colour)
            x += 6 * scale


def backdrop() -> Picture:
    """What never moves."""
    picture = Picture()
    picture.rectangle(0, 0, WIDTH, HEIGHT, NIGHT)
    for number, colour in enumerate(BARS):
        picture.rectangle(number * 80, 0, 80, 40, colour)
    picture.text(40, 68, 4, "pyforward demo", PAPER)
    picture.rectangle(40, 294, 560, 2, GREY)
    picture.disc(500, 150, 76, DUSK)
    for second in range(LOOP_S):
        angle = 2 * math.pi * second / LOOP_S
        size = 4 if second % 5 == 0 else 2
        picture.disc(500 + 66 * math.sin(angle), 150 - 66 * math.cos(angle), size, PAPER)
    return picture


def draw(number: int, background: Picture) -> Picture:
    """The frame with this number, 0 to 599."""
    picture = Picture(background)
    seconds, within = divmod(number, FRAMES_PER_S)
    picture.text(40, 120, 10, f"{seconds:02d}.{within * 100 // FRAMES_PER_S:02d}", PAPER)
    picture.text(40, 212, 4, f"frame {number:03d}", GREY)
    angle = 2 * math.pi * number / FRAMES
    for step in range(0, 58, 2):
        picture.disc(500 + step * math.sin(angle), 150 - step * math.cos(angle), 2.5, AMBER)
    picture.disc(500, 150, 6, AMBER)
    across = (1 - math.cos(2 * math.pi * number / (4 * FRAMES_PER_S))) / 2
    picture.disc(58 + 524 * across, 275, 18, AMBER)
    picture.rectangle(340, 120, 40, 40, PAPER if within < 3 else DUSK)
    bits = "1" + format(number, "010b") + "0"
    for place, bit in enumerate(bits):
        picture.rectangle(40 + place * 16, 320, 16, 16, WHITE if bit == "1" else BLACK)
    return picture


def pictures() -> Iterator[Planes]:
    """Of two turns."""
    background = backdrop()
    turn = [draw(number, background) for number in range(FRAMES)]
    for picture in turn + turn:
        yield picture.y, picture.u, picture.v


# The tone ----------------------------------------------------------------------------------------


def samples() -> array[int]:
    """20 s, both channels interleaved: two soft notes, and a beep at every full second."""
    out = array("h")
    beep_samples = SAMPLES_PER_S // 10
    for number in range(LOOP_S * SAMPLES_PER_S):
        at = number / SAMPLES_PER_S
        swell = 0.7 + 0.3 * math.cos(2 * math.pi * at / 5)
        left = 0.05 * swell * math.sin(2 * math.pi * 220 * at)
        right = 0.05 * swell * math.sin(2 * math.pi * 330 * at)
        since_second = number % SAMPLES_PER_S
        beep = 0.0
        if since_second < beep_samples:
            shape = math.sin(math.pi * since_second / beep_samples)
            beep = 0.2 * shape * math.sin(2 * math.pi * 880 * at)
        out.append(round(32767 * (left + beep)))
        out.append(round(32767 * (right + beep)))
    return out


VIDEO = encoders.Video(
    WIDTH,
    HEIGHT,
    FRAMES_PER_S,
    keyframe_frames=2 * FRAMES_PER_S,
    bits_per_s=VIDEO_BITS_PER_S,
    options={"preset": "slow", "level": "3.0"},
    x264=(
        "bframes=0",
        "repeat-headers=1",
        "sync-lookahead=0",
        f"vbv-maxrate={VIDEO_BITS_PER_S // 1000}",
        f"vbv-bufsize={VIDEO_BITS_PER_S // 1000}",
    ),
)


# Packetizing -------------------------------------------------------------------------------------


def payloads(frame: bytes) -> list[bytes]:
    """Without delimiters and SEI, which are of no use to a viewer: parameter sets as one STAP-A,
    large slices as FU-As of even sizes."""
    units = [unit for unit in h264.nal_units(frame) if unit[0] & 0x1F in (1, 5, 7, 8)]
    return h264.packetize(h264.annex_b(units), LARGEST_PAYLOAD_BYTES)


def record(packet: bytes, clock_hz: int) -> rtpdump.Record:
    timestamp = int.from_bytes(packet[4:8], "big")
    return rtpdump.Record(timestamp * 1000 // clock_hz, packet)


def make() -> bytes:
    """The whole file."""
    records: list[rtpdump.Record] = []
    video = rtp.Writer(source.VIDEO_PAYLOAD_TYPE, VIDEO_SSRC)
    for number, frame in enumerate(encoders.h264(VIDEO, pictures())):
        timestamp = number * source.VIDEO_CLOCK_HZ // FRAMES_PER_S
        packets = video.packets(payloads(frame), timestamp, marker=True)
        records.extend(record(packet, source.VIDEO_CLOCK_HZ) for packet in packets)
    audio = rtp.Writer(source.AUDIO_PAYLOAD_TYPE, AUDIO_SSRC)
    for number, frame in enumerate(encoders.opus(samples(), AUDIO_BITS_PER_S)):
        # The marker opens a talkspurt (RFC 3551 §4.1), and this one never ends.
        packets = audio.packets([frame], number * SAMPLES_PER_PACKET, marker=False)
        records.extend(record(packet, source.AUDIO_CLOCK_HZ) for packet in packets)
    records.sort(key=lambda record: record.offset_ms)
    return rtpdump.write(records)


def main() -> int:
    made = make()
    demo.Demo(rtpdump.read(made))  # what cannot be played is not written
    if len(made) > LARGEST_FILE_BYTES:
        print(f"{len(made)} bytes are more than {LARGEST_FILE_BYTES}", file=sys.stderr)
        return 1
    TARGET.write_bytes(made)
    print(f"{TARGET.name}: {len(made)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
