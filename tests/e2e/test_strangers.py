"""``pyforward watch`` and ``pyforward publish`` at servers made of aiortc: full ICE agents, which
check us as we check them, in either DTLS role, and which know nothing of our own server's ways."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.commands import Command, Ended, command
from tests.e2e.pictures import PATIENCE_S
from tests.e2e.stranger import Stranger, open_stranger, serving
from tests.unit.recordings import VP8, make


async def ended(running: Command) -> Ended:
    return await asyncio.to_thread(running.ended)


async def run(*arguments: str) -> Ended:
    with command(*arguments) as running:
        return await ended(running)


# Media, both ways ---------------------------------------------------------------------------------


@pytest.mark.parametrize("setup", ["active", "passive"])
@pytest.mark.parametrize("trickle", [False, True], ids=["silent", "trickle"])
async def test_watching_one(setup: str, trickle: bool) -> None:
    stranger = open_stranger(setup, trickle=trickle)
    async with serving(stranger) as url:
        told = await run("watch", f"{url}/whep", "--duration=3", "--json")
        assert told.code == 0, told.err
        figures = told.figures
        assert figures["joined"] == 1
        assert {track["kind"] for track in figures["tracks"]} == {"audio", "video"}
        for track in figures["tracks"]:
            assert track["packets_received"] > 10
            assert track["packets_lost"] == 0
        (video,) = [track for track in figures["tracks"] if track["kind"] == "video"]
        assert video["keyframes"] >= 1
        assert video["frames"] > 10
        assert figures["first_keyframe_ms"] > 0
        assert stranger.deleted == 1
        if trickle:
            (fragment,) = stranger.fragments
            assert fragment.candidates
        else:
            assert stranger.fragments == []


@pytest.mark.parametrize("setup", ["active", "passive"])
@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_publishing_to_one(setup: str, codec: str, tmp_path: Path) -> None:
    if codec == "h264":
        path = make(tmp_path / "film.mp4", seconds=1.0)
    else:
        path = make(tmp_path / "film.webm", video="libvpx", video_options=VP8, seconds=1.0)
    stranger = open_stranger(setup)
    async with serving(stranger) as url:
        with command("publish", str(path), f"{url}/whip", "--loop") as publishing:
            await stranger.seen.more()
            publishing.interrupt()
            told = await ended(publishing)
        assert told.code == 0, told.err
        assert stranger.seen.size == (64, 48)
        assert "packets sent" in told.out
        assert stranger.deleted == 1


async def test_one_that_has_moved() -> None:
    stranger = open_stranger()
    async with serving(stranger) as url:
        told = await run("watch", f"{url}/moved/whep", "--duration=1", "--json")
        assert told.figures["joined"] == 1
        assert stranger.deleted == 1


# What goes wrong ----------------------------------------------------------------------------------


async def test_one_that_lies_about_its_certificate() -> None:
    stranger = open_stranger(lie=True)
    async with serving(stranger) as url:
        told = await run("watch", f"{url}/whep", "--json", "--duration=1")
        assert (told.code, told.figures["failed"]) == (1, {"handshake": 1})
        assert stranger.deleted == 1
        told = await run("publish", "test", f"{url}/whip", "--duration=1")
        assert told.code == 1
        assert told.sentence == "The DTLS handshake came to no end: fingerprint."
        assert stranger.deleted == 2


async def test_one_that_answers_no_checks() -> None:
    stranger = open_stranger(deaf=True)
    async with serving(stranger) as url:
        limit = "--ice-connect-timeout-s=1"
        told = await run("watch", f"{url}/whep", "--count=3", "--json", limit)
        assert (told.code, told.figures["failed"]) == (1, {"never_connected": 3})
        assert told.figures["joined"] == 0
        assert stranger.deleted == 3


async def test_one_that_takes_the_audio_alone() -> None:
    stranger = open_stranger()
    async with serving(stranger) as url:
        stranger._altered = _without_video  # type: ignore[method-assign]
        told = await run("publish", "test", f"{url}/whip")
        assert told.code == 1
        assert told.sentence == "The server does not take the video (h264) of this source."
        assert stranger.deleted == 1


def _without_video(answer: str) -> str:
    head, _, rest = answer.partition("m=video ")
    _, _, formats = rest.partition(" ")
    return f"{head}m=video 0 {formats}"


# Ctrl-C in the middle of a join -------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("watch",), ("publish", "test")])
async def test_a_session_that_is_answered_after_ctrl_c_is_deleted(
    arguments: tuple[str, ...],
) -> None:
    stranger = Stranger()
    async with serving(stranger) as url, asyncio.timeout(PATIENCE_S):
        with command(*arguments, f"{url}/{'whep' if len(arguments) == 1 else 'whip'}") as joining:
            await stranger.asked.wait()
            joining.interrupt()
            # Its answer comes when it has been told that nobody waits for it any more.
            await asyncio.sleep(0.5)
            stranger.released.set()
            told = await ended(joining)
        assert told.code == 1
        assert stranger.deleted == 1


async def test_a_server_that_never_answers_is_not_waited_for() -> None:
    stranger = Stranger()
    async with serving(stranger) as url, asyncio.timeout(PATIENCE_S):
        with command("watch", f"{url}/whep", "--count=2", "--json") as joining:
            await stranger.asked.wait()
            joining.interrupt()
            told = await ended(joining)
        assert told.code == 1
        assert told.figures["joined"] == 0
        assert told.figures["failed"] == {}
        stranger.released.set()
