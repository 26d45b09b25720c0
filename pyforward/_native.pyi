"""The packet engine: sockets, threads, SRTP and fan-out, in Rust (``native/``).

Only :mod:`pyforward.engine` imports it. What is written here is checked against the module.
"""

from collections.abc import Sequence
from typing import Final, final

__all__ = [
    "COMMANDS",
    "COUNTERS",
    "DISCARDS",
    "EVENTS",
    "FAN_OUT_BOUNDS_US",
    "JITTER_BOUNDS_US",
    "LATENCY_BOUNDS_US",
    "LOSS_BOUNDS_10000THS",
    "NAMES",
    "RECORDS",
    "ROUND_TRIP_BOUNDS_US",
    "ROWS",
    "STAGES",
    "STAGE_BOUNDS_US",
    "STREAM_FIGURES",
    "TRAIN_BOUNDS",
    "TURN_BOUNDS_US",
    "Engine",
    "Srtp",
]

COMMANDS: Final[dict[str, list[str]]]
"""The commands by class name, with their fields in order, as ``pyforward.commands`` has them."""

RECORDS: Final[dict[str, list[str]]]
"""What commands carry: class names with their fields in order."""

EVENTS: Final[dict[str, list[str]]]
"""The events by class name, with their fields in order."""

ROWS: Final[dict[str, list[str]]]
"""The rows of the event ``Report`` and what they carry: class names with their fields in order."""

NAMES: Final[dict[str, list[str]]]
"""The enumerations that travel by name: Kind, Codec, Extension, SrtpProfile, CloseReason."""

COUNTERS: Final[list[str]]
"""What the first words of :meth:`Engine.stats` count."""

DISCARDS: Final[list[str]]
"""The reasons that the words behind them count dropped packets by."""

TRAIN_BOUNDS: Final[list[int]]
"""Upper bounds of the histogram of packets in a train."""

LATENCY_BOUNDS_US: Final[list[int]]
"""Upper bounds of the histogram of forward latencies, in microseconds."""

TURN_BOUNDS_US: Final[list[int]]
"""Upper bounds of the histogram of how long a shard's turns took, in microseconds."""

FAN_OUT_BOUNDS_US: Final[list[int]]
"""Upper bounds of the histogram of how long one round over all viewers took, in microseconds."""

LOSS_BOUNDS_10000THS: Final[list[int]]
"""Upper bounds of the histogram of the share that viewers' reports tell as lost, in 1/10,000."""

JITTER_BOUNDS_US: Final[list[int]]
"""Upper bounds of the histogram of the jitter that viewers' reports tell, in microseconds."""

ROUND_TRIP_BOUNDS_US: Final[list[int]]
"""Upper bounds of the histogram of the round trips that viewers' reports tell, in microseconds."""

STAGES: Final[list[str]]
"""The stages of a viewer's joining, in the order of their histograms."""

STAGE_BOUNDS_US: Final[list[int]]
"""Upper bounds of each of these histograms, in microseconds."""

STREAM_FIGURES: Final[list[str]]
"""What the words of :meth:`Engine.streams` are."""

@final
class Engine:
    """The shards with their threads and sockets, from making to :meth:`stop`.

    Its methods may be called from any thread and none but ``stop`` waits. If a shard ever fails,
    one line goes to standard error and the process ends with exit code 1.
    """

    def __new__(
        cls,
        addresses: Sequence[str],
        port: int,
        shards: int,
        gso: bool,
        train_packets: int,
        padding: bool,
        sendmmsg: bool,
        recvmmsg: bool,
        riders: bool,
        slice_us: int,
        short_turns: bool,
        frame_window_us: int,
        idle_window_us: int,
        shed_after_us: int,
        keyframe_interval_ms: int,
        silence_ms: int,
        publisher_bitrate_bps: int,
        max_events: int,
        source_address: str | None,
        pace_bytes_per_second: int,
        repeats: bool,
        cores: Sequence[int],
    ) -> Engine:
        """Binds the port on every address and starts the shards.

        No address, or ``"::"``, is every address, ``"0.0.0.0"`` every one of IPv4; port 0 lets the
        kernel choose; 0 shards is one a core, 64 are the most. Sessions in the client role send
        from ``source_address``, or as the route says. Shards are pinned to ``cores`` in turn, if
        there are any. Raises OSError with errno and a
        sentence: the address is not ours, the port is in use, held by which process; ValueError
        for what is no IP address.
        """

    def submit(self, commands: Sequence[object]) -> None:
        """Hands commands (``pyforward.commands``) to the shards, in order.

        All of them, or none: TypeError or ValueError names the field that will not do
        (``AddSession.media.tracks[0].codec must be one of …``). RuntimeError after :meth:`stop`.
        """

    def event_fd(self) -> int:
        """A descriptor that is readable while events wait; it is the engine's to close."""

    def take_events(self, limit: int) -> list[tuple[str, tuple[object, ...]]]:
        """At most ``limit`` events, in order: class name and fields. Rows of a ``Report`` are
        tuples in the order of :data:`ROWS`, and so are their tracks."""

    def stats(self) -> list[list[int]]:
        """The words of each shard: :data:`COUNTERS`, :data:`DISCARDS`, then the histograms of
        :data:`TRAIN_BOUNDS`, :data:`LATENCY_BOUNDS_US`, :data:`TURN_BOUNDS_US`,
        :data:`FAN_OUT_BOUNDS_US`, :data:`LOSS_BOUNDS_10000THS`, :data:`JITTER_BOUNDS_US`,
        :data:`ROUND_TRIP_BOUNDS_US` and for each of :data:`STAGES` of :data:`STAGE_BOUNDS_US`, each
        as its buckets, what is above them, and the sum."""

    def streams(self) -> list[list[int]]:
        """Each stream on each shard in the words of :data:`STREAM_FIGURES`, as told within the
        last half second."""

    def exemplars(self) -> list[tuple[int, int, int, int]]:
        """Viewers who fell into the buckets of the stages' histograms: the numbers of stage and
        bucket, the session, and how long it took in microseconds."""

    def queues(self) -> list[tuple[str, int, int | None]]:
        """Queues by name: how much waits in the fullest of its kind, and how much may."""

    def addresses(self) -> list[tuple[str, int]]:
        """The bound addresses with their port; ``"::"`` stands for every address."""

    def notes(self) -> list[str]:
        """What is worse on this host than it could be (buffers, GSO, IPv6), a sentence each."""

    def stop(self) -> None:
        """Ends the threads and frees the port. Events that wait can still be taken."""

@final
class Srtp:
    """Seals and opens under one master key; for tests against other implementations.

    A packet that is refused raises ValueError with the reason of :data:`DISCARDS`.
    """

    def __new__(cls, profile: str, key: bytes, salt: bytes, window: int) -> Srtp:
        """``window`` is the replay window in packets. Raises ValueError for a profile that there
        is not, or lengths that are not the profile's."""

    def protect(self, index: int, packet: bytes) -> bytes:
        """Seals an RTP packet; ``index`` is rollover counter and sequence number, ``ROC << 16 |
        SEQ``."""

    def unprotect(self, packet: bytes) -> tuple[int, bytes]:
        """Opens an RTP packet: its index and the plain packet."""

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Seals an RTCP compound under the next index."""

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """Opens an RTCP compound."""
