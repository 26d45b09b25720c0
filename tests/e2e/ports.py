"""A port for a program that cannot choose one by itself."""

from __future__ import annotations

import socket


def free_port() -> int:
    """One that was free a moment ago, on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
