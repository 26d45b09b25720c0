"""A peer behind a link of its own: a network namespace and a veth pair, for as long as a test."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

_CLONE_NEWNET = 0x4000_0000


@dataclass(frozen=True)
class Link:
    """``near`` is this side's address, ``far`` the other's, ``device`` this side's end."""

    name: str
    device: str
    near: str
    far: str

    def over_there(self, call: Callable[[], T]) -> T:
        """What ``call`` gives in the other namespace; sockets made there stay there."""
        found: list[T] = []

        def run() -> None:
            with Path(f"/run/netns/{self.name}").open() as file:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            found.append(call())

        # The thread goes, and with it its namespace.
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert found, "it failed in the other namespace"
        return found[0]


@contextlib.contextmanager
def link(number: int, *, mtu: int = 1500, route_mtu: int = 0) -> Iterator[Link]:
    """A link whose device on this side has this MTU, or a route over it that has. Skips the test
    where this may not be made."""
    if os.geteuid() != 0:
        pytest.skip("making network namespaces needs root")
    if shutil.which("ip") is None:
        pytest.skip("this machine has no iproute2 (ip)")
    name = f"pyfw{os.getpid() % 100_000}n{number}"
    device, other = f"v{os.getpid() % 100_000}n{number}a", f"v{os.getpid() % 100_000}n{number}b"
    near, far = f"10.213.{number}.1", f"10.213.{number}.2"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"network namespaces may not be made here: {made.stderr.strip()}")
    try:
        _ip(f"link add {device} type veth peer name {other} netns {name}")
        _ip(f"addr add {near}/24 dev {device}")
        _ip(f"link set {device} mtu {mtu} up")
        _ip(f"-n {name} addr add {far}/24 dev {other}")
        _ip(f"-n {name} link set {other} up")
        if route_mtu:
            _ip(f"route add {far}/32 dev {device} mtu lock {route_mtu}")
        yield Link(name, device, near, far)
    finally:
        # The pair goes with the namespace, unless a socket keeps that: so by name.
        subprocess.run(["ip", "link", "del", device], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ip(arguments: str) -> None:
    done = subprocess.run(["ip", *arguments.split()], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"ip {arguments}: {done.stderr.strip()}")
