"""What tests of the product's own pages look at, and the pictures that they keep for people."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.async_api import Page, expect

from tests.e2e.browser.rig import Server, until


async def viewers(server: Server, stream: str, count: int) -> None:
    """Waits until the server counts so many."""

    async def look() -> bool:
        return bool(server.api(f"streams/{stream}")["viewers"] == count)

    await until(look, f"{count} viewers of {stream}")


async def playing(page: Page) -> None:
    """Waits for pictures, each one newer."""
    for _ in range(2):
        shown = await page.evaluate("document.querySelector('video').currentTime")
        await page.wait_for_function(
            "(shown) => { const v = document.querySelector('video');"
            " return v.videoWidth > 0 && !v.paused && v.currentTime > shown }",
            arg=shown,
        )
    await expect(page.locator("#watch-status")).to_have_text("Playing.")


async def picture(page: Page, name: str) -> None:
    """Kept for people to look at, where the environment names a directory."""
    if directory := os.environ.get("PYFORWARD_SCREENSHOTS"):
        await page.screenshot(path=Path(directory) / f"{name}.png", full_page=True)
