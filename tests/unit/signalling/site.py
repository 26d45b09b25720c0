"""A real server on loopback around a control whose engine does nothing by itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from pyforward.api import TokenAuthoriser, make_app
from pyforward.api.body import FRAGMENT_TYPE, SDP_TYPE
from pyforward.config import Config
from tests.unit.signalling.offers import offer
from tests.unit.signalling.world import World, running

PUBLISH = offer("sendonly")
WATCH = offer("recvonly")

EXPOSED = {"Location", "ETag", "Link", "Retry-After", "Accept-Patch"}


@dataclass
class Site:
    """A server and a client of it."""

    world: World
    client: TestClient[Request, Application]

    async def offer(self, path: str, text: str, **headers: str) -> ClientResponse:
        return await self.client.post(path, data=text, headers={"Content-Type": SDP_TYPE} | headers)

    async def trickle(self, path: str, text: str, **headers: str) -> ClientResponse:
        return await self.client.patch(
            path,
            data=text,
            headers={"Content-Type": FRAGMENT_TYPE}
            | {name.replace("_", "-"): value for name, value in headers.items()},
        )

    async def location(self, path: str, text: str) -> str:
        """A session's URL."""
        response = await self.offer(path, text)
        assert response.status == 201, await response.text()
        return response.headers["Location"]


@asynccontextmanager
async def site(**sections: Mapping[str, object]) -> AsyncIterator[Site]:
    config = Config.model_validate(sections)
    async with running(config) as world:
        app = make_app(
            world.control, config, TokenAuthoriser(config), lambda _: (b"# metrics\n", "text/plain")
        )
        async with TestClient(TestServer(app)) as client:
            yield Site(world, client)


async def problem(response: ClientResponse, status: int, code: str) -> dict[str, object]:
    """The body of an error, after looking at all that every error must have."""
    assert response.status == status, await response.text()
    assert response.content_type == "application/problem+json"
    body = json.loads(await response.text())
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["detail"][0].isupper()
    assert body["detail"].endswith((".", ">"))
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert set(response.headers["Access-Control-Expose-Headers"].split(", ")) == EXPOSED
    assert isinstance(body, dict)
    return body
