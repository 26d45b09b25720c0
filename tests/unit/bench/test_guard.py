"""Whom the harness may load."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from pyforward.errors import ConfigError
from pyforward_bench import guard

KNOWN = {
    "here.example": ["127.0.0.1", "::1"],
    "there.example": ["198.51.100.7"],
    "both.example": ["127.0.0.1", "198.51.100.7"],
}


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names lead where :data:`KNOWN` says; addresses to themselves."""
    real = socket.getaddrinfo

    def look_up(host: str, port: object, **options: Any) -> list[tuple[Any, ...]]:
        if host in KNOWN:
            return [(0, 0, 0, "", (address, 0)) for address in KNOWN[host]]
        return list(real(host, None, flags=socket.AI_NUMERICHOST, type=socket.SOCK_DGRAM))

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/whep/x",
        "http://127.9.9.9/whep/x",
        "http://[::1]:8080/whep/x",
        "http://[::ffff:127.0.0.1]/whep/x",
        "https://here.example/whep/x",
        # What a server says that it listens on.
        "http://0.0.0.0:8080/whep/x",
        "http://[::]:8080/whep/x",
        "http://[::ffff:0.0.0.0]/whep/x",
        # Whoever asks them says what is wrong.
        "http://nobody.example/whep/x",
        "not an address",
        "http://",
        "http://[::1/whep",
    ],
)
def test_what_may_be_loaded_unasked(url: str) -> None:
    guard.check(url, allowed=False)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("http://198.51.100.7:8080/secret", "198.51.100.7 is"),
        ("http://[2001:db8::1]/secret", "2001:db8::1 is"),
        ("http://[::ffff:198.51.100.7]/secret", "198.51.100.7"),
        ("https://there.example/secret", "there.example (198.51.100.7) is"),
        ("https://both.example/secret", "both.example (198.51.100.7) is"),
        ("http://0.0.0.1:8080/secret", "0.0.0.1 is"),
    ],
)
def test_what_must_be_allowed(url: str, named: str) -> None:
    with pytest.raises(ConfigError) as refused:
        guard.check(url, allowed=False)
    (line,) = str(refused.value).splitlines()
    assert named in line
    assert guard.OPTION in line
    assert "secret" not in line
    guard.check(url, allowed=True)


def test_where_a_server_may_lead() -> None:
    permit = guard.gate(False, own=lambda: ["198.51.100.7"])
    here = ("127.0.0.1", "::1", "0.0.0.0", "::", "here.example")
    for host in (*here, "there.example", "198.51.100.7"):
        permit(host)
    with pytest.raises(ConfigError, match=r"leads elsewhere.*203\.0\.113\.1"):
        permit("203.0.113.1")
    guard.gate(True, own=list)("203.0.113.1")


def test_this_machine_has_addresses_of_its_own() -> None:
    permit = guard.gate(False)
    permit("127.0.0.1")
    with pytest.raises(ConfigError):
        permit("203.0.113.1")
