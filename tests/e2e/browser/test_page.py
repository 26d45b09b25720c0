"""The product's own pages, used as a person uses them: list, play, publish, leave."""

from __future__ import annotations

import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests.e2e.browser.conftest import Serve
from tests.e2e.browser.pages import picture, playing, viewers
from tests.e2e.browser.rig import publish, until

pytestmark = pytest.mark.browser

GCM = "SRTP_AEAD_AES_128_GCM"


async def test_the_list_plays_a_stream(serve: Serve, page: Page) -> None:
    server = serve(command="demo")
    await page.goto(f"{server.url}/")
    row = page.locator("#streams li", has_text="demo")
    await expect(row.locator(".about")).to_contain_text("live")
    await picture(page, "list")
    await row.locator("button").click()
    await playing(page)
    await viewers(server, "demo", 1)
    await expect(page.locator("#watch-stats")).to_contain_text("640 × 360")
    await expect(page.locator("#watch-stats")).to_have_attribute("data-cipher", GCM)
    await picture(page, "playing")
    await page.locator("#watch-stop").click()
    await viewers(server, "demo", 0)
    await expect(page.locator("#watch-status")).to_have_text("Stopped.")


async def test_the_player_alone(serve: Serve, page: Page) -> None:
    server = serve(command="demo")
    await page.goto(f"{server.url}/watch/demo")
    await playing(page)
    await viewers(server, "demo", 1)
    await expect(page.locator("#watch-stats")).to_be_hidden()
    await page.get_by_role("button", name="Figures").click()
    await expect(page.locator("#watch-stats")).to_contain_text("fps")
    await page.get_by_role("button", name="Turn the sound on").click()
    await expect(page.locator("#video")).to_have_js_property("muted", False)
    await picture(page, "player")
    # Going elsewhere is leaving, although nobody pressed a button.
    await page.goto(f"{server.url}/healthz")
    await viewers(server, "demo", 0)
    assert "reason=deleted role=watch" in server.log.read_text()


async def test_a_closed_page_has_left(serve: Serve, page: Page) -> None:
    server = serve(command="demo")
    await page.goto(f"{server.url}/watch/demo")
    await playing(page)
    await viewers(server, "demo", 1)
    await page.close(run_before_unload=True)
    await viewers(server, "demo", 0)
    assert "reason=deleted role=watch" in server.log.read_text()


async def test_the_canvas_is_published_and_watched(
    serve: Serve, page: Page, chromium: BrowserContext
) -> None:
    server = serve()
    await page.goto(f"{server.url}/")
    await expect(page.locator("#streams-note")).to_have_text("Nobody publishes yet.")
    await page.locator("#publish-form .choices label", has_text="Canvas").click()
    await page.locator("#publish-name").fill("from the page")
    await page.locator("#codec").select_option("VP8")
    await page.locator("#publish-form button[type=submit]").click()
    await expect(page.locator("#publish-status")).to_have_attribute("data-state", "error")
    await picture(page, "bad name")
    await page.locator("#publish-name").fill("canvas")
    await page.locator("#publish-form button[type=submit]").click()
    await expect(page.locator("#publish-status")).to_contain_text("Publishing as")
    await expect(page.locator("#publish-stats")).to_contain_text("VP8")
    watcher = await chromium.new_page()
    await watcher.goto(f"{server.url}/watch/canvas")
    await playing(watcher)
    await picture(page, "publishing")
    await picture(watcher, "watching")
    # The viewer outlives its publisher, which says goodbye when its page is left.
    await page.goto(f"{server.url}/healthz")

    async def waits() -> bool:
        return bool(server.api("streams/canvas")["state"] == "waiting")

    await until(waits, "the stream without publisher")
    await expect(watcher.locator("#watch-status")).to_contain_text("the publisher is away")
    await picture(watcher, "publisher away")
    assert server.api("streams/canvas")["viewers"] == 1
    assert "reason=deleted role=publish" in server.log.read_text()
    # And it goes on when somebody publishes again.
    await publish(chromium, server, "canvas", codec="VP8")
    await playing(watcher)
