# cython: wraparound=False
"""When packets came: jitter, and latency of packets and of frames; and at which viewer first.

:class:`Timing` looks at one track at a time, :class:`Skew` at one packet of the publisher and all
of its viewers.

In Cython's pure-Python mode, as ``histogram``.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

from pyforward_bench.records import REPAIRED, RESTARTED, UNKNOWN, VIDEO
from pyforward_bench.statistics.histogram import Histogram

if TYPE_CHECKING:
    import cython

SPREAD: Final = 4_096  # packets of the publisher that may be on their way to viewers at a time
STALE_US: Final = 1_000_000

# Of 32 bits. A loop has them as variables: the compiler takes so large a literal for an object.
LOW: Final = 0xFFFF_FFFF
HALF: Final = 0x8000_0000


class Timing:
    """Jitter by track, and the histograms of latency."""

    def __init__(self) -> None:
        self.packet_latency_us = Histogram()
        self.frame_latency_us = Histogram()
        self.frames = array("q")
        self._differences = array("q")  # how many went into the jitter
        # 16 times the jitter, so that it stays a whole number as in RFC 3550 §A.8. Its unit is a
        # ninth of a microsecond for video and a sixth for audio: there a tick is a whole number.
        self._jitter = array("q")
        self._arrival = array("q")  # of the packet before; 0: none
        self._timestamp = array("q")
        # The open frame.
        self._frame = array("q")  # its timestamp
        self._frame_arrival = array("q")  # the latest; 0: no frame is open
        self._frame_sent = array("q")  # the latest; 0: no packet's is known

    def reserve(self, tracks: int) -> None:
        """Have room for so many tracks."""
        more = tracks - len(self.frames)
        if more > 0:
            for column in self._columns():
                column.frombytes(bytes(8 * more))

    def take(self, words: array[int], places: array[int]) -> None:
        """Take records, four words each; ``places`` says whose each is."""
        self._take_latencies(words, len(places))
        self._take_jitter(words, places)
        self._take_frames(words, places)

    def jitter_ms(self, place: int, video: bool) -> float | None:
        """One track's; None before two packets."""
        if place >= len(self.frames) or self._differences[place] == 0:
            return None
        return self._jitter[place] / (16 * 1_000 * (9 if video else 6))

    def clear(self) -> None:
        """Count and estimate anew from here."""
        for column in (self.frames, self._differences, self._jitter):
            column[:] = array("q", bytes(8 * len(column)))
        self.packet_latency_us.clear()
        self.frame_latency_us.clear()

    def _columns(self) -> tuple[array[int], ...]:
        return (
            self.frames,
            self._differences,
            self._jitter,
            self._arrival,
            self._timestamp,
            self._frame,
            self._frame_arrival,
            self._frame_sent,
        )

    def _take_latencies(self, words: array[int], count: int) -> None:
        known = array("q", bytes(8 * count))
        w: cython.ulonglong[::1] = words
        out: cython.longlong[::1] = known
        low: cython.ulonglong = LOW
        unknown: cython.ulonglong = UNKNOWN
        latency: cython.ulonglong
        size: cython.Py_ssize_t = 0
        many: cython.Py_ssize_t = count
        i: cython.Py_ssize_t
        for i in range(many):
            latency = w[4 * i + 3] & low
            if latency != unknown:
                out[size] = latency
                size += 1
        self.packet_latency_us.record_all(known, size)

    def _take_jitter(self, words: array[int], places: array[int]) -> None:
        w: cython.ulonglong[::1] = words
        at: cython.longlong[::1] = places
        differences: cython.longlong[::1] = self._differences
        jitter: cython.longlong[::1] = self._jitter
        arrivals: cython.longlong[::1] = self._arrival
        timestamps: cython.longlong[::1] = self._timestamp
        low: cython.longlong = LOW
        half: cython.longlong = HALF
        video: cython.ulonglong = VIDEO
        repaired: cython.ulonglong = REPAIRED
        restarted: cython.ulonglong = RESTARTED
        flags: cython.ulonglong
        place: cython.Py_ssize_t
        arrival: cython.longlong
        timestamp: cython.longlong
        ticks: cython.longlong
        difference: cython.longlong
        i: cython.Py_ssize_t
        for i in range(len(places)):
            flags = w[4 * i + 3] >> 48
            # A retransmission is another stream (RFC 4588 §4), and late by a round trip.
            if flags & repaired:
                continue
            place = at[i]
            arrival = w[4 * i]
            timestamp = w[4 * i + 2] & low
            if arrivals[place] != 0 and not flags & restarted:
                ticks = ((timestamp - timestamps[place] + half) & low) - half
                difference = arrival - arrivals[place]
                if flags & video:
                    difference = difference * 9 - ticks * 100
                else:
                    difference = difference * 6 - ticks * 125
                if difference < 0:
                    difference = -difference
                jitter[place] += difference - ((jitter[place] + 8) >> 4)
                differences[place] += 1
            arrivals[place] = arrival
            timestamps[place] = timestamp

    def _take_frames(self, words: array[int], places: array[int]) -> None:
        done = array("q", bytes(8 * len(places)))
        w: cython.ulonglong[::1] = words
        at: cython.longlong[::1] = places
        out: cython.longlong[::1] = done
        frames: cython.longlong[::1] = self.frames
        frame: cython.longlong[::1] = self._frame
        latest: cython.longlong[::1] = self._frame_arrival
        sent: cython.longlong[::1] = self._frame_sent
        low: cython.longlong = LOW
        half: cython.longlong = HALF
        unknown: cython.longlong = UNKNOWN
        video: cython.ulonglong = VIDEO
        restarted: cython.ulonglong = RESTARTED
        flags: cython.ulonglong
        place: cython.Py_ssize_t
        arrival: cython.longlong
        latency: cython.longlong
        timestamp: cython.longlong
        ticks: cython.longlong
        size: cython.Py_ssize_t = 0
        i: cython.Py_ssize_t
        for i in range(len(places)):
            flags = w[4 * i + 3] >> 48
            if not flags & video:
                continue
            place = at[i]
            arrival = w[4 * i]
            timestamp = w[4 * i + 2] & low
            latency = w[4 * i + 3] & low
            ticks = ((timestamp - frame[place] + half) & low) - half
            if latest[place] == 0 or flags & restarted or ticks > 0:
                if latest[place] != 0:
                    frames[place] += 1
                    if sent[place] != 0:
                        out[size] = latest[place] - sent[place]
                        size += 1
                frame[place] = timestamp
                latest[place] = 0
                sent[place] = 0
            elif ticks != 0:
                continue
            latest[place] = arrival  # a track's records are in order of arrival
            if latency != unknown and arrival - latency > sent[place]:
                sent[place] = arrival - latency
        self.frame_latency_us.record_all(done, size)


class Skew:
    """How far apart the viewers of one publisher's video packets are.

    It remembers the newest ``SPREAD`` of them, 160 KiB. What came to one viewer alone has no skew.
    """

    def __init__(self) -> None:
        self._skew_us = Histogram()
        self._counter = array("q", bytes(8 * SPREAD))
        self._viewers = array("q", bytes(8 * SPREAD))  # to how many it came; 0: free
        self._first = array("q", bytes(8 * SPREAD))
        self._last = array("q", bytes(8 * SPREAD))
        self._last_place = array("q", bytes(8 * SPREAD))
        self._lasts = array("q")  # by track: of how many packets it was the last

    def reserve(self, tracks: int) -> None:
        """Have room for so many tracks."""
        self._lasts.frombytes(bytes(8 * max(0, tracks - len(self._lasts))))

    def take(self, words: array[int], places: array[int], wanted: array[int]) -> None:
        """Take those records that are ``wanted``."""
        w: cython.ulonglong[::1] = words
        at: cython.longlong[::1] = places
        ask: cython.int[::1] = wanted
        counters: cython.longlong[::1] = self._counter
        viewers: cython.longlong[::1] = self._viewers
        first: cython.longlong[::1] = self._first
        last: cython.longlong[::1] = self._last
        last_place: cython.longlong[::1] = self._last_place
        low: cython.longlong = LOW
        half: cython.longlong = HALF
        stale: cython.longlong = STALE_US
        mask: cython.longlong = SPREAD - 1
        slot: cython.Py_ssize_t
        counter: cython.longlong
        arrival: cython.longlong
        ahead: cython.longlong
        i: cython.Py_ssize_t
        for i in range(len(places)):
            if not ask[i]:
                continue
            counter = w[4 * i + 2] >> 32
            arrival = w[4 * i]
            slot = counter & mask
            if viewers[slot] and counters[slot] != counter:
                ahead = ((counter - counters[slot] + half) & low) - half
                # A straggler; but where nothing newer came for long, the publisher began anew.
                if ahead < 0 and arrival - last[slot] < stale:
                    continue
                self._close(slot)
                viewers[slot] = 0
            if not viewers[slot]:
                counters[slot] = counter
                first[slot] = arrival
                last[slot] = 0
            viewers[slot] += 1
            # Records come from several shards, each in its own order.
            if arrival < first[slot]:
                first[slot] = arrival
            if arrival >= last[slot]:
                last[slot] = arrival
                last_place[slot] = at[i]

    def figures(self) -> tuple[Histogram, float | None]:
        """The histogram in microseconds, and the largest share of packets for which one viewer was
        the last."""
        skew_us = self._skew_us.copy()
        lasts = self._lasts[:]
        for slot in range(SPREAD):
            if self._viewers[slot] > 1:
                skew_us.record(self._last[slot] - self._first[slot])
                lasts[self._last_place[slot]] += 1
        return skew_us, max(lasts) / skew_us.count if skew_us.count else None

    def clear(self) -> None:
        """Begin anew with the next packet."""
        self._skew_us.clear()
        for column in (self._viewers, self._lasts):
            column[:] = array("q", bytes(8 * len(column)))

    def _close(self, slot: int) -> None:
        if self._viewers[slot] > 1:
            self._skew_us.record(self._last[slot] - self._first[slot])
            self._lasts[self._last_place[slot]] += 1
