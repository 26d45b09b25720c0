"""What reached the sinks, counted and dropped at the device before any socket sees it.

One netdev-ingress rule in the client's namespace takes the media that is meant for the sinks'
address: UDP whose payload begins with RTP's version and is no RTCP (RFC 5761 §4, RFC 7983 §7).
STUN, DTLS and RTCP go through, so that consent and reports stay alive. So the count trusts no
server, and costs the client no CPU. Timed rounds use one counter; a dynamic set that counts each
viewer costs the sender a fifth, and is for rounds that nobody times.

A viewer that never received a packet has nothing to report. So the rule covers the ports of those
who have: :meth:`Counter.cover`.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyforward.errors import HostError
from pyforward_bench.rig.network import DEVICE

IPV4_UDP_BYTES = 28
IPV6_UDP_BYTES = 48

_TABLE = "netdev pyforward-rig"


@dataclass(frozen=True, slots=True)
class Count:
    """``bytes`` are those of UDP payload. Where trains are not segmented, ``packets`` are
    trains."""

    packets: int
    bytes: int

    def __sub__(self, other: Count) -> Count:
        return Count(self.packets - other.packets, self.bytes - other.bytes)


@dataclass(frozen=True, slots=True)
class Ports:
    """From ``begin`` to before ``end``; all of them unless given."""

    begin: int = 1
    end: int = 65_536


ALL_PORTS = Ports()
NO_PORTS = Ports(1, 2)
"""Nobody is there (RFC 6335: tcpmux)."""


class Counter:
    """The rule, which exists from :meth:`open` on. One at a time in a namespace."""

    def __init__(self, address: str, device: str = DEVICE) -> None:
        self._address = address
        self._device = device
        self._by_viewer = False

    async def open(self, ports: Ports = ALL_PORTS, *, by_viewer: bool = False) -> None:
        """Begins to drop and count from zero what goes to these ports; replaces what was there.
        Raises HostError."""
        self._by_viewer = by_viewer
        await _nft(table() + chain(self._device, self._address, ports, by_viewer=by_viewer))

    async def cover(self, ports: Ports) -> None:
        """These ports from now on, and what was counted stays."""
        await _nft(chain(self._device, self._address, ports, by_viewer=self._by_viewer))

    async def read(self) -> Count:
        """Everything so far."""
        listed = await _list(f"counter {_TABLE} media")
        (told,) = (item["counter"] for item in listed["nftables"] if "counter" in item)
        return self._count(told)

    async def read_by_viewer(self) -> dict[int, Count]:
        """The same by the viewer's port, after ``open(by_viewer=True)``."""
        listed = await _list(f"set {_TABLE} viewers")
        (told,) = (item["set"] for item in listed["nftables"] if "set" in item)
        elements = (element["elem"] for element in told.get("elem", ()))
        return {int(each["val"]): self._count(each["counter"]) for each in elements}

    async def close(self) -> None:
        """Media reaches the sinks' sockets from now on."""
        await _nft(f"add table {_TABLE}\ndelete table {_TABLE}\n")

    def _count(self, told: Mapping[str, Any]) -> Count:
        packets, with_headers = int(told["packets"]), int(told["bytes"])
        headers = IPV6_UDP_BYTES if ":" in self._address else IPV4_UDP_BYTES
        return Count(packets, with_headers - headers * packets)


def table() -> str:
    """What nft reads: everything anew, and nothing is dropped."""
    return f"""\
add table {_TABLE}
delete table {_TABLE}
table {_TABLE} {{
    counter media {{ }}
    set viewers {{ type inet_service; size 65535; flags dynamic; counter; }}
}}
"""


def chain(device: str, address: str, ports: Ports, *, by_viewer: bool) -> str:
    """What nft reads: the one rule, in the place of another one."""
    header, protocol = ("ip6", "ip6 nexthdr") if ":" in address else ("ip", "ip protocol")
    # Of the bits behind UDP's header: the version, and the payload type without the marker.
    media = f"udp dport {ports.begin}-{ports.end - 1} @th,64,2 2 @th,73,7 != 64-95"
    count = "add @viewers { udp dport counter }" if by_viewer else "counter name media"
    return f"""\
add chain {_TABLE} ingress {{ type filter hook ingress device "{device}" priority 0; }}
flush chain {_TABLE} ingress
add rule {_TABLE} ingress {header} daddr {address} {protocol} udp {media} {count} drop
"""


def missing() -> str | None:
    """Why nothing can be counted here, in a sentence; None where it can."""
    if shutil.which("nft") is None:
        return "nft (Debian: nftables) is not installed, so that nothing counts outside the server"
    try:
        _run(["-c", "-f", "-"], table() + chain(DEVICE, "192.0.2.1", Ports(), by_viewer=False))
    except HostError as error:
        return str(error)
    return None


# Private -----------------------------------------------------------------------------------------


async def _nft(script: str) -> None:
    await asyncio.to_thread(_run, ["-f", "-"], script)


async def _list(what: str) -> Any:
    return json.loads(await asyncio.to_thread(_run, ["-j", "list", *what.split()]))


def _run(arguments: Sequence[str], script: str = "") -> str:
    done = subprocess.run(
        ["nft", *arguments], input=script, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        (said, *_) = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise HostError(f"nftables does not count here: {said}")
    return done.stdout
