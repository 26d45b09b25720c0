"""The client against this package's own server, with our own offers."""

from __future__ import annotations

import random

import aiohttp
import pytest

from pyforward import ice, sdp
from pyforward.client import Signalling
from pyforward.commands import RemoveSession, RestartIce
from pyforward.errors import NotYet, Refused
from tests.unit.answers import offer_publish, offer_watch
from tests.unit.client.site import Time
from tests.unit.signalling.site import Site, site


async def test_publish_watch_trickle_leave(plain: Site) -> None:
    def url(path: str) -> str:
        return str(plain.client.make_url(path))

    publishing, watching = offer_publish(), offer_watch()
    async with aiohttp.ClientSession() as http, Signalling(http) as signalling:
        published = await signalling.join(url("/whip/show"), publishing.text)
        watched = await signalling.join(url("/whep/show"), watching.text)
        sent = sdp.accept_publish(publishing, published.answer)
        received = sdp.accept_watch(watching, watched.answer)
        assert [track.kind for track in sent.tracks] == ["audio", "video"]
        assert [track.codec for track in received.tracks] == ["opus", "h264"]
        assert received.transport.our_setup == sent.transport.our_setup == "active"
        offered = sdp.offer_transport(watching.description)
        fragment = ice.Fragment(offered.ufrag, offered.pwd, (), True, "audio", "0")
        assert await watched.patch(fragment.write())
        assert plain.world.engine.taken(RestartIce) == [], "the same credentials are trickle"
        for resource in (watched, published):
            assert await resource.delete()
    assert len(plain.world.engine.taken(RemoveSession)) == 2


async def test_a_viewer_before_the_publisher(plain: Site) -> None:
    time = Time()
    async with (
        aiohttp.ClientSession() as http,
        Signalling(
            http, patience_s=30, rng=random.Random(1), clock=time, sleep=time.sleep
        ) as signalling,
    ):
        with pytest.raises(NotYet, match="There is no stream 'show'"):
            await signalling.join(str(plain.client.make_url("/whep/show")), offer_watch().text)
    assert 0 < sum(time.slept) <= 30


async def test_a_token_that_is_wrong() -> None:
    async with site(auth={"publish_token": "right"}) as guarded, aiohttp.ClientSession() as http:
        where = str(guarded.client.make_url("/whip/show"))
        for token, code in ((None, 401), ("wrong", 403)):
            async with Signalling(http, token=token) as signalling:
                with pytest.raises(Refused, match="token") as caught:
                    await signalling.join(where, offer_publish().text)
            assert caught.value.status == code
        async with Signalling(http, token="right") as signalling:
            assert await (await signalling.join(where, offer_publish().text)).delete()
