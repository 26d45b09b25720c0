"""What the ceiling sender plays in the server's place: a feed, in the trains that the forwarder
forms of it, each due when its last packet is there.

The forwarder gathers the packets of a video frame until the marker bit, another timestamp, sixteen
of them or the frame window, and sends audio at once (docs/decisions/0001). Only by waiting does it
learn that a window brings nothing more; a schedule knows, so that nothing in it waits for nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pyforward.media import pacer, rtp
from pyforward.media.source import Burst
from pyforward_bench.publish.source import TraceSource
from pyforward_bench.rig.ceiling import LONGEST_TRAIN, Due, even_trains
from pyforward_bench.rig.publisher import Feed


def schedule(feed: Feed, seconds: float, window_s: float) -> tuple[Due, ...]:
    """The first ``seconds`` of the feed from a keyframe on, in the order of their time, gathered by
    a frame window of ``window_s``."""
    source = TraceSource(feed.trace, rate=feed.rate)
    bursts = source.bursts()
    if feed.paced:
        bursts = pacer.paced(bursts, source.video_bits_per_s)
    within = itertools.takewhile(lambda burst: burst.due_s < seconds, bursts)
    trains = (due for departure in departures(within, window_s) for due in departure.trains())
    # Audio overtakes a frame that is still gathered.
    return tuple(sorted(trains, key=lambda due: due.due_us))


@dataclass(slots=True)
class Departure:
    """RTP packets that leave together; ``due_s`` is when the last of them is there."""

    due_s: float
    packets: list[bytes]

    def trains(self) -> Iterator[Due]:
        """As few as they can be, of which the last may end a frame of video."""
        sizes = [len(packet) - rtp.HEADER_BYTES for packet in self.packets]
        trains = even_trains(sizes)
        for number, train in enumerate(trains, 1):
            last = number == len(trains)
            yield Due(round(self.due_s * 1e6), train, last and _is_marked(self.packets[-1]))


def departures(bursts: Iterable[Burst], window_s: float) -> Iterator[Departure]:
    """What the forwarder would gather of them; audio before a frame that waits."""
    waiting: Departure | None = None
    until_s = 0.0
    for burst in bursts:
        if burst.kind == "audio":
            yield Departure(burst.due_s, list(burst.packets))
            continue
        for packet in burst.packets:
            if waiting is not None and (
                burst.due_s >= until_s or _timestamp(packet) != _timestamp(waiting.packets[0])
            ):
                yield waiting
                waiting = None
            if waiting is None:
                waiting, until_s = Departure(burst.due_s, []), burst.due_s + window_s
            waiting.due_s = burst.due_s
            waiting.packets.append(packet)
            if _is_marked(packet) or len(waiting.packets) == LONGEST_TRAIN:
                yield waiting
                waiting = None
    if waiting is not None:
        yield waiting


# Private -----------------------------------------------------------------------------------------


def _is_marked(packet: bytes) -> bool:
    return bool(packet[1] & 0x80)


def _timestamp(packet: bytes) -> bytes:
    return packet[4:8]
