"""Identities: counted up where order matters, unguessable where they grant something."""

from __future__ import annotations

import time

import pytest

from pyforward import ids


def test_sessions_are_counted_up() -> None:
    fresh = [ids.new_session_id() for _ in range(10_000)]
    assert fresh == sorted(set(fresh))
    assert fresh[-1] < 2**63


def test_sessions_are_counted_up_when_the_wall_clock_goes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = ids.new_session_id()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert ids.new_session_id() == before + 1


def test_a_session_reads_as_it_is_shown() -> None:
    session = ids.new_session_id()
    shown = ids.format_session(session)
    assert ids.parse_session(shown) == session
    assert [
        ids.parse_session(text) for text in ("", shown[:-1], shown.upper() + "G", "x" * 16)
    ] == [None] * 4


def test_secrets_have_128_bits_and_fit_a_url() -> None:
    made = {ids.new_secret() for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(
        len(secret) == 22 and secret.replace("-", "").replace("_", "").isalnum() for secret in made
    )
