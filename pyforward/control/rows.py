"""What shards report of sessions, in the shapes of the API. Pure: rows in, figures out."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from pyforward.commands import SessionReport
from pyforward.control.figures import (
    PublisherFigures,
    Quality,
    SessionState,
    Spread,
    TrackFigures,
    ViewerFigures,
)
from pyforward.ids import format_session
from pyforward.state import Phase, Session

Row = tuple[Session, SessionReport | None]
"""A session, and what was told of it in time."""


def badness(row: Row) -> tuple[float, ...]:
    """Sorts the worst viewers first."""
    session, report = row
    if report is None:
        return (0.0, 0.0, 0.0, session.number)
    return (-report.loss, -float(report.drops), -(report.rtt_ms or 0.0), session.number)


LONG_START_S = 5.0
"""A viewer that joined so long ago has a picture, or something is wrong."""


def quality_of(rows: Sequence[Row], now: float) -> Quality:
    """How these viewers fare."""
    reports = [report for _, report in rows if report is not None]
    states = [report.state if report is not None else _state(one) for one, report in rows]
    live = [report for report in reports if report.state == "live"]
    return Quality(
        measured=len(rows),
        connecting=states.count("connecting"),
        starting=states.count("starting"),
        stuck=sum(
            state == "starting" and since(one.opened_at, now) >= LONG_START_S
            for (one, _), state in zip(rows, states, strict=True)
        ),
        live=states.count("live"),
        loss=_spread([report.loss for report in live]),
        rtt_ms=_spread([report.rtt_ms for report in live if report.rtt_ms is not None]),
        bitrate_bps=_spread([float(report.bitrate_bps) for report in live]),
        repaired=sum(report.repaired for report in reports),
        drops=sum(report.drops for report in reports),
    )


def publisher_of(session: Session, report: SessionReport | None, now: float) -> PublisherFigures:
    """A publisher."""
    return PublisherFigures(
        session=format_session(session.id),
        address=_address(session, report),
        codecs=session.codecs,
        connected_s=since(session.opened_at, now),
        bitrate_bps=report.bitrate_bps if report is not None else 0,
        loss=_share(report.loss) if report is not None else 0.0,
        rtt_ms=report.rtt_ms if report is not None else None,
        srtp_profile=session.srtp_profile or None,
        keyframe_interval_ms=report.keyframe_interval_ms if report is not None else None,
        tracks=tuple(
            TrackFigures(
                kind=track.kind,
                codec=track.codec,
                packets_received=track.packets_received,
                packets_repaired=track.packets_repaired,
                packets_lost=track.packets_lost,
                jitter_ms=track.jitter_ms,
                frames=track.frames,
                keyframes=track.keyframes,
            )
            for track in (report.tracks if report is not None else ())
        ),
    )


def viewer_of(session: Session, report: SessionReport | None, now: float) -> ViewerFigures:
    """A viewer."""
    return ViewerFigures(
        session=format_session(session.id),
        state=report.state if report is not None else _state(session),
        shard=report.shard if report is not None else session.shard,
        address=_address(session, report),
        srtp_profile=session.srtp_profile or None,
        connected_s=since(session.opened_at, now),
        packets=report.packets if report is not None else 0,
        bytes=report.bytes if report is not None else 0,
        nacks=report.nacks if report is not None else 0,
        repaired=report.repaired if report is not None else 0,
        drops=report.drops if report is not None else 0,
        loss=_share(report.loss) if report is not None else 0.0,
        rtt_ms=report.rtt_ms if report is not None else None,
        bitrate_bps=report.bitrate_bps if report is not None else 0,
    )


def since(at: float, now: float) -> float:
    """Seconds, never below zero."""
    return round(max(0.0, now - at), 3)


# Private ------------------------------------------------------------------------------------------


def _spread(values: list[float]) -> Spread | None:
    """By nearest rank: each of the figures is that of some viewer."""
    if not values:
        return None
    values.sort()

    def at(share: float) -> float:
        return round(values[max(0, ceil(share * len(values)) - 1)], 4)

    return Spread(p50=at(0.5), p90=at(0.9), p99=at(0.99), max=at(1.0))


def _state(session: Session) -> SessionState:
    match session.phase:
        case Phase.KEYED:
            return "starting"
        case Phase.FLOWING:
            return "live"
        case _:
            return "connecting"


def _address(session: Session, report: SessionReport | None) -> str | None:
    address = (report.address if report is not None else None) or session.address
    if address is None:
        return None
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _share(loss: float) -> float:
    return round(min(max(loss, 0.0), 1.0), 4)
