"""Records as the engine would make them, for the tests of the statistics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pyforward_bench.records import (
    INTACT,
    LATE,
    RECORD,
    REPAIRED,
    RESTARTED,
    STAMPED,
    UNKNOWN,
    VIDEO,
    Record,
)

GOOD = STAMPED | INTACT


@dataclass
class Track:
    """A viewer's track. Each packet comes a millisecond after the one before, unless told when."""

    viewer: int = 7
    video: bool = True
    records: list[Record] = field(default_factory=list)
    now_us: int = 1_000_000

    def packet(
        self,
        sequence: int,
        *,
        at_us: int | None = None,
        timestamp: int = 0,
        counter: int | None = None,
        latency_us: int = UNKNOWN,
        size: int = 1_200,
        flags: int = GOOD,
    ) -> None:
        """One more; the counter is the sequence number, if nothing is said."""
        self.now_us = self.now_us + 1_000 if at_us is None else at_us
        self.records.append(
            Record(
                self.now_us,
                self.viewer,
                sequence & 0xFFFF_FFFF,
                timestamp & 0xFFFF_FFFF,
                (sequence if counter is None else counter) & 0xFFFF_FFFF,
                latency_us,
                size,
                flags | (VIDEO if self.video else 0),
            )
        )

    def packets(self, sequences: Iterable[int], *, flags: int = GOOD) -> None:
        """Several."""
        for sequence in sequences:
            self.packet(sequence, flags=flags)

    def late(self, sequence: int, *, repaired: bool = True, at_us: int | None = None) -> None:
        """One after newer ones."""
        flags = GOOD | LATE | (REPAIRED if repaired else 0)
        self.packet(sequence, at_us=at_us, flags=flags)

    def restart(self, sequence: int, counter: int) -> None:
        """The sender begins anew."""
        self.packet(sequence, counter=counter, flags=GOOD | RESTARTED)


def packed(records: Sequence[Record]) -> bytes:
    """As the engine's event has them."""
    return b"".join(RECORD.pack(*record) for record in records)


def together(*tracks: Track) -> bytes:
    """All of them in order of arrival."""
    every = [record for track in tracks for record in track.records]
    return packed(sorted(every, key=lambda record: record.arrival_us))
