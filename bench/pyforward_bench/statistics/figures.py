"""What a tally found: frozen, and in plain numbers and histograms."""

from __future__ import annotations

from dataclasses import dataclass

from pyforward_bench.statistics.histogram import Histogram


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What can be said of one viewer and of all of them alike, both tracks together."""

    packets: int
    bytes: int
    """Of UDP payload."""
    goodput_bytes: int
    """Without packets whose content came before and without corrupted ones."""
    expected: int
    """By sequence number, from the first to the newest."""
    lost: int
    """Of those, what has not come, whether it was given up or not."""
    repaired: int
    """Came because it was asked for, or as a retransmission."""
    late: int
    """Came after a packet with a higher sequence number."""
    restarts: int
    """How often a sender began anew."""
    frames: int
    """Of video, without the one that is still open."""
    missing: int
    """By stamp counter: what the publisher sent, from the first to the newest that came, and what
    has not come."""
    repeated: int
    """By stamp counter: came before, within the last 2,048 packets of the track."""
    reordered_content: int
    """An older stamp counter under a newer sequence number."""
    corrupted: int
    """The stamp's checksum is wrong."""
    unstamped: int
    jitter_ms: float | None
    """RFC 3550 §6.4.1 with a clock of 90 kHz for video and 48 kHz for audio: the mean over all
    tracks. None before one has two packets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewerFigures(Counts):
    """One viewer's."""

    viewer: int
    duration_s: float
    """From its first packet to its newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures(Counts):
    """A whole run's. The histograms are copies."""

    viewers: int
    """How many of them received anything."""
    loss_runs: dict[int, int]
    """How many packets were lost in a row, and how often. A gap that was repaired is no loss."""
    packet_latency_us: Histogram
    """Of each packet whose latency is known."""
    frame_latency_us: Histogram
    """Of a video frame: from the latest time of sending to the latest arrival of its packets. What
    comes after the next frame has begun is not in it."""
    repair_us: Histogram
    """From the arrival that revealed a gap to the arrival of a packet that repaired it."""
    skew_us: Histogram
    """Of a video packet: from the first to the last viewer's. Empty unless asked for."""
    last_share: float | None
    """The largest share of those packets for which one viewer was the last. None without any."""
