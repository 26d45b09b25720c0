"""A network that loses one media packet in twenty, both ways, for a process of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.conftest import MISSING_TOOL

# Media packets meet the dice, each on its own; checks, handshakes and reports are shorter.
LOSSY_RULES = """
table inet lossy {
  counter into { }
  counter out_of { }
  chain input {
    type filter hook input priority 0;
    meta l4proto udp udp length > 400 numgen random mod 100 < 5 @media counter name into drop
  }
  chain output {
    type filter hook output priority 0;
    meta l4proto udp udp length > 400 numgen random mod 100 < 5 @media counter name out_of drop
  }
}
"""
FIRST_BYTE_IS_RTP = "@ih,0,1 1"  # RFC 7983 §7: DTLS and STUN begin below 128


@dataclass(frozen=True)
class Namespace:
    """A network of its own, joined to the machine by a pair of virtual Ethernets."""

    name: str
    outside: str
    inside: str

    def run(self, *command: str, text: str | None = None) -> str:
        return _run("ip", "netns", "exec", self.name, *command, text=text)

    def lost(self, counter: str) -> int:
        words = self.run("nft", "list", "counter", "inet", "lossy", counter).split()
        return int(words[words.index("packets") + 1])


@pytest.fixture
def lossy() -> Iterator[Namespace]:
    for tool in ("ip", "nft"):
        if shutil.which(tool) is None:
            pytest.skip(f"{MISSING_TOOL}{tool}")
    pid = os.getpid() % 10_000
    net = f"10.231.{pid % 250}"
    made = Namespace(f"pyf{pid}", f"{net}.1", f"{net}.2")
    outer, inner = f"pyfo{pid}", f"pyfi{pid}"
    rules = LOSSY_RULES.replace("@media", FIRST_BYTE_IS_RTP)
    try:
        try:
            _run("ip", "netns", "add", made.name)
            _run("ip", "link", "add", outer, "type", "veth", "peer", inner, "netns", made.name)
            # Trains are cut before they are carried over, so that single packets are lost.
            _run("ip", "link", "set", outer, "gso_max_segs", "1", "up")
            _run("ip", "address", "add", f"{made.outside}/24", "dev", outer)
            made.run("ip", "address", "add", f"{made.inside}/24", "dev", inner)
            made.run("ip", "link", "set", inner, "up")
            made.run("ip", "link", "set", "lo", "up")
            made.run("ip", "route", "add", "default", "via", made.outside)
            made.run("nft", "-f", "-", text=rules)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"{MISSING_TOOL}right to make network namespaces ({error.stderr.strip()})")
        yield made
    finally:
        for command in (["link", "del", outer], ["netns", "del", made.name]):
            with contextlib.suppress(subprocess.CalledProcessError):
                _run("ip", *command)


def _run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return done.stdout
