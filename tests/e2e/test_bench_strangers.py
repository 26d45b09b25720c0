"""``pyforward-bench load`` at servers of both kinds: ours, in every way that it can be reached, and
one made of aiortc, which stamps nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import MISSING_TOOL
from tests.e2e.benches import Measured, measured, published
from tests.e2e.certificates import certified
from tests.e2e.server import has_ipv6, running, wait_for
from tests.e2e.stranger import open_stranger, serving


async def loaded(
    url: str, *arguments: str, viewers: int = 2, environment: Mapping[str, str] | None = None
) -> Measured:
    counts = (f"--viewers={viewers}", "--duration=2")
    return await measured("load", url, *counts, *arguments, environment=environment)


def check(told: Measured, viewers: int) -> None:
    """Everybody got everything, as it was sent."""
    assert told.is_well(), told
    assert told.value("joined") == viewers
    assert told.value("packets") > 100 * viewers
    for name in ("silent", "lost", "missing", "repeated", "corrupted", "unstamped"):
        assert told.value(name) == 0, name
    assert told.value("latency.frame.p99") > 0


async def test_twenty_viewers_of_ours() -> None:
    with running() as server:
        async with published(server) as url:
            told = await loaded(url, "--ramp=50/s", "--probes=5", viewers=20)
            check(told, 20)
            assert told.value("probes") == 5
            assert told.value("first_keyframe.p50") > 0
        # They left at the server, too.
        await asyncio.to_thread(wait_for, "no sessions", lambda: server.sessions() == 0)


async def test_over_ipv6() -> None:
    if not has_ipv6():
        pytest.skip(f"{MISSING_TOOL}IPv6")
    with running("--media-bind=::1", http="[::1]:0") as server:
        async with published(server) as url:
            assert url.startswith("http://[::1]:")
            check(await loaded(url), 2)


async def test_behind_its_own_authority(tmp_path: Path) -> None:
    certificate, key = certified(tmp_path)
    with running(f"--http-tls-cert={certificate}", f"--http-tls-key={key}") as server:
        trusting = f"--ca-file={certificate}"
        async with published(server, trusting) as url:
            check(await loaded(url, trusting), 2)
            check(await loaded(url, "--insecure"), 2)
            told = await loaded(url)
            assert told.has_failed(), told
            assert told.says("is not trusted")
            assert told.value("failed.unreachable") == 1


async def test_with_tokens() -> None:
    with running("--auth-view-token=right", "--auth-publish-token=other") as server:
        async with published(server, "--token=other") as url:
            check(await loaded(url, environment={"PYFORWARD_TOKEN": "right"}), 2)
            check(await loaded(url, "--header=Authorization: Bearer right"), 2)
            told = await loaded(url, "--token=wrong")
            assert told.has_failed(), told
            assert told.value("failed.http_403") == 1
            assert told.results is not None
            assert "wrong" not in " ".join(told.results.argv)


@pytest.mark.parametrize("setup", ["active", "passive"])
async def test_one_of_aiortc(setup: str) -> None:
    stranger = open_stranger(setup)
    async with serving(stranger) as url:
        told = await loaded(f"{url}/whep", "--duration=3")
        assert told.is_well(), told
        assert told.value("joined") == 2
        assert told.value("packets") > 100
        assert told.value("lost") == 0
        # It encodes by itself, so that nothing can be said of what it was given.
        assert told.value("unstamped") == pytest.approx(told.value("packets"), rel=0.05)
        assert told.value("missing") == told.value("corrupted") == 0
        assert "latency.frame.p50" not in told.values()
        assert stranger.deleted == 2
