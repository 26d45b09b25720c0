"""``Retry-After``: when a server that refuses wants to be asked again (RFC 9110 §10.2.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

_SECONDS: Final = re.compile(r"[0-9]{1,9}")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds from the answer with these headers on, 0 or more; None where it says nothing that can
    be read. A date counts from the server's own clock."""
    text = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        then = parsedate_to_datetime(text)
        now = parsedate_to_datetime(headers.get("Date", ""))
        return max(0.0, (then - now).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
