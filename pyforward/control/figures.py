"""Streams and viewers as the API shows them: what the books know, with the figures of the engine.

Field names are the API's. A figure that no shard told in time is zero or null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from pyforward.commands import Codec, SessionReport
from pyforward.control.context import Context
from pyforward.errors import BadRequest, StreamNotFound
from pyforward.ids import SessionId, format_session
from pyforward.state import Phase, Session, Stream

ItemT = TypeVar("ItemT")

SessionState = Literal["connecting", "starting", "live"]


@dataclass(frozen=True, slots=True)
class Page(Generic[ItemT]):
    """A part of a list, and the cursor of the next part; None after the last."""

    items: tuple[ItemT, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class PublisherFigures:
    """Who publishes a stream, and what."""

    session: str
    codecs: tuple[Codec, ...]
    bitrate_bps: int
    srtp_profile: str | None
    keyframe_interval_ms: float | None


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """One stream. ``viewers`` counts them."""

    name: str
    state: Literal["live", "waiting"]
    age_s: float
    publisher: PublisherFigures | None
    viewers: int


@dataclass(frozen=True, slots=True)
class ViewerFigures:
    """One viewer."""

    session: str
    state: SessionState
    shard: int | None
    address: str | None
    srtp_profile: str | None
    packets: int
    bytes: int
    nacks: int
    repaired: int
    drops: int
    loss: float
    rtt_ms: float | None


async def streams(context: Context, after: str | None, limit: int) -> Page[StreamFigures]:
    """Streams by name, those that come after the cursor."""
    found = [stream for stream in context.books.streams() if after is None or stream.name > after]
    page = found[:limit]
    items = await _figures(context, page)
    return Page(items, page[-1].name if len(found) > limit else None)


async def stream(context: Context, name: str) -> StreamFigures:
    """One stream by its name."""
    (figures,) = await _figures(context, [find_stream(context, name)])
    return figures


async def viewers(
    context: Context, name: str, after: str | None, limit: int
) -> Page[ViewerFigures]:
    """A stream's viewers in the order in which they joined, those that come after the cursor."""
    first = _cursor_number(after)
    present = find_stream(context, name).viewers.values()
    found = [session for session in present if session.number > first]
    page = found[:limit]
    reports = await context.reports.ask(session.id for session in page)
    items = tuple(_viewer(session, reports.get(session.id)) for session in page)
    return Page(items, str(page[-1].number) if len(found) > limit else None)


def find_stream(context: Context, name: str) -> Stream:
    """The stream, or :class:`StreamNotFound`."""
    found = context.books.stream(name)
    if found is None:
        raise StreamNotFound(name)
    return found


async def _figures(context: Context, page: list[Stream]) -> tuple[StreamFigures, ...]:
    # What the books say is taken before the engine is asked: they may change while it answers.
    now = context.clock()
    taken = [
        (stream.name, stream.state, now - stream.created_at, stream.publisher, len(stream.viewers))
        for stream in page
    ]
    publishers = [publisher.id for *_, publisher, _ in taken if publisher is not None]
    reports = await context.reports.ask(publishers)
    return tuple(
        StreamFigures(
            name=name,
            state=state,
            age_s=round(age_s, 3),
            publisher=_publisher(publisher, reports) if publisher is not None else None,
            viewers=count,
        )
        for name, state, age_s, publisher, count in taken
    )


def _publisher(session: Session, reports: dict[SessionId, SessionReport]) -> PublisherFigures:
    report = reports.get(session.id)
    return PublisherFigures(
        session=format_session(session.id),
        codecs=session.codecs,
        bitrate_bps=report.bitrate_bps if report is not None else 0,
        srtp_profile=session.srtp_profile or None,
        keyframe_interval_ms=report.keyframe_interval_ms if report is not None else None,
    )


def _viewer(session: Session, report: SessionReport | None) -> ViewerFigures:
    address = (report.address if report is not None else None) or session.address
    return ViewerFigures(
        session=format_session(session.id),
        state=report.state if report is not None else _state(session),
        shard=report.shard if report is not None else session.shard,
        address=_format_address(address) if address is not None else None,
        srtp_profile=session.srtp_profile or None,
        packets=report.packets if report is not None else 0,
        bytes=report.bytes if report is not None else 0,
        nacks=report.nacks if report is not None else 0,
        repaired=report.repaired if report is not None else 0,
        drops=report.drops if report is not None else 0,
        loss=report.loss if report is not None else 0.0,
        rtt_ms=report.rtt_ms if report is not None else None,
    )


def _state(session: Session) -> SessionState:
    match session.phase:
        case Phase.KEYED:
            return "starting"
        case Phase.FLOWING:
            return "live"
        case _:
            return "connecting"


def _format_address(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _cursor_number(after: str | None) -> int:
    if after is None:
        return 0
    if not (after.isascii() and after.isdigit()) or len(after) > 18:
        raise BadRequest("after is a cursor that an earlier page gave as next.")
    return int(after)
