"""The operator's console, used as an operator uses it: sign in, look, end what has to end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.async_api import BrowserContext, Page, Request, expect

from tests.e2e.browser.conftest import Serve
from tests.e2e.browser.pages import picture
from tests.e2e.browser.rig import Server, until
from tests.e2e.commands import Command, command

pytestmark = pytest.mark.browser

# What rig.Server sends where it asks the API.
TOKEN = "operator"
GUARDED = ("--auth-admin-token", TOKEN)


@pytest.fixture
def demo(serve: Serve) -> Iterator[tuple[Server, Command]]:
    """A stream with three viewers."""
    server = serve(*GUARDED, command="demo")
    with command("watch", f"{server.url}/whep/demo", "--count", "3") as viewers:
        yield server, viewers


async def signed_in(page: Page, server: Server, place: str = "") -> None:
    await page.goto(f"{server.url}/admin{place}")
    await page.locator("#token").fill(TOKEN)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("#link")).to_have_text("Live.")


async def count(server: Server, viewers: int) -> None:
    async def look() -> bool:
        return bool(server.api("streams/demo")["viewers"] == viewers)

    await until(look, f"{viewers} viewers")


async def test_the_token_is_asked_for_and_stays_in_this_tab(
    serve: Serve, page: Page, chromium: BrowserContext
) -> None:
    server = serve(*GUARDED, command="demo")
    asked: list[Request] = []
    page.on("request", lambda one: asked.append(one))
    await page.goto(f"{server.url}/admin")
    await expect(page.locator("#login")).to_be_visible()
    await page.locator("#token").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("#login-note")).to_have_text("The token is wrong.")
    await page.locator("#token").fill(TOKEN)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator(".stream .name")).to_have_text("demo")
    await page.reload()
    await expect(page.locator(".stream .name")).to_have_text("demo")
    assert not any(TOKEN in one.url for one in asked)
    sent = [await one.header_value("authorization") for one in asked]
    assert f"Bearer {TOKEN}" in sent
    assert await page.evaluate("document.cookie + JSON.stringify(localStorage)") == "{}"
    assert TOKEN not in server.log.read_text()
    # Another tab knows nothing, and this one forgets when it is told to.
    other = await chromium.new_page()
    await other.goto(f"{server.url}/admin")
    await expect(other.locator("#login")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await page.reload()
    await expect(page.locator("#login")).to_be_visible()
    await expect(page.locator("#overview")).to_be_hidden()


async def test_without_a_token_its_own_machine_needs_none(serve: Serve, page: Page) -> None:
    server = serve(command="demo")
    await page.goto(f"{server.url}/admin")
    await expect(page.locator(".stream .name")).to_have_text("demo")
    await expect(page.locator("#sign-out")).to_be_hidden()


async def test_streams_with_their_figures(demo: tuple[Server, Command], page: Page) -> None:
    server, _ = demo
    await signed_in(page, server)
    row = page.locator(".stream", has_text="demo")
    await expect(row.locator('[data-figure="viewers"] strong')).to_have_text("3")
    await expect(row.locator('[data-figure="bitrate"] strong')).to_contain_text("kbit/s")
    await expect(row.locator(".health")).to_have_text("good")
    await expect(page.locator("#tile-viewers strong")).to_have_text("3")
    await expect(page.locator("#tile-out strong")).to_contain_text("bit/s")
    # The lines grow from second to second.
    line = row.locator('[data-figure="viewers"] .line')
    await expect(line).to_have_attribute("d", re.compile("M.*L.*L"))
    await picture(page, "console")


async def test_a_stream_with_publisher_percentiles_and_the_worst(
    demo: tuple[Server, Command], page: Page
) -> None:
    server, _ = demo
    await signed_in(page, server)
    await page.locator(".stream", has_text="demo").click()
    publisher = page.locator(".publisher")
    await expect(publisher).to_contain_text("opus + h264")
    await expect(publisher).to_contain_text("every 2.0 s")
    await expect(publisher).to_contain_text("SRTP_AEAD_AES_128_GCM")
    await expect(page.locator(".summary")).to_have_text("3 viewers live.")
    await expect(page.locator(".spreads td").first).to_have_text("0 %")
    await expect(page.locator(".worst tbody tr")).to_have_count(3)
    session = server.api("streams/demo")["publisher"]["session"]
    await expect(publisher).to_contain_text(session)
    await picture(page, "console stream")
    await page.go_back()
    await expect(page.locator("#overview")).to_be_visible()


async def test_a_viewer_is_ended_after_a_confirmation(
    demo: tuple[Server, Command], page: Page
) -> None:
    server, viewers = demo
    await signed_in(page, server, "#stream=demo")
    await expect(page.locator(".worst tbody tr")).to_have_count(3)
    await page.locator(".worst tbody button").first.click()
    await expect(page.get_by_role("dialog")).to_contain_text("End this viewer?")
    await page.keyboard.press("Enter")  # on Cancel
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await count(server, 3)
    await page.locator(".worst tbody button").first.click()
    await page.get_by_role("button", name="End viewer").click()
    await expect(page.locator(".worst tbody tr")).to_have_count(2)
    await expect(page.locator('#events [data-kind="viewer_left"]')).to_contain_text("it was ended")
    await count(server, 2)
    viewers.interrupt()
    assert "1 ended before (bye)" in viewers.ended().out


async def test_a_stream_is_ended_after_a_confirmation(
    demo: tuple[Server, Command], page: Page
) -> None:
    server, _ = demo
    await signed_in(page, server, "#stream=demo")
    await page.get_by_role("button", name="End stream").click()
    await expect(page.get_by_role("dialog")).to_contain_text("End the stream “demo”?")
    await page.locator("#confirm-yes").click()
    await expect(page.locator(".head .reason")).to_contain_text("There is no such stream")
    await expect(page.locator('#events [data-kind="stream_ended"]')).to_have_count(1)
    await page.get_by_role("link", name="All streams").click()
    await expect(page.locator("#streams-note")).to_have_text("There is no stream.")


async def test_what_cannot_be_ended_is_said(demo: tuple[Server, Command], page: Page) -> None:
    server, _ = demo
    await signed_in(page, server, "#stream=demo")
    await page.locator(".worst tbody button").first.click()
    await page.route("**/api/sessions/*", lambda route: route.abort())
    await page.locator("#confirm-yes").click()
    await expect(page.locator("#confirm-error")).to_have_text("The server does not answer.")
    await expect(page.locator("#confirm-yes")).to_be_enabled()


async def test_a_server_that_comes_back_is_found(
    serve: Serve, page: Page, chromium: BrowserContext
) -> None:
    first = serve(*GUARDED, command="demo")
    await signed_in(page, first)
    first.process.terminate()
    first.process.wait(30)
    await expect(page.locator("#link")).to_contain_text("Trying again in")
    serve(*GUARDED, command="demo", http=first.url.removeprefix("http://"))
    await expect(page.locator("#link")).to_have_text("Live.")
    await expect(page.locator('#events [data-kind="missed"]')).to_have_count(1)
    await expect(page.locator(".stream .name")).to_have_text("demo")


async def test_events_that_read_alike_are_one_line(serve: Serve, page: Page) -> None:
    server = serve(*GUARDED)
    await page.goto(f"{server.url}/admin")
    began = {"kind": "stream_started", "stream": "show", "codecs": ["opus"]}
    told = [began | {"time": f"2026-01-01T00:00:0{second}Z"} for second in range(3)]
    told.insert(2, told[2] | {"stream": "other"})
    events = "".join(f"data: {json.dumps(one)}\n\n" for one in told)
    await page.route(
        "**/api/events*",
        lambda route: route.fulfill(content_type="text/event-stream", body=events),
    )
    await page.locator("#token").fill(TOKEN)
    await page.get_by_role("button", name="Sign in").click()
    lines = page.locator("#events li")
    await expect(lines).to_have_count(3)
    began_once, began_twice = "The stream began (opus).", "The stream began (opus). × 2"
    await expect(lines.locator("span")).to_have_text([began_once, began_once, began_twice])
    await expect(lines.last.locator("time")).to_have_attribute("datetime", "2026-01-01T00:00:01Z")


async def test_nobody_looks_and_nothing_is_asked(serve: Serve, page: Page) -> None:
    server = serve(*GUARDED, command="demo")
    await signed_in(page, server)
    assert server.api("server")["listeners"] == 1
    await page.goto(f"{server.url}/healthz")

    async def idle() -> bool:
        return bool(server.api("server")["listeners"] == 0)

    await until(idle, "the end of the listener")


async def test_it_fits_a_phone(demo: tuple[Server, Command], page: Page) -> None:
    server, _ = demo
    await page.set_viewport_size({"width": 360, "height": 740})
    await signed_in(page, server)
    await expect(page.locator(".stream")).to_be_visible()
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not await page.evaluate(wide)
    await page.locator(".stream").click()
    await expect(page.locator(".worst tbody tr")).to_have_count(3)
    assert not await page.evaluate(wide)
    await picture(page, "console phone")


FAINT = """() => {
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (!/rgba\\(.*, 0\\)|transparent/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
    if (!own || !element.checkVisibility() || element.disabled) continue;
    const [dark, light] = [getComputedStyle(element).color, behind(element)]
      .map(luminance).sort((a, b) => a - b);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < 4.5) faint.push(`${element.textContent.trim()}: ${contrast.toFixed(2)}`);
  }
  return faint;
}"""
"""Texts whose contrast is less than WCAG 2.2 asks for (§1.4.3)."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_can_be_read(
    scheme: Literal["light", "dark"], demo: tuple[Server, Command], page: Page
) -> None:
    server, _ = demo
    await page.emulate_media(color_scheme=scheme)
    await page.goto(f"{server.url}/admin")
    await expect(page.locator("#login")).to_be_visible()
    assert await page.evaluate(FAINT) == []
    await signed_in(page, server)
    await expect(page.locator(".stream .health")).to_have_text("good")
    assert await page.evaluate(FAINT) == []
    for level in ("fair", "poor", "waiting"):
        dyed = f"document.querySelector('.stream').dataset.health = '{level}'"
        await page.evaluate(dyed)
        assert await page.evaluate(FAINT) == []
    await page.locator(".stream").click()
    await page.locator(".worst tbody button").first.click()
    assert await page.evaluate(FAINT) == []


HOSTILE = "<img src=x onerror=alert(1)>&amp;\"'\u202e"


def hostile_events(server: Server) -> str:
    """What no server of ours would send: names and reasons that would be markup."""
    time = "2026-01-01T00:00:00Z"
    numbers = ("measured", "connecting", "starting", "live", "repaired", "drops")
    quality: dict[str, object] = {**dict.fromkeys(numbers, 0), "loss": None}
    stream = {
        **dict.fromkeys(("name", "health", "health_reason"), HOSTILE),
        "state": "waiting",
        "age_s": 1,
        "publisher": None,
        "viewers": 0,
        "quality": quality | {"rtt_ms": None, "bitrate_bps": None},
    }
    ended = {"kind": "stream_ended", "time": time, "stream": HOSTILE, "reason": HOSTILE}
    figures = {
        "kind": "figures",
        "time": time,
        "server": server.api("server") | {"version": HOSTILE},
        "streams": [stream],
        "left_out": 0,
        "worst": [],
    }
    return "".join(f"data: {json.dumps(one)}\n\n" for one in (ended | {"lasted_s": 1}, figures))


async def test_hostile_names_are_text(serve: Serve, page: Page) -> None:
    server = serve(*GUARDED)
    await page.goto(f"{server.url}/admin")
    events = hostile_events(server)
    await page.route(
        "**/api/events*",
        lambda route: route.fulfill(content_type="text/event-stream", body=events),
    )
    await page.locator("#token").fill(TOKEN)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator(".stream .name")).to_have_text(HOSTILE)
    await expect(page.locator(".stream .reason")).to_have_text(HOSTILE)
    await expect(page.locator("#events .of")).to_have_text(HOSTILE)
    assert await page.locator("main img").count() == 0
    await page.locator(".stream").click()
    await expect(page.locator("h2.name")).to_have_text(HOSTILE)
    await expect(page.locator("#stream .reason")).to_have_text(HOSTILE)
    assert await page.locator("main img").count() == 0
