"""The built-in page: what is served under which path, and that nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from pyforward.api.pages import Pages


@pytest.fixture
def app(tmp_path: Path) -> web.Application:
    folder = tmp_path / "page"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    for name in ("index.html", "watch.html", "admin.html", "player.js", "style.css", "icon.svg"):
        (folder / name).write_text(f"this is {name}")
    made = web.Application()
    Pages(folder).add_to(made)
    return made


@pytest.mark.parametrize(
    ("path", "name", "content_type"),
    [
        ("/", "index.html", "text/html"),
        ("/watch/show", "watch.html", "text/html"),
        ("/admin", "admin.html", "text/html"),
        ("/static/player.js", "player.js", "text/javascript"),
        ("/static/style.css", "style.css", "text/css"),
        ("/static/icon.svg", "icon.svg", "image/svg+xml"),
    ],
)
async def test_files(app: web.Application, path: str, name: str, content_type: str) -> None:
    async with TestClient(TestServer(app)) as client:
        response = await client.get(path)
        assert response.status == 200
        assert response.content_type == content_type
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'" if path == "/admin" else "default-src 'self'")
        assert "unsafe" not in policy
        assert await response.text() == f"this is {name}"
        again = await client.get(path, headers={"If-None-Match": response.headers["ETag"]})
        assert again.status == 304
        assert (await client.head(path)).status == 200


async def test_no_page_may_frame_the_console(app: web.Application) -> None:
    async with TestClient(TestServer(app)) as client:
        response = await client.get("/admin")
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert "connect-src 'self'" in response.headers["Content-Security-Policy"]
    assert response.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path", ["/static/none.js", "/static/..%2Fsecret.txt", "/static/%5C", "/static/"]
)
async def test_nothing_else(app: web.Application, path: str) -> None:
    async with TestClient(TestServer(app)) as client:
        assert (await client.get(URL(path, encoded=True))).status == 404
