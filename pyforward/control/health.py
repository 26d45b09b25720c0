"""Whether the viewers of a stream are well, and in a sentence why not.

The one place with these thresholds. A percent of loss is repaired without anybody noticing; five
are not, on most lines.
"""

from __future__ import annotations

from pyforward.control.figures import Health, PublisherFigures, Quality

FAIR_LOSS = 0.01
POOR_LOSS = 0.05
FAIR_STUCK = 0.01
POOR_STUCK = 0.1
LONG_KEYFRAME_INTERVAL_MS = 10_000


BEGINNING_S = 2.0
"""Bitrates are those of the last whole second: of a publisher that has just begun there is none."""


def health(
    publisher: PublisherFigures | None, quality: Quality, *, flows_s: float | None
) -> tuple[Health, str]:
    """The worst of what is known. ``flows_s`` is how long ago media of this publisher began to
    come; None before."""
    if publisher is None:
        return "waiting", "Nobody publishes it."
    if flows_s is None:
        return "waiting", "The publisher has sent nothing so far."
    if publisher.bitrate_bps == 0 and flows_s < BEGINNING_S:
        return "waiting", "The publisher has just begun."
    found = [_publisher(publisher), *_stuck(quality), *_loss(quality)]
    order: list[Health] = ["poor", "fair", "good"]
    return min(found, key=lambda one: order.index(one[0]))


# Private -----------------------------------------------------------------------------------------


def _publisher(publisher: PublisherFigures) -> tuple[Health, str]:
    if publisher.bitrate_bps == 0:
        return "poor", "Nothing comes from the publisher."
    lost = f"The publisher's line loses {_percent(publisher.loss)} of the packets."
    if publisher.loss >= POOR_LOSS:
        return "poor", lost
    if publisher.loss >= FAIR_LOSS:
        return "fair", lost
    interval_ms = publisher.keyframe_interval_ms or 0
    if interval_ms >= LONG_KEYFRAME_INTERVAL_MS:
        return "fair", (
            f"Keyframes come every {interval_ms / 1000:.0f} s: a new viewer may wait as long."
        )
    return "good", ""


def _stuck(quality: Quality) -> list[tuple[Health, str]]:
    """Those without a picture lose nothing, and report nothing."""
    connected = quality.starting + quality.live
    if quality.stuck == 0 or quality.stuck < FAIR_STUCK * connected:
        return []
    level: Health = "poor" if quality.stuck >= POOR_STUCK * connected else "fair"
    return [(level, f"{quality.stuck} of {connected} viewers wait for media or a keyframe.")]


def _loss(quality: Quality) -> list[tuple[Health, str]]:
    loss = quality.loss
    if loss is None:
        return []
    if loss.p50 >= POOR_LOSS:
        return [("poor", f"Half of the viewers lose {_percent(loss.p50)} of the packets or more.")]
    if loss.p90 >= FAIR_LOSS:
        level: Health = "poor" if loss.p90 >= POOR_LOSS else "fair"
        return [
            (level, f"A tenth of the viewers loses {_percent(loss.p90)} of the packets or more.")
        ]
    return []


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
