"""The public player: whatever goes away comes back, and meanwhile it says why it waits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browser.conftest import Serve
from tests.e2e.browser.pages import picture, playing
from tests.e2e.browser.rig import Server
from tests.e2e.commands import Command, command

pytestmark = pytest.mark.browser


@contextlib.contextmanager
def publisher(server: Server) -> Iterator[Command]:
    with command("publish", "test", f"{server.url}/whip/show", "--loop") as running:
        yield running


async def waits(page: Page, reason: str, says: str) -> None:
    status = page.locator("#watch-status")
    await expect(status).to_have_attribute("data-reason", reason)
    await expect(status).to_contain_text(says)


async def test_the_publisher_is_killed_and_starts_again(serve: Serve, page: Page) -> None:
    server = serve("--ice-silence-s", "2")
    await page.goto(f"{server.url}/watch/show")
    await waits(page, "missing", "There is no publisher yet. Trying again in")
    await picture(page, "player waits")
    with publisher(server) as first:
        await playing(page)
        first.process.kill()
        await waits(page, "away", "the publisher is away")
        with publisher(server):
            await playing(page)
    assert server.api("streams/show")["viewers"] == 1, "the same session went on"
    assert server.log.read_text().count("role=watch") == 2, "connected and flowing, once"


async def test_the_stream_ends_and_begins_again(serve: Serve, page: Page) -> None:
    server = serve("--ice-silence-s", "2", "--streams-wait-s", "1")
    with publisher(server) as first:
        await page.goto(f"{server.url}/watch/show")
        await playing(page)
        first.process.kill()
        await waits(page, "ended", "The stream has ended. Trying again in")
    with publisher(server):
        await playing(page)


async def test_the_server_is_killed_and_starts_again(serve: Serve, page: Page) -> None:
    server = serve(command="demo")
    await page.goto(f"{server.url}/watch/demo")
    await playing(page)
    server.process.terminate()
    server.process.wait(30)
    await waits(page, "unreachable", "The server does not answer. Trying again in")
    serve(command="demo", http=server.url.removeprefix("http://"))
    await playing(page)


async def test_a_proxy_whose_server_is_away_is_asked_again(serve: Serve, page: Page) -> None:
    server = serve(command="demo")
    await page.route("**/whep/demo", lambda route: route.fulfill(status=502), times=1)
    await page.goto(f"{server.url}/watch/demo")
    await waits(page, "unreachable", "The server does not answer. Trying again in")
    await playing(page)


async def test_too_many_viewers(serve: Serve, page: Page) -> None:
    server = serve("--limits-viewers", "1", command="demo")
    with command("watch", f"{server.url}/whep/demo") as other:
        await expect_viewer(page, server)
        await page.goto(f"{server.url}/watch/demo")
        await waits(page, "full", "There are too many viewers. Trying again in")
        other.interrupt()
        other.ended()
    await playing(page)


async def expect_viewer(page: Page, server: Server) -> None:
    """The place is taken."""
    while server.api("streams/demo")["viewers"] < 1:
        await page.wait_for_timeout(50)


async def test_who_waits_longer_waits_longer_each_time(page: Page, serve: Serve) -> None:
    server = serve()
    await page.goto(f"{server.url}/healthz")
    waits = await page.evaluate(
        """async () => {
          const { Backoff } = await import("/static/backoff.js");
          const shortest = new Backoff(), longest = new Backoff();
          const waits = [...Array(8)].map(() => [shortest.next(() => 0), longest.next(() => 1)]);
          longest.reset();
          return [...waits, [0, longest.next(() => 1)]];
        }"""
    )
    assert [most for _, most in waits] == [1, 2, 4, 8, 16, 30, 30, 30, 1]
    assert all(least == most / 2 for least, most in waits[:-1])
