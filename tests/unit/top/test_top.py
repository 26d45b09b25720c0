"""``top``: what it reads of a server that may be anybody's, and what reaches the terminal."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from pyforward import cli
from pyforward.errors import ConfigError
from pyforward.top import Server, events
from pyforward.top.events import Reader
from pyforward.top.screen import Screen, bitrate, count, duration, milliseconds, percent, plain

HOSTILE = "\x1b[2J[red]\u202e\n<b>"


def read(*chunks: bytes) -> list[dict[str, Any]]:
    reader = Reader()
    return [event for chunk in chunks for event in reader.feed(chunk)]


# Reading ------------------------------------------------------------------------------------------


def test_events_come_whole_however_they_are_cut() -> None:
    text = 'retry: 1\n\n:\n\nid: r-1\ndata: {"kind": "x", "é": 1}\n\ndata: {}\r\n\r\n'.encode()
    for cut in range(len(text)):
        assert read(text[:cut], text[cut:]) == [{"kind": "x", "é": 1}, {}]
    reader = Reader()
    list(reader.feed(text))
    assert reader.last_id == "r-1"


@pytest.mark.parametrize("data", ["", "1", "[]", "null", "{", "[" * 100_000, "\ud800"])
def test_what_is_no_object_is_passed_over(data: str) -> None:
    block = f"data: {data}\n\n".encode(errors="surrogatepass")
    assert read(block, b'data: {"a": 1}\n\n') == [{"a": 1}]


def test_an_event_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_EVENT_BYTES", 1000)
    for line in (b"x", b"data: 12345678\n"):
        with pytest.raises(ValueError, match="too large"):
            read(*[line] * 1001)


# Showing ------------------------------------------------------------------------------------------


def shown(*told: dict[str, Any], stream: str | None = None, width: int = 120) -> str:
    screen = Screen("http://server:1", stream)
    for event in told:
        screen.take(event)
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True).print(screen.draw())
    return out.getvalue()


def figures(**more: object) -> dict[str, Any]:
    stream = {"name": "show", "health": "poor", "viewers": 12_000, "publisher": None} | more
    return {
        "kind": "figures",
        "server": {"version": "1.2.3", "uptime_s": 61, "viewers": 12_000, "streams": 1},
        "streams": [stream],
        "worst": [{"session": "0" * 16, "loss": 0.25, "rtt_ms": 31.2}],
    }


def test_figures_in_words() -> None:
    text = shown(figures(health_reason="Nothing comes from the publisher."))
    for words in ("1.2.3, up 1 min 1 s", "show", "poor", "12\u202f000", "Nothing comes"):
        assert words in text
    assert "25.0 %" not in text
    text = shown(figures(), stream="show")
    for words in ("25.0 %", "31 ms", "0" * 16, "over its viewers"):
        assert words in text


@pytest.mark.parametrize(
    "address", ["192.0.2.10:50000", "[2001:db8:1234:5678:9abc:def0:1234:5678]:50000"]
)
def test_a_terminal_of_80_columns_shows_each_viewer_in_one_line(address: str) -> None:
    told = figures(age_s=3599, health_reason="Nothing comes from the publisher.")
    viewer = {"session": "0123456789abcdef", "state": "connecting", "loss": 1, "rtt_ms": 1234}
    told["worst"] = [viewer | {"address": address, "connected_s": 3599, "repaired": 1, "drops": 2}]
    narrow = plain_lines(shown(told, stream="show", width=80))
    assert max(map(len, narrow)) <= 80
    (row,) = [line for line in narrow if "0123456789abcdef" in line]
    assert address[:12] in row
    assert ("…" in row) == (len(address) > 30)
    for words in ("100.0 %", "1234 ms", "59 min 59 s"):
        assert words in row
    assert "repaired" not in " ".join(narrow)
    wide = plain_lines(shown(told, stream="show", width=140))
    (row,) = [line for line in wide if "0123456789abcdef" in line]
    for words in (address, "connecting", "59 min 59 s"):
        assert words in row
    assert "repaired" in " ".join(wide)


def plain_lines(text: str) -> list[str]:
    """Without what colours them."""
    return re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()


def test_events_in_words() -> None:
    event = {"kind": "publisher_lost", "time": "2026-01-02T03:04:05.6Z", "stream": "show"}
    assert "03:04:05" in shown(event | {"reason": "silent"})
    assert "reason=silent" in shown(event | {"reason": "silent"})


def test_hostile_text_reaches_no_terminal() -> None:
    told = figures(name=HOSTILE, health=HOSTILE, health_reason=HOSTILE)
    told["server"]["version"] = HOSTILE
    told["worst"][0]["address"] = HOSTILE
    text = shown(
        {"kind": HOSTILE, "stream": HOSTILE, HOSTILE: HOSTILE}, told, stream="x", width=400
    )
    assert "\x1b[2J" not in text
    assert "\u202e" not in text
    assert "[red]" in text, "it is text, not markup"


def test_figures_of_another_shape_are_dashes() -> None:
    values: list[object] = [None, "x", [1, 2], {"a": []}, True, 1e300]
    for value in values:
        told = {"kind": "figures", "server": value, "streams": value, "worst": value}
        assert "server:1" in shown(told, stream="show")
        assert "server:1" in shown(figures(quality=value, publisher=value, viewers=value))


def test_words() -> None:
    assert count(1234567) == "1\u202f234\u202f567"
    assert bitrate(1_500_000) == "1.50 Mbit/s"
    assert percent(0.0123) == "1.2 %"
    assert (milliseconds(2.34), milliseconds(234.5)) == ("2.3 ms", "234 ms")
    assert (duration(59.9), duration(3599), duration(90_000)) == (
        "59 s",
        "59 min 59 s",
        "25 h 0 min",
    )
    assert plain("a\nb\x00") == "a�b�"
    assert len(plain("x" * 10_000)) == 200


# Addresses and options ----------------------------------------------------------------------------


def test_addresses() -> None:
    where = Server("https://host:8443/admin").events("a b")
    assert str(where) == "https://host:8443/api/events?figures=true&stream=a+b"
    for wrong in ("", "host", "ftp://host", "http://", "http://[::1"):
        with pytest.raises(ConfigError):
            Server(wrong).events(None)
    assert "hush" not in repr(Server("http://host", "hush"))


def test_json_needs_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(("top", "http://host", "--json"))
    assert ended.value.code == 2
    assert "--once" in capsys.readouterr().err
