"""Server-sent events as a client reads them: bytes in, events out (the HTML standard, §9.2.6).

The server is a stranger: lines and events are bounded, and what is no JSON object is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

MAX_EVENT_BYTES = 4 * 1024 * 1024

Event = dict[str, Any]


class Reader:
    """Takes chunks as they come; remembers the id of the last event."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []
        self.last_id: str | None = None

    def feed(self, chunk_untrusted: bytes) -> Iterator[Event]:
        """The events that are complete now. Raises ValueError when one is too large."""
        self._rest += chunk_untrusted
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            event = self._line(line.decode(errors="replace").rstrip("\r"))
            if event is not None:
                yield event
        if len(self._rest) + sum(map(len, self._data)) > MAX_EVENT_BYTES:
            raise ValueError("an event is too large")

    def _line(self, line: str) -> Event | None:
        if line == "":
            text, self._data = "\n".join(self._data), []
            return _parsed(text)
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "id":
            self.last_id = value
        return None


def _parsed(text: str) -> Event | None:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None
