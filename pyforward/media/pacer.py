"""When the packets of a frame leave: all at once, or spread as libwebrtc's pacer spreads them.

Logic in the time of the source: bursts in, bursts out, ``due_s`` of each later or the same. It
never waits and reads no clock; whoever sends does.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator

from pyforward.media.source import Burst

# libwebrtc's PacingController: packets leave at this multiple of the target rate …
PACING_FACTOR = 2.5
# … as many together as that rate gives in this time …
LONGEST_BURST_S = 0.005
# … and a queue that would last longer than this is sent faster.
LONGEST_QUEUE_S = 2.0


def bursty(bursts: Iterable[Burst]) -> Iterator[Burst]:
    """Each frame whole, at its time: what a sender without a pacer does."""
    yield from bursts


def paced(bursts: Iterable[Burst], bits_per_s: float) -> Iterator[Burst]:
    """The video at :data:`PACING_FACTOR` × ``bits_per_s``; audio is never held and costs nothing.

    The order by ``due_s`` of what comes in holds for what goes out. With a rate of 0, which a
    source without video has, nothing is held.
    """
    if not bits_per_s >= 0 or math.isinf(bits_per_s):
        raise ValueError(f"a rate of {bits_per_s} bits/s cannot be paced")
    queue = _Queue(PACING_FACTOR * bits_per_s)
    for burst in bursts:
        yield from queue.leaving_until(burst.due_s)
        if burst.kind == "audio" or bits_per_s == 0:
            yield burst
        else:
            queue.add(burst)
    yield from queue.leaving_until(math.inf)


class _Queue:
    """Video packets in order, and the time from which the next one may leave."""

    def __init__(self, bits_per_s: float) -> None:
        self._bits_per_s = bits_per_s
        self._packets: deque[bytes] = deque()
        self._bits = 0
        self._free_s = -math.inf

    def add(self, burst: Burst) -> None:
        # While nothing waits no credit is saved up: an idle pacer is no reason to send faster.
        self._free_s = max(self._free_s, burst.due_s)
        self._packets.extend(burst.packets)
        self._bits += sum(map(_bits, burst.packets))

    def leaving_until(self, now_s: float) -> Iterator[Burst]:
        """What leaves before ``now_s`` or right then."""
        while self._packets and self._free_s <= now_s:
            rate = max(self._bits_per_s, self._bits / LONGEST_QUEUE_S)
            group: list[bytes] = []
            group_bits = 0
            while self._packets:
                bits = _bits(self._packets[0])
                if group and group_bits + bits > rate * LONGEST_BURST_S:
                    break
                group.append(self._packets.popleft())
                group_bits += bits
            yield Burst(self._free_s, "video", tuple(group))
            self._bits -= group_bits
            self._free_s += group_bits / rate


def _bits(packet: bytes) -> int:
    return 8 * len(packet)
