"""Where a run takes place: two network namespaces and a veth pair between them, or loopback.

The calling process is in the client's namespace already (:mod:`pyforward_bench.rig.command` began
it there); the server's lives as long as a process that holds it (:mod:`.holding`). Nothing has a
name outside, so whatever ends the processes, nothing is left.

The addresses are of a private range that nothing else of this project uses. Sinks and probes have
one each, so that a rule can tell them apart.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pyforward.errors import HostError
from pyforward_bench.rig import holding, launch, offload
from pyforward_bench.rig.child import last_words

T = TypeVar("T")

DEVICE = "rig0"
"""The client's end of the pair."""

SERVER_DEVICE = "rig1"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Who is where."""

    server: str
    client: str
    sinks: str
    probes: str
    prefix: int

    @property
    def ours(self) -> tuple[str, ...]:
        """Those of the client's side."""
        return (self.client, self.sinks, self.probes)


IPV4 = Addresses("10.220.0.1", "10.220.0.2", "10.220.0.3", "10.220.0.4", 24)
IPV6 = Addresses("fd50:5946::1", "fd50:5946::2", "fd50:5946::3", "fd50:5946::4", 64)
# Every address of 127/8 is there without being added. ::1 has no neighbours.
LOOPBACK = Addresses("127.0.0.1", "127.0.0.1", "127.0.0.3", "127.0.0.4", 8)


@dataclass(slots=True)
class Network:
    """``server_pid`` keeps the server's namespace; None on loopback. ``notes`` say what is worse
    here than it could be."""

    addresses: Addresses
    server_pid: int | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def isolated(self) -> bool:
        """Whether there are namespaces."""
        return self.server_pid is not None

    def at_server(self, call: Callable[[], T]) -> T:
        """What ``call`` gives in the server's namespace; sockets made there stay there."""
        pid = self.server_pid
        if pid is None:
            return call()
        found: list[T] = []
        failed: list[Exception] = []

        def run() -> None:
            try:
                launch.enter_namespace(pid)
                found.append(call())
            except Exception as error:
                failed.append(error)

        # A namespace is the thread's own and goes with it.
        thread = threading.Thread(target=run, name="server-namespace")
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return found[0]

    def set_segmentation_offload(self, *, on: bool) -> None:
        """On: trains cross the pair whole, as into a NIC with USO. Off: the kernel segments them,
        which is what counts. Raises HostError where the device does not do it."""
        if self.server_pid is None:
            return
        try:
            self.at_server(lambda: _set_offload(SERVER_DEVICE, on=on))
            _set_offload(DEVICE, on=on)
        except OSError as error:
            raise HostError(f"{offload.SEGMENTATION} cannot be set on a veth: {error}.") from None

    def offloads(self) -> dict[str, str]:
        """As read back from the devices now, by device and feature."""
        if self.server_pid is None:
            return {f"lo {name}": state for name, state in _shown("lo").items()}
        ends = {
            DEVICE: _shown(DEVICE),
            SERVER_DEVICE: self.at_server(lambda: _shown(SERVER_DEVICE)),
        }
        return {
            f"{end} {name}": state for end, shown in ends.items() for name, state in shown.items()
        }

    @contextlib.contextmanager
    def ports_from(self, first: int, last: int) -> Iterator[None]:
        """New sockets of the client's side take free ports of these meanwhile, those of TCP too.
        Loopback is the host's own and stays as it is."""
        if not self.isolated:
            yield
            return
        usual = _PORT_RANGE.read_text()
        _PORT_RANGE.write_text(f"{first} {last}\n")
        try:
            yield
        finally:
            _PORT_RANGE.write_text(usual)

    def send_train(self, packets: int, packet_bytes: int) -> None:
        """One message of so many packets that look like media, from the server's side to an
        address of the sinks' that nobody reads: for finding out what a counter makes of trains."""
        packet = b"\x80\x60" + bytes(packet_bytes - 2)

        def send() -> None:
            family = socket.AF_INET6 if ":" in self.addresses.sinks else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as sender:
                sender.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, packet_bytes)
                sender.sendto(packet * packets, (self.addresses.sinks, 9))

        self.at_server(send)


@contextlib.contextmanager
def opened(*, isolated: bool, ipv6: bool = False) -> Iterator[Network]:
    """The network, for as long as it is needed. ``isolated``: the process is in a namespace of its
    own. Raises HostError."""
    if not isolated:
        notes = [LOOPBACK_NOTE] + (["on loopback only IPv4 is run"] if ipv6 else [])
        yield Network(LOOPBACK, notes=notes)
        return
    with contextlib.ExitStack() as stack:
        try:
            pid = stack.enter_context(holding.held(launch.words(holding.words(), fresh="net")))
        except OSError as error:
            raise HostError(
                f"The server's network namespace cannot be made: {last_words(str(error))}. Allow "
                "more of them (sysctl user.max_net_namespaces), or say --loopback."
            ) from None
        addresses = IPV6 if ipv6 else IPV4
        _join(pid, addresses)
        network = Network(addresses, pid)
        network.set_segmentation_offload(on=False)
        # The few ports of a join are soon all taken by requests that have been answered.
        _REUSE.write_text("1\n")
        yield network


LOOPBACK_NOTE = (
    "loopback instead of namespaces: viewers read everything themselves, nothing is dropped by a "
    "rule, and no ceiling is measured; do not compare with figures over veth"
)

_UDP_SEGMENT = 103  # linux/udp.h
# Of a network namespace (Documentation/networking/ip-sysctl.rst), IPv6 too.
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_REUSE = Path("/proc/sys/net/ipv4/tcp_tw_reuse")


# Private -----------------------------------------------------------------------------------------


def _join(pid: int, addresses: Addresses) -> None:
    """The pair, with its addresses."""
    lines = [
        "link set dev lo up",
        f"link add {DEVICE} type veth peer name {SERVER_DEVICE} netns {pid}",
        *(_address(address, addresses.prefix, DEVICE) for address in addresses.ours),
        f"link set dev {DEVICE} up",
    ]
    far = [
        "link set dev lo up",
        _address(addresses.server, addresses.prefix, SERVER_DEVICE),
        f"link set dev {SERVER_DEVICE} up",
    ]
    for line in lines:
        _ip(line.split())
    for line in far:
        _ip(line.split(), pid)


def _address(address: str, prefix: int, device: str) -> str:
    # Nobody else can have it, so that nothing need be waited for (RFC 4862 §5.4).
    return f"address add {address}/{prefix} dev {device}{' nodad' if ':' in address else ''}"


def _ip(arguments: Sequence[str], pid: int | None = None) -> None:
    words = ["ip", *arguments]
    if pid is not None:
        words = launch.words(words, netns=pid)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HostError(
            f"The network of the run cannot be made (ip {' '.join(arguments)}): "
            f"{last_words(done.stderr)}. --loopback needs none."
        )


def _set_offload(device: str, *, on: bool) -> None:
    try:
        offload.set_feature(device, offload.SEGMENTATION, on=on)
    except KeyError:
        # A kernel without the feature segments itself anyway; asking for more is refused.
        if on:
            raise OSError(f"the kernel has no {offload.SEGMENTATION}") from None


def _shown(device: str) -> Mapping[str, str]:
    states = offload.features(device)
    return {name: "on" if states[name] else "off" for name in offload.SHOWN if name in states}
