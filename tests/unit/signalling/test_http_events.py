"""Events over HTTP: their form, coming back, filters, limits, and the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientError, ClientResponse

from pyforward.api import events
from pyforward.api.openapi import document
from pyforward.feed import Feed, StreamEnded
from tests.unit.signalling.site import PUBLISH, Site, problem


class Stream:
    """Reads blocks of an answer that does not end."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response

    async def block(self) -> dict[str, str]:
        """The fields of the next block; of a comment, the field without a name."""
        fields = {}
        while line := (await self._line()):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        return fields

    async def event(self) -> dict[str, Any]:
        """The next event's data."""
        while "data" not in (block := await self.block()):
            pass
        data: dict[str, Any] = json.loads(block["data"])
        assert data["kind"] == block["event"]
        if data["kind"] != "figures":
            assert data["id"] == block.get("id", "")
        return data

    async def _line(self) -> str:
        line = await asyncio.wait_for(self.response.content.readline(), 10)
        assert line, "the stream has ended"
        return line.decode().rstrip("\n")


@asynccontextmanager
async def listening(site: Site, query: str = "", last: str | None = None) -> AsyncIterator[Stream]:
    headers = {} if last is None else {"Last-Event-ID": last}
    async with site.client.get(f"/api/events{query}", headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        stream = Stream(response)
        assert await stream.block() == {"retry": "2000"}
        yield stream


def feed(site: Site) -> Feed:
    return site.world.control.feed


def tell(site: Site, name: str = "show") -> None:
    feed(site).tell(StreamEnded(stream=name, reason="deleted", lasted_s=1))


async def gone(site: Site) -> None:
    """Waits until the server knows that nobody listens."""
    for _ in range(100_000):
        if not feed(site).stats().listeners:
            return
        await asyncio.sleep(0)
    raise AssertionError("somebody still listens")


async def test_events_come_as_they_happen(plain: Site) -> None:
    async with listening(plain) as stream:
        tell(plain, "a")
        tell(plain, "b")
        first, second = await stream.event(), await stream.event()
        assert (first["kind"], first["stream"], second["stream"]) == ("stream_ended", "a", "b")
        assert feed(plain).stats().listeners == 1
    await gone(plain)


async def test_who_comes_back_goes_on_where_it_was(plain: Site) -> None:
    async with listening(plain) as stream:
        tell(plain, "a")
        seen = await stream.event()
    tell(plain, "b")
    async with listening(plain, last=seen["id"]) as stream:
        tell(plain, "c")
        assert [(await stream.event())["stream"] for _ in range(2)] == ["b", "c"]
    async with listening(plain, "?kept=true") as stream:
        assert [(await stream.event())["stream"] for _ in range(3)] == ["a", "b", "c"]
    async with listening(plain, last="dead-1") as stream:
        assert (await stream.event())["kind"] == "missed"


async def test_a_listener_may_hear_of_one_stream_only(plain: Site) -> None:
    async with listening(plain, "?stream=b") as stream:
        tell(plain, "a")
        tell(plain, "b")
        assert (await stream.event())["stream"] == "b"


async def test_figures_beside_the_events(plain: Site) -> None:
    await plain.location("/whip/show", PUBLISH)
    async with listening(plain, "?figures=true") as stream:
        figures = await stream.event()
        assert figures["kind"] == "figures"
        assert [one["name"] for one in figures["streams"]] == ["show"]
        assert figures["server"]["state"] == "ready"
    await gone(plain)
    assert plain.world.control.screens.is_idle


async def test_silence_is_broken_by_heartbeats(
    plain: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.0)
    async with listening(plain) as stream:
        assert await stream.block() == {"": ""}


async def test_questions_that_are_wrong(plain: Site) -> None:
    body = await problem(await plain.client.get("/api/events?figures=yes"), 400, "bad_request")
    assert "figures" in str(body["detail"])
    response = await plain.client.head("/api/events")
    assert (response.status, response.content_type) == (200, "text/event-stream")
    assert feed(plain).stats().listeners == 0


async def test_beyond_the_limit_there_is_no_place(plain: Site) -> None:
    for _ in range(64):
        feed(plain).listen()
    response = await plain.client.get("/api/events")
    body = await problem(response, 503, "overloaded")
    assert body["limit"] == "events.listeners"
    assert int(response.headers["Retry-After"]) >= 1


async def test_a_listener_that_is_too_far_behind_is_cut_off(plain: Site) -> None:
    async with listening(plain) as stream:
        for _ in range(10_000):  # in one turn: nobody could read meanwhile
            tell(plain)
        assert feed(plain).stats().dropped == 1
        with pytest.raises(ClientError):
            await stream.response.content.read()
    await gone(plain)


async def test_a_server_that_stops_ends_its_listeners(plain: Site) -> None:
    async with listening(plain) as stream:
        feed(plain).close()
        assert await asyncio.wait_for(stream.response.content.read(), 10) == b""


def test_no_field_of_the_document_is_without_a_description() -> None:
    made = document()
    assert made["openapi"].startswith("3.1")
    for name, schema in made["components"]["schemas"].items():
        assert schema.get("description"), name
        for field, described in schema.get("properties", {}).items():
            # What a reference leads to describes itself.
            assert described.get("description") or "$ref" in described, f"{name}.{field}"
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", []):
                assert parameter["description"], (path, method, parameter["name"])
            assert {"200", "401", "403"} <= operation["responses"].keys()


async def test_the_document_is_served_to_everybody(plain: Site) -> None:
    response = await plain.client.get("/api/openapi.json")
    assert (response.status, response.content_type) == (200, "application/json")
    assert await response.json() == document()
