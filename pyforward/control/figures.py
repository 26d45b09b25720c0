"""Streams, viewers and the server as the API shows them. Every field says what it is.

Only shapes are here; ``overview`` fills them. A figure that no shard told in time is zero or null.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from pyforward.commands import Codec, Kind

ItemT = TypeVar("ItemT")

SessionState = Literal["connecting", "starting", "live"]
Health = Literal["good", "fair", "poor", "waiting"]

SessionName = Annotated[
    str,
    Field(
        description="The session's id, 16 hexadecimal digits. It grants nothing.",
        pattern="^[0-9a-f]{16}$",
    ),
]
Loss = Annotated[
    float,
    Field(description="Share of packets lost by the last reports, the worse track.", ge=0, le=1),
]
RoundTrip = Annotated[
    float | None,
    Field(description="Round trip in milliseconds; null before the first report.", ge=0),
]
Bitrate = Annotated[int, Field(description="Bits a second over the last whole second.", ge=0)]
SrtpProfile = Annotated[
    str | None, Field(description="The negotiated protection profile; null before the keys.")
]


class Shape(BaseModel):
    """What all shapes of the API have in common: they are complete, and never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Page(Shape, Generic[ItemT]):
    """A part of a list, and the way to the rest of it."""

    items: tuple[ItemT, ...] = Field(description="The part.")
    next: str | None = Field(
        description="The cursor of the next part, to be given as `after`; null after the last."
    )


class Spread(Shape):
    """How a figure is spread over viewers."""

    p50: float = Field(description="Half of them have at most this.")
    p90: float = Field(description="Nine of ten have at most this.")
    p99: float = Field(description="All but one in a hundred have at most this.")
    max: float = Field(description="The highest.")


class TrackFigures(Shape):
    """What came of one track of a publisher."""

    kind: Kind = Field(description="Audio or video.")
    codec: Codec = Field(description="What it carries.")
    packets_received: int = Field(description="Packets that are here, each counted once.", ge=0)
    packets_repaired: int = Field(description="Those of them that were asked for again.", ge=0)
    packets_lost: int = Field(description="Packets that are given up.", ge=0)
    jitter_ms: float | None = Field(
        description="Interarrival jitter in milliseconds (RFC 3550 §6.4.1); null before a packet.",
        ge=0,
    )
    frames: int = Field(description="Pictures, or packets of audio.", ge=0)
    keyframes: int = Field(description="Keyframes among them.", ge=0)


class PublisherFigures(Shape):
    """Who publishes a stream, and what."""

    session: SessionName
    address: str | None = Field(description="Address and port of its media; null before a check.")
    codecs: tuple[Codec, ...] = Field(description="What it sends, by track.")
    connected_s: float = Field(description="Seconds since its offer.", ge=0)
    bitrate_bps: Bitrate
    loss: Loss
    rtt_ms: RoundTrip
    srtp_profile: SrtpProfile
    keyframe_interval_ms: float | None = Field(
        description="Milliseconds between the last two keyframes; null before two.", ge=0
    )
    tracks: tuple[TrackFigures, ...] = Field(description="What came, by track.")


class Quality(Shape):
    """How the viewers of a stream fare, over those who were measured: all of them where one stream
    is asked for, a sample of many where several are."""

    measured: int = Field(description="Viewers that these figures are of.", ge=0)
    connecting: int = Field(description="Of these: without keys so far.", ge=0)
    starting: int = Field(description="Of these: waiting for media or a keyframe.", ge=0)
    stuck: int = Field(
        description="Of those that are starting: they joined five seconds ago or earlier.", ge=0
    )
    live: int = Field(description="Of these: media flows.", ge=0)
    loss: Spread | None = Field(description="Share of packets lost, 0 to 1; null without viewers.")
    rtt_ms: Spread | None = Field(
        description="Round trip in milliseconds; null before the first report of a viewer."
    )
    bitrate_bps: Spread | None = Field(
        description="Bits a second to a viewer; null without live viewers."
    )
    repaired: int = Field(description="Packets that retransmission brought to them.", ge=0)
    drops: int = Field(description="Packets that could not be sent to them.", ge=0)


class StreamFigures(Shape):
    """One stream."""

    name: str = Field(description="Its name.")
    state: Literal["live", "waiting"] = Field(description="Whether it has a publisher.")
    health: Health = Field(
        description="Whether its viewers are well; `waiting` while no media comes."
    )
    health_reason: str = Field(description="Why not, in a sentence; empty where they are.")
    age_s: float = Field(description="Seconds since it exists.", ge=0)
    publisher: PublisherFigures | None = Field(description="Its publisher; null while it waits.")
    viewers: int = Field(description="How many watch it.", ge=0)
    quality: Quality = Field(description="How these fare.")


class ViewerFigures(Shape):
    """One viewer."""

    session: SessionName
    state: SessionState = Field(
        description="`connecting`: no keys so far; `starting`: waits for media or a keyframe."
    )
    shard: int | None = Field(description="The thread that serves it; null before a check.", ge=0)
    address: str | None = Field(description="Address and port of its media; null before a check.")
    srtp_profile: SrtpProfile
    connected_s: float = Field(description="Seconds since its offer.", ge=0)
    packets: int = Field(description="Media packets sent to it for the first time.", ge=0)
    bytes: int = Field(description="Bytes of UDP payload of these.", ge=0)
    nacks: int = Field(description="Packets that it asked for again.", ge=0)
    repaired: int = Field(description="Packets that retransmission brought.", ge=0)
    drops: int = Field(description="Packets that could not be sent to it.", ge=0)
    loss: Loss
    rtt_ms: RoundTrip
    bitrate_bps: Bitrate


class SinkFigures(Shape):
    """One webhook."""

    target: str = Field(description="Scheme, host and port of its address.")
    waiting: int = Field(description="Events that wait for it.", ge=0)
    delivered: int = Field(description="Events that it took.", ge=0)
    failed: int = Field(description="Attempts that failed.", ge=0)
    dropped: int = Field(description="Events that it will never get.", ge=0)


class ServerFigures(Shape):
    """The server."""

    version: str = Field(description="The running version.")
    state: Literal["ready", "stopping"] = Field(description="Whether anybody may join.")
    uptime_s: float = Field(description="Seconds since its start.", ge=0)
    streams: int = Field(description="Streams that exist.", ge=0)
    streams_live: int = Field(description="Those of them that have a publisher.", ge=0)
    viewers: int = Field(description="Viewers of all streams.", ge=0)
    sessions: int = Field(description="Sessions of publishers and viewers.", ge=0)
    bitrate_in_bps: int = Field(description="Media from publishers, bits a second.", ge=0)
    bitrate_out_bps: int = Field(description="Media to viewers, bits a second.", ge=0)
    listeners: int = Field(description="Who listens to `/api/events`.", ge=0)
    listeners_dropped: int = Field(description="Listeners that did not read.", ge=0)
    listeners_refused: int = Field(description="Listeners beyond `events.listeners`.", ge=0)
    webhooks: tuple[SinkFigures, ...] = Field(description="Where events are posted to.")


class Figures(Shape):
    """All that an operator's screen shows, once a second while somebody looks."""

    kind: Literal["figures"] = Field(default="figures", description="The event's name.")
    time: str = Field(description="When they were taken: UTC, RFC 3339.")
    server: ServerFigures = Field(description="The server.")
    streams: tuple[StreamFigures, ...] = Field(
        description="The streams with the most viewers; where one stream is asked for, that one."
    )
    left_out: int = Field(description="Streams that are not among them.", ge=0)
    worst: tuple[ViewerFigures, ...] = Field(
        description="The viewers that fare worst, where one stream is asked for."
    )
