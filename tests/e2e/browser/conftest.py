"""The fixtures of the browser tests: servers and Chromiums, ended after each test."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, ConsoleMessage, Page, async_playwright, expect

from tests.conftest import MISSING_TOOL
from tests.e2e.browser.lossy import lossy
from tests.e2e.browser.rig import START_S, Server, start_server

__all__ = ["lossy"]

CHROMIUM = shutil.which("chromium")

# What headless Chromium needs anywhere; no word of WebRTC.
PLAIN_FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Media over 127.0.0.1 and ::1, and between two pages without multicast DNS; sound without a click.
WEBRTC_FLAGS = (
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--autoplay-policy=no-user-gesture-required",
)

PATIENCE_MS = 1000 * START_S

Serve = Callable[..., Server]
Launch = Callable[..., Awaitable[BrowserContext]]


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts servers: ``serve(*arguments, command="serve", http="127.0.0.1:0")``."""
    started: list[Server] = []

    def start(*arguments: str, command: str = "serve", http: str = "127.0.0.1:0") -> Server:
        directory = tmp_path_factory.mktemp("server")
        started.append(start_server(directory, *arguments, command=command, http=http))
        return started[-1]

    yield start
    for server in started:
        server.process.terminate()
    for server in started:
        server.process.wait(30)
        assert "Traceback" not in server.log.read_text(), server.log.read_text()


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    """Launches Chromiums: ``await launch(flags=WEBRTC_FLAGS, executable=None)``. As root it has no
    sandbox."""
    if CHROMIUM is None:
        pytest.skip(f"{MISSING_TOOL}Chromium")
    async with async_playwright() as playwright:

        async def start(
            flags: tuple[str, ...] = WEBRTC_FLAGS, executable: Path | None = None
        ) -> BrowserContext:
            browser = await playwright.chromium.launch(
                executable_path=executable or CHROMIUM,
                args=[*PLAIN_FLAGS, *flags],
                chromium_sandbox=False,
            )
            return await browser.new_context(viewport={"width": 1280, "height": 800})

        yield start


@pytest.fixture
async def chromium(launch: Launch) -> BrowserContext:
    """A Chromium that may use loopback."""
    return await launch()


@pytest.fixture
async def page(chromium: BrowserContext) -> AsyncIterator[Page]:
    """A page that fails the test when the browser complains about its code or its style."""
    expect.set_options(timeout=PATIENCE_MS)
    page = await chromium.new_page()
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        # A refused request is an answer that the page shows.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            complaints.append(message.text)

    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    assert complaints == []
