"""Reading request bodies: of the right type, of bounded size, in bounded time."""

from __future__ import annotations

import asyncio

from aiohttp import web

from pyforward.errors import BadRequest, BodyTooLarge, BodyTooSlow, UnsupportedMediaType

SDP_TYPE = "application/sdp"
FRAGMENT_TYPE = "application/trickle-ice-sdpfrag"

BODY_TIME_LIMIT_S = 10.0


async def read_text(request: web.Request, content_type: str, limit_bytes: int) -> str:
    """The body as text. The type is checked before a byte is read, and nothing is kept of a body
    that turns out to be larger than the limit, announced or not."""
    if "Content-Type" not in request.headers or request.content_type != content_type:
        raise UnsupportedMediaType(content_type)
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType(f"{content_type} without Content-Encoding")
    if (request.content_length or 0) > limit_bytes:
        raise BodyTooLarge(limit_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIME_LIMIT_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit_bytes:
                    raise BodyTooLarge(limit_bytes)
    except TimeoutError:
        raise BodyTooSlow(BODY_TIME_LIMIT_S) from None
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"The body is not {content_type}: it is no UTF-8 text.") from None
