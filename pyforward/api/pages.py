"""The built-in page: static files from the package, read once at the start.

Only names that exist in the package are ever looked up; no path of a request touches the disk.
"""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from aiohttp import web

from pyforward.api.cors import add_resource

# The page needs nothing from elsewhere; only its session may lie under another name of this server.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; connect-src *; base-uri 'none'; object-src 'none'; form-action 'self'"
)

# Who holds the admin token gets nothing from any other place and sends nothing there; nor may
# another page show the console in a frame and have its buttons pressed.
CONSOLE_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CONSOLE = "admin.html"

PAGE_PACKAGE = "pyforward.api"
PAGE_FOLDER = "page"


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    content_type: str
    etag: str


class Pages:
    """``/`` is index.html, ``/watch/{stream}`` is watch.html, ``/admin`` is admin.html, the rest
    lies under ``/static/``."""

    def __init__(self, folder: Traversable | None = None) -> None:
        """``folder`` stands in for the package's own in tests."""
        self._files = _read_files(folder or resources.files(PAGE_PACKAGE) / PAGE_FOLDER)

    def add_to(self, app: web.Application) -> None:
        """Routes the page."""

        async def index(request: web.Request) -> web.Response:
            return self._serve(request, "index.html")

        async def watch(request: web.Request) -> web.Response:
            return self._serve(request, "watch.html")

        async def console(request: web.Request) -> web.Response:
            return self._serve(request, CONSOLE)

        async def static(request: web.Request) -> web.Response:
            return self._serve(request, request.match_info["file"])

        for path, handler in (
            ("/", index),
            ("/watch/{stream}", watch),
            ("/admin", console),
            ("/static/{file}", static),
        ):
            add_resource(app, path, {"GET": handler})

    def _serve(self, request: web.Request, name: str) -> web.Response:
        file = self._files.get(name)
        if file is None:
            raise web.HTTPNotFound
        headers = {
            "ETag": f'"{file.etag}"',
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        if any(etag.value in (file.etag, "*") for etag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = file.content_type
        headers["Content-Security-Policy"] = (
            CONSOLE_SECURITY_POLICY if name == CONSOLE else CONTENT_SECURITY_POLICY
        )
        return web.Response(body=file.body, headers=headers)


def _read_files(folder: Traversable) -> dict[str, _File]:
    if not folder.is_dir():
        return {}
    return {
        entry.name: _file(entry.name, entry.read_bytes())
        for entry in folder.iterdir()
        if entry.is_file() and not entry.name.endswith((".py", ".pyc"))
    }


def _file(name: str, body: bytes) -> _File:
    content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if content_type.startswith("text/") or content_type.endswith("javascript"):
        content_type += "; charset=utf-8"
    return _File(body, content_type, hashlib.sha256(body).hexdigest()[:32])
