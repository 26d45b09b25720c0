"""aiortc's answers to our own offers; nothing is gathered and no socket is opened."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

from pyforward import sdp
from tests.unit.answers import offer_publish, offer_watch


@pytest_asyncio.fixture
async def peer() -> AsyncIterator[RTCPeerConnection]:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    yield connection
    await connection.close()


async def _answer(peer: RTCPeerConnection, offer: sdp.Offer) -> str:
    await peer.setRemoteDescription(RTCSessionDescription(offer.text, "offer"))
    text: str = (await peer.createAnswer()).sdp
    return text


async def test_aiortc_sends_what_we_ask_for(peer: RTCPeerConnection) -> None:
    peer.addTrack(AudioStreamTrack())
    peer.addTrack(VideoStreamTrack())
    offer = offer_watch()
    accepted = sdp.accept_watch(offer, await _answer(peer, offer))
    audio, video = accepted.tracks
    assert (audio.codec, audio.payload_type) == ("opus", 111)
    assert (video.codec, video.payload_type, video.rtx_payload_type) == ("vp8", 96, 97)
    assert {item.codec for item in video.alternatives} == {"h264"}
    assert (video.nack, video.pli, video.remb) == (True, True, True)
    assert len(video.ssrcs) == len(video.rtx_ssrcs) == len(audio.ssrcs) == 1
    assert (4, "mid") in video.extensions
    peer_transport = accepted.transport
    assert (peer_transport.setup, peer_transport.ice_lite) == ("active", False)


async def test_aiortc_takes_what_we_send(peer: RTCPeerConnection) -> None:
    offer = offer_publish()
    accepted = sdp.accept_publish(offer, await _answer(peer, offer))
    audio, video = accepted.tracks
    assert (audio.formats[0].codec, audio.formats[0].payload_type) == ("opus", 111)
    assert (video.formats[0].codec, video.formats[0].payload_type) == ("h264", 102)
    assert video.formats[0].rtx_payload_type == 103
    assert video.nack
    assert {kind.receiver.track.kind for kind in peer.getTransceivers()} == {"audio", "video"}
    assert (4, "mid") in video.extensions
