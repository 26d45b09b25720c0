"""Makes the pictures of docs/images anew: the console, the player and ``top``, at a server that
this script starts, with publishers, and with viewers whose links lose packets.

Run it as ``python scripts/make_screenshots.py`` from the root; it needs Chromium.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
from playwright.async_api import Browser, Page, async_playwright
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pyforward.client import Target, open_rooms  # noqa: E402 - the path is set above
from pyforward.commands import Link, Trial  # noqa: E402
from pyforward.config import Config  # noqa: E402
from pyforward.top.events import Reader  # noqa: E402
from pyforward.top.screen import Screen  # noqa: E402
from tests.e2e.commands import command  # noqa: E402
from tests.e2e.server import Server, running  # noqa: E402

IMAGES = ROOT / "docs" / "images"
TOKEN = "operator"
WIDE = {"width": 1180, "height": 900}
PHONE = {"width": 390, "height": 844}
SETTLE_S = 25
"""So long the lines of the console grow before a picture is taken."""

LOSSES = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.004, 0.02, 0.09)


def main() -> None:
    """Everything, one after the other."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("this machine has no chromium")
    IMAGES.mkdir(parents=True, exist_ok=True)
    asked = ("--auth-admin-token", TOKEN, "--streams-declared", "rehearsal")
    with running(*asked, command="demo") as server, audience(server):
        asyncio.run(pictures(server, chromium))


@contextlib.contextmanager
def audience(server: Server) -> Iterator[None]:
    """A second publisher, and viewers of both streams."""
    with (
        command("publish", "test", f"{server.url}/whip/keynote", "--loop"),
        command("watch", f"{server.url}/whep/demo", "--count", "4"),
    ):
        yield


@contextlib.asynccontextmanager
async def on_bad_links(server: Server) -> AsyncIterator[None]:
    """Viewers of the keynote, each on a link of its own."""
    url = f"{server.url}/whep/keynote"
    async with open_rooms(Config(), Target(url), connections=len(LOSSES)) as rooms:
        for number, loss in enumerate(LOSSES):
            trial = Trial(inbound=Link(loss=loss, delay_us=4000 * number, seed=number))
            await rooms.sessions.watch(rooms.signalling, url, trial=trial)
        yield


async def pictures(server: Server, chromium: str) -> None:
    async with async_playwright() as playwright, on_bad_links(server):
        browser = await playwright.chromium.launch(
            executable_path=chromium,
            args=["--disable-gpu", "--allow-loopback-in-peer-connection"],
            chromium_sandbox=False,
        )
        for scheme in ("light", "dark"):
            page = await console(browser, server, scheme, WIDE)
            await page.wait_for_timeout(1000 * SETTLE_S)
            await taken(page, f"console-{scheme}")
            await page.locator(".stream", has_text="keynote").click()
            await page.wait_for_timeout(1000 * SETTLE_S)
            await taken(page, f"console-stream-{scheme}")
            await page.context.close()
        page = await console(browser, server, "light", PHONE)
        await page.wait_for_timeout(1000 * SETTLE_S)
        await taken(page, "console-phone")
        await page.context.close()
        await player(browser, server)
        await browser.close()
        await terminal(server)


async def console(browser: Browser, server: Server, scheme: str, viewport: dict[str, int]) -> Page:
    context = await browser.new_context(viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
    page = await context.new_page()
    await page.goto(f"{server.url}/admin")
    await page.locator("#token").fill(TOKEN)
    await page.get_by_role("button", name="Sign in").click()
    return page


async def player(browser: Browser, server: Server) -> None:
    page = await browser.new_page(viewport={"width": 960, "height": 600})
    await page.goto(f"{server.url}/watch/keynote")
    await page.locator("body[data-state=playing]").wait_for()
    await page.locator("#figures").click(force=True)
    await page.wait_for_timeout(4000)
    await taken(page, "player")
    await page.goto(f"{server.url}/watch/rehearsal")
    await page.locator("#watch-status[data-reason]").wait_for()
    await taken(page, "player-waits")
    await page.close()


async def terminal(server: Server) -> None:
    """``top`` draws what it draws, into an SVG."""
    screen = Screen("http://127.0.0.1:8080", "keynote")
    reader = Reader()
    url = f"{server.url}/api/events?figures=true&stream=keynote&kept=true"
    async with (
        aiohttp.ClientSession() as http,
        http.get(url, headers={"Authorization": f"Bearer {TOKEN}"}) as response,
    ):
        async for chunk in response.content.iter_any():
            told = list(reader.feed(chunk))
            for event in told:
                screen.take(event)
            if any(event.get("kind") == "figures" for event in told):
                break
    screen.status = "live"
    recorder = Console(record=True, width=118, file=io.StringIO())
    recorder.print(screen.draw())
    drawn = recorder.export_svg(title="pyforward top --stream keynote")
    # Fonts that it would fetch from elsewhere.
    (IMAGES / "top.svg").write_text(re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL))


async def taken(page: Page, name: str) -> None:
    await page.screenshot(path=IMAGES / f"{name}.png", full_page=True)


if __name__ == "__main__":
    main()
