"""What people see: the table, and the sums at the end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from pyforward.client.screen import Screen, sent, told
from pyforward.client.watching import Figures, TrackFigures, Viewer
from pyforward.ids import new_session_id
from tests.unit.signalling.world import report_row

AUDIO = TrackFigures("audio", "opus", 500, 499, 1, 1, 40_000, None, 499, 0)
VIDEO = TrackFigures("video", "h264", 3000, 2990, 4, 10, 1_000_000, 1.25, 900, 30)
FIGURES = Figures(
    viewers=50,
    joined=48,
    failed={"http_503": 2},
    ended={"silent": 3},
    srtp_profile="SRTP_AEAD_AES_128_GCM",
    first_packet_ms=41.5,
    first_keyframe_ms=None,
    tracks=(AUDIO, VIDEO),
)


def terminal() -> Console:
    return Console(record=True, force_terminal=True, width=160, stderr=True, quiet=False)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the next look says, in seconds."""
    now = [100.0]
    monkeypatch.setattr("pyforward.client.screen.time.monotonic", lambda: now[0])
    return now


def test_the_table(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Screen("http://[fe80::1]:8080", quiet=False, console=terminal()) as screen:
        screen.show(FIGURES)
        clock[0] += 2.0
        screen.show(replace(FIGURES, tracks=(AUDIO, replace(VIDEO, bytes=1_500_000))))
    shown = capsys.readouterr().err
    assert "http://[fe80::1]:8080: 48 of 50 joined, 2 failed, 3 ended" in shown
    assert "video h264" in shown
    assert "2.00 Mbit/s" in shown, "half a million bytes in two seconds"
    assert "0.00 Mbit/s" in shown, "the audio stands still"
    for column in ("repaired", "lost", "jitter", "keyframes", "2990", "1.2 ms"):
        assert column in shown


@pytest.mark.parametrize(
    ("quiet", "console"),
    [(True, terminal()), (False, Console(stderr=True, force_terminal=False))],
    ids=["json", "no terminal"],
)
def test_no_table_where_nobody_looks(
    quiet: bool, console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    with Screen("http://h", quiet=quiet, console=console) as screen:
        screen.show(FIGURES)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_the_sums() -> None:
    viewers = [Viewer(failed="http_503", sentence="http://h answered 503: Every place is taken.")]
    assert told(FIGURES, viewers).splitlines() == [
        "48 of 50 viewers joined (SRTP_AEAD_AES_128_GCM)",
        "2 failed (http_503): http://h answered 503: Every place is taken.",
        "3 ended before (silent)",
        "first packet after 41.5 ms, first keyframe after - (medians)",
        "audio opus: 499 of 500 packets, 1 repaired, 1 lost, 499 frames, 0 keyframes, jitter -",
        (
            "video h264: 2990 of 3000 packets, 4 repaired, 10 lost, 900 frames, 30 keyframes, "
            "jitter 1.2 ms"
        ),
    ]


def test_what_was_sent() -> None:
    row = report_row(new_session_id())
    assert sent(row) == (
        "100 packets sent (0.1 MB, SRTP_AEAD_AES_128_GCM), 5 asked for again, 4 sent again, "
        "round trip 12 ms"
    )
    assert sent(replace(row, rtt_ms=None)).endswith("4 sent again")
