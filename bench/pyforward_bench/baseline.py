"""The baseline: the forwarder that one writes in Python in an afternoon, as a yardstick.

One UDP socket, uvloop, pylibsrtp: what arrives is sealed for each destination and sent with
``sendto``. There is no signalling, no RTCP and no repair, and keys are known beforehand, so what a
packet costs here is what any forwarder pays that sends one datagram a call, and nothing else. The
rig runs it as a process of its own and counts at the sinks, as it does with servers.

    python -m pyforward_bench.baseline --to 127.0.0.2:40000 --count 100

It says where it listens, in one line of JSON on stdout; SIGINT or SIGTERM ends it with another
line, the counts of :class:`Counts`.
"""

from __future__ import annotations

import argparse
import hashlib
import ipaddress
import json
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Literal

import uvloop

from pyforward.errors import ConfigError, HostError, PyforwardError

if TYPE_CHECKING:
    import pylibsrtp

Suite = Literal["gcm", "cm"]
Apart = Literal["address", "port"]
Address = tuple[str, int]

KEY_BYTES: Final[dict[Suite, int]] = {"gcm": 16 + 12, "cm": 16 + 14}
"""Master key and salt (RFC 7714 §12, RFC 5764 §4.1.2)."""

LEAST_BYTES: Final = 12
MOST_BYTES: Final = 1356
"""Of an RTP packet, header and all: what pylibsrtp seals."""

READS_PER_TURN: Final = 64
BUFFER_BYTES: Final = 4 << 20


@dataclass(slots=True)
class Counts:
    """``sent`` and ``dropped`` are over all destinations; ``dropped`` had no room in the socket.
    ``refused`` came in and was no RTP packet, or did not open. ``cpu_s`` is utime + stime since it
    listened."""

    received: int = 0
    refused: int = 0
    sent: int = 0
    dropped: int = 0
    cpu_s: float = 0.0


def key_of(number: int, suite: Suite = "gcm") -> bytes:
    """Master key and salt of a destination, which count from 0: known to everyone who asks."""
    return hashlib.sha256(b"pyforward-bench baseline %d" % number).digest()[: KEY_BYTES[suite]]


def addresses(first: Address, count: int, apart: Apart = "address") -> list[Address]:
    """``count`` destinations from ``first`` on: one address each, or one port each. Raises
    ConfigError where they run out."""
    host, port = first
    try:
        base = ipaddress.ip_address(host)
        if apart == "address":
            return [(str(base + number), port) for number in range(count)]
    except ValueError as error:  # no address, or beyond the last one
        raise ConfigError(f"--to {host}:{port} with --count {count}: {error}.") from None
    if port + count > 1 << 16:
        raise ConfigError(f"--to {host}:{port}: there are no {count} ports from there on.")
    return [(host, port + number) for number in range(count)]


class Baseline:
    """Seals what comes for each destination of ``to``, with :func:`key_of` of its number. ``send``
    is a socket's ``sendto``. Packets come plain, or sealed with ``inbound_key``. Raises HostError
    where pylibsrtp is missing."""

    def __init__(
        self,
        to: Sequence[Address],
        send: Callable[[bytes, Address], object],
        *,
        suite: Suite = "gcm",
        inbound_key: bytes | None = None,
    ) -> None:
        self.counts = Counts()
        self._to = [(_sealer(key_of(n, suite), suite), address) for n, address in enumerate(to)]
        self._send = send
        self._open = None if inbound_key is None else _opener(inbound_key, suite)

    def handle_datagram(self, datagram_untrusted: bytes) -> None:
        """One RTP packet, to everybody."""
        counts, send = self.counts, self._send
        counts.received += 1
        opened = datagram_untrusted if self._open is None else self._open(datagram_untrusted)
        packet = opened if opened is not None and _is_rtp(opened) else None
        if packet is None:
            counts.refused += 1
            return
        dropped = 0
        for seal, address in self._to:
            try:
                send(seal(packet), address)
            except (BlockingIOError, ConnectionRefusedError):  # the latter: an earlier datagram's
                dropped += 1
        counts.dropped += dropped
        counts.sent += len(self._to) - dropped


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    asked = _parser().parse_args(arguments)
    try:
        to = addresses(_address("--to", asked.to), asked.count, asked.apart)
        key = _key(asked.inbound_key, asked.suite)
        listen = _address("--listen", asked.listen)
        bound = _bound(listen)
        baseline = Baseline(to, bound.sendto, suite=asked.suite, inbound_key=key)
    except PyforwardError as error:
        sys.stderr.write(f"pyforward-bench: {error}\n")
        return error.exit_code
    _serve(baseline, bound)
    _say(asdict(baseline.counts))
    return 0


# Private -----------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pyforward_bench.baseline", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--listen", default="127.0.0.1:0", help="where packets arrive")
    parser.add_argument("--to", required=True, help="the first destination, ADDRESS:PORT")
    parser.add_argument("--count", type=int, default=1, help="how many destinations")
    parser.add_argument("--apart", choices=("address", "port"), default="address")
    parser.add_argument("--suite", choices=("gcm", "cm"), default="gcm")
    parser.add_argument("--inbound-key", help="hex of key and salt, where packets arrive sealed")
    return parser


def _address(option: str, text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) >= 1 << 16:
        raise ConfigError(f"{option} {text}: write ADDRESS:PORT.")
    return host.strip("[]"), int(port)


def _key(text: str | None, suite: Suite) -> bytes | None:
    try:
        key = None if text is None else bytes.fromhex(text)
    except ValueError:
        key = b""
    if key is not None and len(key) != KEY_BYTES[suite]:
        raise ConfigError(f"--inbound-key: {suite} takes {KEY_BYTES[suite]} bytes in hex.")
    return key


def _bound(listen: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM)
    opened.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        opened.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    try:
        opened.bind(listen)
    except OSError as error:
        opened.close()
        raise HostError(f"--listen {listen[0]}:{listen[1]}: {error.strerror}.") from None
    return opened


def _is_rtp(packet: bytes) -> bool:
    """Of a length that can be sealed, and of version 2 (RFC 3550 §5.1)."""
    return LEAST_BYTES <= len(packet) <= MOST_BYTES and packet[0] >> 6 == 2


def _srtp(key: bytes, suite: Suite, *, inbound: bool) -> pylibsrtp.Session:
    try:
        from pylibsrtp import Policy, Session
    except ImportError:
        raise HostError(
            "The baseline needs pylibsrtp; install it with: pip install 'pyforward[bench]'."
        ) from None
    profiles = {
        "gcm": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
        "cm": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    }
    direction = Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND
    policy = Policy(key, direction, srtp_profile=profiles[suite])
    # A trace that begins anew repeats its numbers; nobody opens what comes of it.
    policy.allow_repeat_tx = True
    return Session(policy)


def _sealer(key: bytes, suite: Suite) -> Callable[[bytes], bytes]:
    return _srtp(key, suite, inbound=False).protect


def _opener(key: bytes, suite: Suite) -> Callable[[bytes], bytes | None]:
    session = _srtp(key, suite, inbound=True)
    from pylibsrtp import Error

    def opened(packet: bytes) -> bytes | None:
        try:
            return session.unprotect(packet)
        except (Error, ValueError):
            return None

    return opened


def _serve(baseline: Baseline, bound: socket.socket) -> None:
    """Until a signal, which may come as soon as it has said where it listens."""
    loop = uvloop.new_event_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, loop.stop)
    begun_s = time.process_time()
    try:
        loop.add_reader(bound, _read, baseline, bound)
        # From within, because a signal before the loop runs would be lost.
        loop.call_soon(_say, {"listen": bound.getsockname()[:2]})
        loop.run_forever()
    finally:
        loop.close()
        bound.close()
    baseline.counts.cpu_s = time.process_time() - begun_s


def _read(baseline: Baseline, bound: socket.socket) -> None:
    for _ in range(READS_PER_TURN):
        try:
            packet = bound.recv(2048)
        except (BlockingIOError, ConnectionRefusedError):
            return
        baseline.handle_datagram(packet)


def _say(told: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
