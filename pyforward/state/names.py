"""Which names a stream may have: what needs no escaping in a URL (RFC 3986 §2.3) or a log line.

``streams.declared`` is held to the same rule when the configuration is read.
"""

from __future__ import annotations

import re

from pyforward.errors import BadRequest

MAX_NAME_LENGTH = 128

_NAME = re.compile(rf"[A-Za-z0-9._~-]{{1,{MAX_NAME_LENGTH}}}")


def check_name(name_untrusted: str) -> str:
    """The name, if a stream may have it; otherwise :class:`BadRequest` says what is allowed."""
    if _NAME.fullmatch(name_untrusted) and name_untrusted not in {".", ".."}:
        return name_untrusted
    raise BadRequest(
        f"A stream's name has 1 to {MAX_NAME_LENGTH} letters, digits, '.', '_', '~' or '-'."
    )
