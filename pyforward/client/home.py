"""Where a join begins, and what may be sent there alone: token, headers, a name and a password."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from yarl import URL

import pyforward
from pyforward.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Home:
    """An origin and the headers that are for it. A server may redirect elsewhere, and may put its
    sessions elsewhere; whoever is there gets none of them."""

    url: URL = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    def headers_for(self, url: URL) -> dict[str, str]:
        """What a request to this URL carries."""
        own = dict(self.headers) if _origin(url) == _origin(self.url) else {}
        return {"User-Agent": f"pyforward/{pyforward.__version__}"} | own


def endpoint(text: str, token: str | None, headers: Mapping[str, str]) -> tuple[URL, Home]:
    """The URL to post to, without a name and a password, and what its origin is sent. Raises
    ConfigError."""
    url = _parse(text)
    kept = dict(headers)
    if token is not None:
        kept["Authorization"] = f"Bearer {token}"
    elif url.user is not None:
        credentials = f"{url.user}:{url.password or ''}".encode()  # RFC 7617 §2
        kept["Authorization"] = f"Basic {base64.b64encode(credentials).decode()}"
    for name, value in kept.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ConfigError(f"The header {name[:40]!r} cannot be sent: not printable ASCII.")
    url = url.with_user(None).with_fragment(None)
    return url, Home(url, kept)


# Private -----------------------------------------------------------------------------------------

_NAME = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z|~]{1,128}")  # RFC 9110 §5.6.2
_VALUE = re.compile(r"[ -~]{0,8000}")


def _origin(url: URL) -> tuple[str, str | None, int | None]:
    """RFC 6454 §4, where no port and the usual one are the same."""
    return url.scheme, url.host, url.port


def _parse(text: str) -> URL:
    try:
        url = URL(text)
        if url.scheme in ("http", "https") and url.host and url.origin():
            return url
    except ValueError:
        pass
    raise ConfigError(
        "A WHIP or WHEP address looks like https://host/whep/stream; this one does not."
    )
