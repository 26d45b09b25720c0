"""Chromium decodes what ``pyforward publish`` sends from files, packetized by either twin."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext

from tests.conftest import MISSING_TOOL
from tests.e2e.browser.conftest import Serve
from tests.e2e.browser.rig import watch
from tests.e2e.commands import command
from tests.e2e.server import ROOT
from tests.unit.recordings import VP8, make

pytestmark = pytest.mark.browser

SIZE = (640, 360)
COMPILED = any((ROOT / "pyforward" / "media" / "packetizers").glob("h264*.so"))


@pytest.fixture(params=["compiled", "pure"])
def twin(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment that chooses it."""
    if request.param == "pure":
        return {"PYFORWARD_PURE": "1"}
    if not COMPILED:
        pytest.skip(f"{MISSING_TOOL}compiled packetizers")
    return {}


def film(directory: Path, codec: str) -> Path:
    """Pictures of many packets, and a tone."""
    if codec == "H264":
        return make(directory / "film.mp4", seconds=4, size=SIZE, tone=True)
    return make(
        directory / "film.webm", video="libvpx", video_options=VP8, seconds=4, size=SIZE, tone=True
    )


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_a_page_watches_a_file(
    codec: str, twin: dict[str, str], serve: Serve, chromium: BrowserContext, tmp_path: Path
) -> None:
    server = serve()
    url = f"{server.url}/whip/live"
    with command("publish", str(film(tmp_path, codec)), url, "--loop", environment=twin) as film_:
        await asyncio.to_thread(film_.says, "publishing to")
        viewer = await watch(chromium, server)
        figures = await viewer.sounding()
        assert figures.size == SIZE
        assert figures.video["codec"] == f"video/{codec}"
        assert figures.audio["codec"] == "audio/opus"
        assert figures.audio_energy > 0
        # Beyond the end of the file, where it begins anew.
        figures = await viewer.moving(150)
        assert figures.video["packetsLost"] == 0
        # Many pictures take several packets.
        assert figures.video["packetsReceived"] > 1.2 * figures.video["framesReceived"]
        await viewer.sounding()
        film_.interrupt()
        ended = await asyncio.to_thread(film_.ended)
    assert ended.code == 0, ended.err
