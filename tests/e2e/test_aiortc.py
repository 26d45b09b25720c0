"""aiortc publishes, aiortc watches: an independent WebRTC implementation on both ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from aiortc import RTCPeerConnection
from aiortc.rtcdtlstransport import SRTP_AES128_CM_SHA1_80, SRTPProtectionProfile

from tests.e2e.aiortc_peers import party, until_closed
from tests.e2e.server import Server, running, wait_for

CM_ALONE = (SRTP_AES128_CM_SHA1_80,)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as server:
        yield server


def stream(server: Server, name: str) -> dict[str, Any]:
    return dict(server.get(f"/api/streams/{name}").json)


@pytest.mark.parametrize(
    ("codec", "suites", "profile"),
    [
        ("VP8", (), "SRTP_AEAD_AES_128_GCM"),
        ("H264", (), "SRTP_AEAD_AES_128_GCM"),
        ("VP8", CM_ALONE, "SRTP_AES128_CM_SHA1_80"),
    ],
    ids=["vp8", "h264", "cm"],
)
async def test_it_publishes_and_watches(
    server: Server, codec: str, suites: Sequence[SRTPProtectionProfile], profile: str
) -> None:
    name = f"both-{codec}-{len(suites)}"
    async with party(server.url) as present:
        await present.publish(name, 200, f"video/{codec}", suites)
        _, seen = await present.watch(name)
        _, cm = await present.watch(name, CM_ALONE)
        await asyncio.gather(seen.more(), cm.more())
        assert seen.size == cm.size == (160, 120)
        assert abs(seen.luma - 200) < 12
        profiles = {viewer["srtp_profile"] for viewer in server.viewers(name)}
        assert profiles == {"SRTP_AEAD_AES_128_GCM", "SRTP_AES128_CM_SHA1_80"}
        published = stream(server, name)["publisher"]
        assert published["codecs"] == ["opus", codec.lower()]
        assert published["srtp_profile"] == profile


async def test_over_ipv6(server: Server) -> None:
    async with party(server.url) as present:
        await present.publish("six", 90, media="::1")
        _, seen = await present.watch("six", media="::1")
        await seen.more()
        (viewer,) = server.viewers("six")
        assert viewer["address"].startswith("[")


async def test_a_second_publisher_keeps_the_viewers(server: Server) -> None:
    async with party(server.url) as present:
        first = await present.publish("again", 60)
        _, seen = await present.watch("again")
        await seen.more()
        assert abs(seen.luma - 60) < 12
        before = stream(server, "again")["publisher"]["session"]

        await present.publish("again", 210)
        await seen.shows(210)
        await seen.more()
        assert not seen.ended
        now = stream(server, "again")
        assert (now["viewers"], now["state"]) == (1, "live")
        assert now["publisher"]["session"] != before
        await until_closed(first)  # it was told


async def test_a_publisher_that_goes_and_comes_back_keeps_the_viewers(server: Server) -> None:
    async with party(server.url) as present:
        first = await present.publish("back", 60)
        _, seen = await present.watch("back")
        await seen.more()
        await first.close()
        wait_for("waiting", lambda: stream(server, "back")["state"] == "waiting")
        await present.publish("back", 210, "video/VP8")
        await seen.more()
        assert not seen.ended


async def test_a_late_viewer_starts(server: Server) -> None:
    async with party(server.url) as present:
        await present.publish("late", 120)
        _, first = await present.watch("late")
        await first.more(count=60)
        _, late = await present.watch("late")
        await asyncio.gather(late.more(), first.more())


async def test_a_conflict_is_rejected_where_that_is_configured() -> None:
    with running("--streams-conflict", "reject") as server:
        async with party(server.url) as present:
            first = await present.publish("one", 60)
            _, seen = await present.watch("one")
            await seen.more()
            second = RTCPeerConnection()
            present.peers.append(second)
            second.addTransceiver("video", "sendonly")
            await second.setLocalDescription(await second.createOffer())
            status, body, _ = await present.offer("/whip/one", second.localDescription.sdp)
            assert status == 409
            assert "already has a publisher" in body
            await seen.more()
            assert first.connectionState == "connected"
            assert server.sessions() == 2
