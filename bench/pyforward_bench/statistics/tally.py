# cython: wraparound=False
"""A run's records, added up: of each viewer, and of all.

Records are taken in batches. One pass finds whose each record is, and each further pass looks at
one thing about them: so the loops are short, and compiled they call nothing.

In Cython's pure-Python mode, as ``histogram``.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pyforward_bench import records
from pyforward_bench.statistics.figures import Figures, ViewerFigures
from pyforward_bench.statistics.histogram import Histogram
from pyforward_bench.statistics.numbering import (
    AGAIN,
    BEGIN,
    CLOSED,
    DOUBT,
    EARLY,
    FOLLOW,
    IGNORE,
    NEWEST,
    Numbering,
)
from pyforward_bench.statistics.timing import Skew, Timing

if TYPE_CHECKING:
    import cython

WORDS: Final = records.RECORD_BYTES // 8
# In which of a record's words the upper half is what.
SEQUENCE_WORD: Final = 1
COUNTER_WORD: Final = 2

SPREAD: Final = 0x9E37_79B9_7F4A_7C15  # Fibonacci hashing: 2^64 by the golden ratio


class Tally:
    """Everything that a run's records say; ``skew`` asks for :class:`Skew` too.

    It keeps about 1.4 kB for each track of each viewer, however long the run.
    """

    def __init__(self, skew: bool = False) -> None:
        self._tracks = Tracks()
        self._sequences = Numbering(timed=True)
        self._counters = Numbering()
        self._timing = Timing()
        self._skew = Skew() if skew else None
        self._repair_us = Histogram()
        # By track.
        self._packets = array("q")
        self._bytes = array("q")
        self._goodput = array("q")
        self._repaired = array("q")
        self._late = array("q")
        self._restarts = array("q")
        self._repeated = array("q")
        self._reordered = array("q")
        self._corrupted = array("q")
        self._unstamped = array("q")
        self._first_us = array("q")
        self._last_us = array("q")

    def feed(self, data: bytes) -> None:
        """Take whole records, in order of arrival of each viewer's. ValueError where one is cut."""
        if len(data) % records.RECORD_BYTES:
            raise ValueError(f"{len(data)} bytes are no whole number of records.")
        if not data:
            return
        words = array("Q", data)
        if sys.byteorder == "big":
            words.byteswap()
        places = self._tracks.places(words)
        self._reserve(self._tracks.count)
        self._count(words, places)
        self._take_sequences(words, places)
        self._take_stamps(words, places)
        self._timing.take(words, places)

    def figures(self) -> Figures:
        """What is known by now."""
        tracks = range(self._tracks.count)
        skew_us, last_share = self._skew.figures() if self._skew else (Histogram(), None)
        return Figures(
            **self._counts(tracks),
            viewers=len(
                {self._tracks.keys[place] >> 1 for place in tracks if self._packets[place]}
            ),
            loss_runs=self._sequences.runs(),
            packet_latency_us=self._timing.packet_latency_us.copy(),
            frame_latency_us=self._timing.frame_latency_us.copy(),
            repair_us=self._repair_us.copy(),
            skew_us=skew_us,
            last_share=last_share,
        )

    def viewer(self, number: int) -> ViewerFigures:
        """What is known of this viewer; of one that was never heard of, nothing but zeros."""
        found = (self._tracks.place(number, video) for video in (False, True))
        places = [place for place in found if place is not None]
        heard = [place for place in places if self._packets[place]]
        first_us = min((self._first_us[place] for place in heard), default=0)
        last_us = max((self._last_us[place] for place in heard), default=0)
        return ViewerFigures(
            **self._counts(places), viewer=number, duration_s=(last_us - first_us) / 1e6
        )

    def clear(self) -> None:
        """Begin the figures anew, as at the end of a warm-up.

        What came is remembered: what comes late is late, and a gap that is open now is no loss of
        what follows.
        """
        for column in self._columns():
            column[:] = array("q", bytes(8 * len(column)))
        self._sequences.clear()
        self._counters.clear()
        self._timing.clear()
        self._repair_us.clear()
        if self._skew:
            self._skew.clear()

    def _columns(self) -> tuple[array[int], ...]:
        return (
            self._packets,
            self._bytes,
            self._goodput,
            self._repaired,
            self._late,
            self._restarts,
            self._repeated,
            self._reordered,
            self._corrupted,
            self._unstamped,
            self._first_us,
            self._last_us,
        )

    def _reserve(self, tracks: int) -> None:
        """Have room for so many tracks."""
        more = tracks - len(self._packets)
        if more < 1:
            return
        for column in self._columns():
            column.frombytes(bytes(8 * more))
        self._sequences.reserve(tracks)
        self._counters.reserve(tracks)
        self._timing.reserve(tracks)
        if self._skew:
            self._skew.reserve(tracks)

    def _counts(self, places: Sequence[int]) -> dict[str, Any]:
        """The fields of :class:`~pyforward_bench.statistics.figures.Counts` over these tracks."""
        jitters = [
            jitter
            for place in places
            if (jitter := self._timing.jitter_ms(place, bool(self._tracks.keys[place] & 1)))
            is not None
        ]
        columns = {
            "packets": self._packets,
            "bytes": self._bytes,
            "goodput_bytes": self._goodput,
            "lost": self._sequences.missing,
            "repaired": self._repaired,
            "late": self._late,
            "restarts": self._restarts,
            "frames": self._timing.frames,
            "missing": self._counters.missing,
            "repeated": self._repeated,
            "reordered_content": self._reordered,
            "corrupted": self._corrupted,
            "unstamped": self._unstamped,
        }
        counts: dict[str, Any] = {
            name: sum(column[place] for place in places) for name, column in columns.items()
        }
        counts["expected"] = sum(self._sequences.due(place) for place in places)
        counts["jitter_ms"] = sum(jitters) / len(jitters) if jitters else None
        return counts

    def _count(self, words: array[int], places: array[int]) -> None:
        """What needs no memory of other packets."""
        w: cython.ulonglong[::1] = words
        at: cython.longlong[::1] = places
        packets: cython.longlong[::1] = self._packets
        sizes: cython.longlong[::1] = self._bytes
        repaired: cython.longlong[::1] = self._repaired
        late: cython.longlong[::1] = self._late
        restarts: cython.longlong[::1] = self._restarts
        first_us: cython.longlong[::1] = self._first_us
        last_us: cython.longlong[::1] = self._last_us
        is_repaired: cython.ulonglong = records.REPAIRED
        is_late: cython.ulonglong = records.LATE
        is_restarted: cython.ulonglong = records.RESTARTED
        arrival: cython.longlong
        flags: cython.ulonglong
        place: cython.Py_ssize_t
        i: cython.Py_ssize_t
        for i in range(len(places)):
            place = at[i]
            arrival = w[4 * i]
            flags = w[4 * i + 3] >> 48
            if packets[place] == 0:
                first_us[place] = arrival
            last_us[place] = arrival
            packets[place] += 1
            sizes[place] += w[4 * i + 3] >> 32 & 0xFFFF
            if flags & is_late:
                late[place] += 1
            if flags & is_repaired:
                repaired[place] += 1
            if flags & is_restarted:
                restarts[place] += 1

    def _take_sequences(self, words: array[int], places: array[int]) -> None:
        """Loss, and how long repair took."""
        count: cython.Py_ssize_t = len(places)
        wanted = array("i", bytes(4 * count))
        said = array("i", bytes(4 * count))
        revealed = array("q", bytes(8 * count))
        waited = array("q", bytes(8 * count))
        w: cython.ulonglong[::1] = words
        ask: cython.int[::1] = wanted
        seen: cython.longlong[::1] = revealed
        out: cython.longlong[::1] = waited
        follow: cython.int = FOLLOW
        begin: cython.int = BEGIN
        repaired: cython.ulonglong = records.REPAIRED
        restarted: cython.ulonglong = records.RESTARTED
        size: cython.Py_ssize_t = 0
        i: cython.Py_ssize_t
        for i in range(count):
            ask[i] = begin if w[4 * i + 3] >> 48 & restarted else follow
        self._sequences.follow(words, SEQUENCE_WORD, places, wanted, said, revealed)
        for i in range(count):
            if seen[i] > 0 and w[4 * i + 3] >> 48 & repaired:
                out[size] = w[4 * i] - seen[i]
                size += 1
        self._repair_us.record_all(waited, size)

    def _take_stamps(self, words: array[int], places: array[int]) -> None:
        """What became of the publisher's packets, by their stamps."""
        count: cython.Py_ssize_t = len(places)
        wanted = array("i", bytes(4 * count))
        said = array("i", bytes(4 * count))
        w: cython.ulonglong[::1] = words
        ask: cython.int[::1] = wanted
        ignore: cython.int = IGNORE
        follow: cython.int = FOLLOW
        doubt: cython.int = DOUBT
        stamped: cython.ulonglong = records.STAMPED
        intact: cython.ulonglong = records.INTACT
        flags: cython.ulonglong
        i: cython.Py_ssize_t
        for i in range(count):
            flags = w[4 * i + 3] >> 48
            if not flags & stamped:
                ask[i] = ignore
            elif flags & intact:
                ask[i] = follow
            else:
                ask[i] = doubt
        self._counters.follow(words, COUNTER_WORD, places, wanted, said, array("q", bytes(8)))
        self._judge_stamps(words, places, said)
        if self._skew:
            self._skew.take(words, places, said)

    def _judge_stamps(self, words: array[int], places: array[int], said: array[int]) -> None:
        """Count by what is said of the stamps, and leave 1 where a video packet has its place in
        the skew: intact, for the first time, and not repaired."""
        w: cython.ulonglong[::1] = words
        at: cython.longlong[::1] = places
        say: cython.int[::1] = said
        goodput: cython.longlong[::1] = self._goodput
        repeated: cython.longlong[::1] = self._repeated
        reordered: cython.longlong[::1] = self._reordered
        corrupted: cython.longlong[::1] = self._corrupted
        unstamped: cython.longlong[::1] = self._unstamped
        newest: cython.int = NEWEST
        closed: cython.int = CLOSED
        early: cython.int = EARLY
        again: cython.int = AGAIN
        video: cython.ulonglong = records.VIDEO
        late: cython.ulonglong = records.LATE
        repaired: cython.ulonglong = records.REPAIRED
        stamped: cython.ulonglong = records.STAMPED
        intact: cython.ulonglong = records.INTACT
        flags: cython.ulonglong
        verdict: cython.int
        place: cython.Py_ssize_t
        i: cython.Py_ssize_t
        for i in range(len(places)):
            place = at[i]
            flags = w[4 * i + 3] >> 48
            verdict = say[i]
            say[i] = 0
            if not flags & stamped:
                unstamped[place] += 1
            elif not flags & intact:
                corrupted[place] += 1
                continue
            elif verdict == again:
                repeated[place] += 1
                continue
            elif verdict in (closed, early) and not flags & late:
                reordered[place] += 1
            goodput[place] += w[4 * i + 3] >> 32 & 0xFFFF
            if verdict in (newest, closed) and flags & video and not flags & repaired:
                say[i] = 1


class Tracks:
    """Which place in the columns a viewer's track has: a table with open addressing.

    A key is the viewer's number and, in the lowest bit, whether the track is video.
    """

    def __init__(self) -> None:
        self.count = 0
        self.keys = array("q")
        """By place."""
        self._bits = 8
        self._table = array("q", bytes(8 << self._bits))  # a place and 1; 0: free

    def places(self, words: array[int]) -> array[int]:
        """The place of each record's track, in an array of type "q"; a new one gets the next."""
        many: cython.Py_ssize_t = len(words) // WORDS
        found = array("q", bytes(8 * many))
        self._reserve(self.count + len(found))
        w: cython.ulonglong[::1] = words
        out: cython.longlong[::1] = found
        keys: cython.longlong[::1] = self.keys
        table: cython.longlong[::1] = self._table
        shift: cython.int = 64 - self._bits
        mask: cython.ulonglong = (1 << self._bits) - 1
        spread: cython.ulonglong = SPREAD
        low: cython.ulonglong = 0xFFFF_FFFF
        whole: cython.ulonglong = 0xFFFF_FFFF_FFFF_FFFF
        video: cython.ulonglong = records.VIDEO
        count: cython.longlong = self.count
        key: cython.longlong
        slot: cython.ulonglong
        i: cython.Py_ssize_t
        for i in range(many):
            key = (w[4 * i + 1] & low) << 1 | (w[4 * i + 3] >> 48 & video)
            slot = (key * spread & whole) >> shift
            while table[slot] and keys[table[slot] - 1] != key:
                slot = (slot + 1) & mask
            if not table[slot]:
                keys[count] = key
                count += 1
                table[slot] = count
            out[i] = table[slot] - 1
        self.count = count
        return found

    def place(self, viewer: int, video: bool) -> int | None:
        """Where this track is, if it is known."""
        key = viewer << 1 | video
        slot = self._slot(key)
        while self._table[slot]:
            if self.keys[self._table[slot] - 1] == key:
                return self._table[slot] - 1
            slot = (slot + 1) & ((1 << self._bits) - 1)
        return None

    def _slot(self, key: int) -> int:
        """Where to look for it first."""
        return (key * SPREAD & 0xFFFF_FFFF_FFFF_FFFF) >> (64 - self._bits)

    def _reserve(self, tracks: int) -> None:
        """Have room for so many, with the table at most half full."""
        self.keys.frombytes(bytes(8 * max(0, tracks - len(self.keys))))
        if tracks * 2 <= len(self._table):
            return
        while tracks * 2 > 1 << self._bits:
            self._bits += 1
        self._table = array("q", bytes(8 << self._bits))
        for place in range(self.count):
            slot = self._slot(self.keys[place])
            while self._table[slot]:
                slot = (slot + 1) & ((1 << self._bits) - 1)
            self._table[slot] = place + 1
