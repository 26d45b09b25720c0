# cython: wraparound=False
"""Numbers that should come once each and in order: which are missing, which come late or again.

One :class:`Numbering` follows one such number for every track: RTP sequence numbers, or the
counters in stamps. A number that did not come is an open gap for as long as it is less than
``WINDOW`` behind the newest; one that closes it in time was no loss. After that it is given up, and
what is missing in a row is one run. It knows nothing of records and flags.

In Cython's pure-Python mode, as ``histogram``.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import cython

WINDOW: Final = 2_048  # a bit for each number: 256 bytes a track
WORDS: Final = WINDOW // 64
REVEALED: Final = 32  # gaps whose time of appearance is remembered: 512 bytes a track

# What ``follow`` is asked to do with a number.
IGNORE: Final = 0
FOLLOW: Final = 1
BEGIN: Final = 2
"""The sender began anew with this number."""
DOUBT: Final = 3
"""The number may be damaged: believe it only where it does not lead far."""

# What ``follow`` says of it.
IGNORED: Final = 0
NEWEST: Final = 1
CLOSED: Final = 2
"""It closed a gap, or a part of one."""
EARLY: Final = 3
"""It is from before the first that was seen."""
AGAIN: Final = 4
"""It was seen before."""
FAR: Final = 5
"""``WINDOW`` or more away, and the next number did not confirm it yet (RFC 3550 §A.1)."""


class Numbering:
    """The numbers of all tracks. They have 32 bits and wrap.

    ``missing`` is by track: how many numbers between the first and the newest have not come,
    whether given up or not. One that came although it was given up stays missing. Only a ``timed``
    one knows when a gap was revealed.
    """

    def __init__(self, timed: bool = False) -> None:
        self.timed = timed
        self.missing = array("q")
        self._begun = array("i")
        # The 32 bits are continued upwards at a wrap, and downwards below the first.
        self._newest = array("q")
        self._first = array("q")
        self._start = array("q")  # what is older was counted before, or not at all
        self._before = array("q")  # how many are due from before the start
        self._confirms = array("q")  # the number that would confirm a far one; -1: none would
        self._row = array("q")  # how many in a row were given up last
        self._gaps = array("Q")  # a bit where a number is missing, at its low 11 bits
        self._reveals = array("q")  # pairs: where a gap began, and when that was seen
        self._revealed = array("q")  # how many there were
        self._runs: dict[int, int] = {}

    def due(self, place: int) -> int:
        """How many numbers there were, from the first to the newest that came."""
        if not self._begun[place]:
            return 0
        return self._before[place] + self._newest[place] - self._start[place] + 1

    def reserve(self, tracks: int) -> None:
        """Have room for so many tracks."""
        more = tracks - len(self.missing)
        if more < 1:
            return
        for column in (self.missing, self._newest, self._first, self._start, self._before):
            column.frombytes(bytes(8 * more))
        self._row.frombytes(bytes(8 * more))
        self._begun.frombytes(bytes(4 * more))
        self._confirms.frombytes(bytes(8 * more))
        self._gaps.frombytes(bytes(8 * WORDS * more))
        self._revealed.frombytes(bytes(8 * more))
        if self.timed:
            self._reveals.frombytes(bytes(16 * REVEALED * more))

    def follow(
        self,
        words: array[int],
        column: int,
        places: array[int],
        wanted: array[int],
        said: array[int],
        revealed: array[int],
    ) -> None:
        """Take the number in the upper half of this column of each record.

        ``words`` are records, four words each; ``places`` says whose the record is, ``wanted`` what
        to do. Into ``said`` goes what the number is, and into ``revealed`` when the gap that it
        closes was first seen, in the records' time; 0 where that is not known.
        """
        w: cython.ulonglong[::1] = words
        at: cython.longlong[::1] = places
        ask: cython.int[::1] = wanted
        say: cython.int[::1] = said
        seen: cython.longlong[::1] = revealed
        missing: cython.longlong[::1] = self.missing
        begun: cython.int[::1] = self._begun
        newest: cython.longlong[::1] = self._newest
        first: cython.longlong[::1] = self._first
        start: cython.longlong[::1] = self._start
        before: cython.longlong[::1] = self._before
        confirms: cython.longlong[::1] = self._confirms
        row: cython.longlong[::1] = self._row
        gaps: cython.ulonglong[::1] = self._gaps
        timed: cython.bint = self.timed
        of: cython.Py_ssize_t = column
        ignore: cython.int = IGNORE
        doubt: cython.int = DOUBT
        begin: cython.int = BEGIN
        ignored: cython.int = IGNORED
        is_newest: cython.int = NEWEST
        closed: cython.int = CLOSED
        early: cython.int = EARLY
        again: cython.int = AGAIN
        far: cython.int = FAR
        window: cython.longlong = WINDOW
        words_each: cython.longlong = WORDS
        low: cython.longlong = 0xFFFFFFFF  # the compiler takes so large a literal for an object
        half: cython.longlong = 0x80000000
        one: cython.ulonglong = 1
        bit: cython.ulonglong
        place: cython.longlong
        word: cython.longlong
        number: cython.longlong
        ahead: cython.longlong
        step: cython.longlong
        i: cython.Py_ssize_t
        # One long loop: what it called, the compiled twin would call through Python.
        for i in range(len(places)):
            if ask[i] == ignore:
                say[i] = ignored
                continue
            place = at[i]
            number = w[4 * i + of] >> 32
            ahead = ((number - newest[place] + half) & low) - half
            if not begun[place] or ask[i] == begin or ahead >= window or ahead <= -window:
                if ask[i] == doubt:
                    say[i] = ignored
                    continue
                if not begun[place] or ask[i] == begin:
                    self._begin(place, number)
                    say[i] = is_newest
                    continue
                # One far number may be a straggler; a second one, next to it, is a jump.
                if confirms[place] != number:
                    confirms[place] = (number + 1) & low
                    say[i] = far
                    continue
                self._jump(place, newest[place] + ahead - 1)
                ahead = 1
            if confirms[place] >= 0:
                confirms[place] = -1
            if ahead > 0:
                # Each number on the way takes the bit of the one that leaves the window.
                for step in range(1, ahead + 1):
                    number = newest[place] + step
                    word = place * words_each + ((number & 2_047) >> 6)
                    bit = one << (number & 63)
                    if gaps[word] & bit:
                        if number - window >= start[place]:
                            row[place] += 1
                        gaps[word] &= ~bit
                    elif row[place]:
                        self._end_row(place)
                    if step < ahead:
                        gaps[word] |= bit
                if ahead > 1:
                    missing[place] += ahead - 1
                    if timed:
                        self._reveal(place, newest[place] + 1, w[4 * i])
                newest[place] += ahead
                say[i] = is_newest
                continue
            number = newest[place] + ahead
            word = place * words_each + ((number & 2_047) >> 6)
            bit = one << (number & 63)
            if gaps[word] & bit:
                gaps[word] &= ~bit
                if number >= start[place]:
                    missing[place] -= 1
                else:
                    before[place] += 1
                if timed:
                    seen[i] = self._revealed_at(place, number)
                say[i] = closed
            elif number < first[place]:
                before[place] += 1
                say[i] = early
            else:
                say[i] = again

    def runs(self) -> dict[int, int]:
        """How long the runs of missing numbers are, and how often each length occurs, in order.

        What is missing and could still come counts as it stands.
        """
        found = dict(self._runs)
        row: cython.longlong[::1] = self._row
        gaps: cython.ulonglong[::1] = self._gaps
        words_each: cython.Py_ssize_t = WORDS
        is_open: cython.bint
        place: cython.Py_ssize_t
        word: cython.Py_ssize_t
        for place in range(len(self.missing)):
            is_open = row[place] > 0
            for word in range(place * words_each, (place + 1) * words_each):
                if gaps[word]:
                    is_open = True
            if is_open:
                self._add_open(place, found)
        return dict(sorted(found.items()))

    def clear(self) -> None:
        """Count anew from here; what was missing until now may still come and is nobody's loss."""
        for place in range(len(self.missing)):
            self._before[place] = self.missing[place] = self._row[place] = 0
            self._start[place] = self._newest[place] + 1
        self._runs.clear()

    def _begin(self, place: int, number: int) -> None:
        if self._begun[place]:
            self._give_up(place)
        self._before[place] = self.due(place)
        self._begun[place] = 1
        self._newest[place] = self._first[place] = self._start[place] = number
        self._confirms[place] = -1

    def _jump(self, place: int, number: int) -> None:
        """To a far number, which came: forward over what is missing, or back to begin anew."""
        ahead = number - self._newest[place]
        if ahead < 0:
            self._begin(place, number)
            return
        self._give_up(place)
        self._newest[place] = number
        self.missing[place] += ahead - 1
        _add(self._runs, ahead - 1)

    def _give_up(self, place: int) -> None:
        """Close the window: what is missing is lost."""
        self._add_open(place, self._runs)
        self._row[place] = 0
        for word in range(place * WORDS, (place + 1) * WORDS):
            self._gaps[word] = 0

    def _end_row(self, place: int) -> None:
        _add(self._runs, self._row[place])
        self._row[place] = 0

    def _add_open(self, place: int, runs: dict[int, int]) -> None:
        """Add the runs of what is missing in the window, and of what was given up before it."""
        gaps: cython.ulonglong[::1] = self._gaps
        base: cython.longlong = place * WORDS
        newest: cython.longlong = self._newest[place]
        start: cython.longlong = self._start[place]
        row: cython.longlong = self._row[place]
        number: cython.longlong
        for number in range(newest - WINDOW + 1, newest + 1):
            if gaps[base + ((number & 2_047) >> 6)] >> (number & 63) & 1:
                if number >= start:
                    row += 1
            elif row > 0:
                _add(runs, row)
                row = 0

    def _reveal(self, place: int, number: int, when: int) -> None:
        """Remember when the gap that begins with this number was seen."""
        slot = 2 * (place * REVEALED + self._revealed[place] % REVEALED)
        self._reveals[slot] = number
        self._reveals[slot + 1] = when
        self._revealed[place] += 1

    def _revealed_at(self, place: int, number: int) -> int:
        """When the gap with this number was seen; 0 when that is forgotten."""
        count = self._revealed[place]
        for gap in range(count - 1, max(-1, count - 1 - REVEALED), -1):
            slot = 2 * (place * REVEALED + gap % REVEALED)
            if self._reveals[slot] <= number:
                return self._reveals[slot + 1]
        return 0


def _add(runs: dict[int, int], length: int) -> None:
    if length > 0:
        runs[length] = runs.get(length, 0) + 1
