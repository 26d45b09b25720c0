"""Every event, declared once: its name, its fields and what each means.

Server-sent events, webhooks, the OpenAPI document and docs/operate/console.md all read these
models. Identifiers of sessions are those of the API; they grant nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field

from pyforward.commands import CloseReason, Codec

EXAMPLE_SESSION = "00064d0f3f2a91c4"

StreamName = Annotated[str, Field(description="The stream's name.", examples=["live"])]
SessionName = Annotated[
    str,
    Field(
        description="The session's id, 16 hexadecimal digits. It grants nothing.",
        pattern="^[0-9a-f]{16}$",
        examples=[EXAMPLE_SESSION],
    ),
]
Codecs = Annotated[tuple[Codec, ...], Field(description="What the publisher sends, by track.")]
_NAME = Field(description="The event's name.")
ViewersNow = Annotated[int, Field(description="Viewers of the stream after this event.", ge=0)]


class _Told(BaseModel):
    """What every event has. The feed sets both fields when it tells the event."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(
        default="",
        description="Unique over restarts: the same number for every listener and every webhook. "
        "Goes back to the server as Last-Event-ID.",
        examples=["674ac0de-17"],
    )
    time: str = Field(
        default="",
        description="When it happened: UTC, RFC 3339, with milliseconds.",
        examples=["2026-03-01T12:00:00.250Z"],
    )


class StreamStarted(_Told):
    """The first media of a stream came: of a new one, or of one that had ended."""

    kind: Annotated[Literal["stream_started"], _NAME] = "stream_started"
    stream: StreamName
    session: SessionName
    codecs: Codecs


class PublisherLost(_Told):
    """The publisher is gone. Viewers are kept, and the stream waits for a publisher."""

    kind: Annotated[Literal["publisher_lost"], _NAME] = "publisher_lost"
    stream: StreamName
    session: SessionName
    reason: CloseReason = Field(description="Why its session ended; see docs/lifetimes.md.")
    published_s: float = Field(description="Seconds from its first media to its end.", ge=0)
    viewers: ViewersNow


class PublisherBack(_Told):
    """Media came again after the publisher had been lost; the same viewers go on."""

    kind: Annotated[Literal["publisher_back"], _NAME] = "publisher_back"
    stream: StreamName
    session: SessionName
    codecs: Codecs
    away_s: float = Field(description="Seconds without a publisher.", ge=0)
    viewers: ViewersNow


class PublisherReplaced(_Told):
    """Another publisher took the stream over while the one before it was still there."""

    kind: Annotated[Literal["publisher_replaced"], _NAME] = "publisher_replaced"
    stream: StreamName
    session: SessionName
    replaced: str = Field(description="The id of the session before it.", pattern="^[0-9a-f]{16}$")
    codecs: Codecs


class StreamEnded(_Told):
    """The stream is over: nobody came back in time, an operator ended it, or the server stops."""

    kind: Annotated[Literal["stream_ended"], _NAME] = "stream_ended"
    stream: StreamName
    reason: Literal["no_publisher", "deleted", "stopping"] = Field(
        description="`no_publisher`: none came back within `streams.wait_s`; `deleted`: an "
        "operator ended it; `stopping`: the server stops."
    )
    lasted_s: float = Field(description="Seconds since it started.", ge=0)


class ViewerJoined(_Told):
    """Media flows to a viewer. Above `events.viewers_per_s` such events are summed."""

    kind: Annotated[Literal["viewer_joined"], _NAME] = "viewer_joined"
    stream: StreamName
    session: SessionName
    took_s: float = Field(description="Seconds from its offer to the first packet.", ge=0)
    viewers: ViewersNow


class ViewerLeft(_Told):
    """A viewer that had media is gone. Above `events.viewers_per_s` such events are summed."""

    kind: Annotated[Literal["viewer_left"], _NAME] = "viewer_left"
    stream: StreamName
    session: SessionName
    reason: CloseReason = Field(description="Why its session ended; see docs/lifetimes.md.")
    watched_s: float = Field(description="Seconds from its first packet to its end.", ge=0)
    viewers: ViewersNow


class ViewersChanged(_Told):
    """The viewers that came and went within a second, beyond those that were told one by one."""

    kind: Annotated[Literal["viewers_changed"], _NAME] = "viewers_changed"
    stream: StreamName
    joined: int = Field(description="How many joined.", ge=0)
    left: int = Field(description="How many left.", ge=0)
    reasons: dict[CloseReason, int] = Field(description="Why those that left did, with counts.")
    viewers: ViewersNow


class CapacityReached(_Told):
    """A join was refused because a limit is reached. Told at once and then at most every ten
    seconds for each limit, with the number of those who were refused since."""

    kind: Annotated[Literal["capacity_reached"], _NAME] = "capacity_reached"
    limit: str = Field(
        description="The setting, as in docs/settings.md, or `claims.viewers` where the token of "
        "the viewer allows no more.",
        examples=["limits.viewers"],
    )
    value: int = Field(description="How much it allows.", ge=0)
    stream: str | None = Field(
        default=None, description="The stream that is full; null where it is the server."
    )
    refused: int = Field(description="Joins refused since the last event of this limit.", ge=1)


class Missed(_Told):
    """Events that this listener will not see: it came back too late for them, or to a server that
    has been restarted meanwhile. Only listeners are told it, never webhooks."""

    kind: Annotated[Literal["missed"], _NAME] = "missed"
    count: int | None = Field(
        description="How many; null where the server was restarted and cannot know.", ge=1
    )


Event: TypeAlias = (
    StreamStarted
    | PublisherLost
    | PublisherBack
    | PublisherReplaced
    | StreamEnded
    | ViewerJoined
    | ViewerLeft
    | ViewersChanged
    | CapacityReached
)

EVENTS: tuple[type[_Told], ...] = get_args(Event)
"""The models, in the order of a stream's life."""
