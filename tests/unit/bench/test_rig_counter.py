"""What nftables is asked, and what is made of its answers."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from pyforward_bench.rig import counter
from pyforward_bench.rig.counter import Count, Counter, Ports


def test_one_rule_takes_the_media_of_the_sinks_alone() -> None:
    rule = counter.chain("rig0", "10.220.0.3", Ports(10_000, 12_000), by_viewer=False)
    assert 'hook ingress device "rig0"' in rule
    assert "ip daddr 10.220.0.3 ip protocol udp udp dport 10000-11999" in rule
    # RTP's version in the first two bits behind UDP's header, and no payload type of RTCP's.
    assert "@th,64,2 2 @th,73,7 != 64-95" in rule
    assert "counter name media drop" in rule
    assert rule.count("add rule") == 1


def test_ipv6_has_its_own_names() -> None:
    rule = counter.chain("rig0", "fd50:5946::3", Ports(), by_viewer=False)
    assert "ip6 daddr fd50:5946::3 ip6 nexthdr udp" in rule


def test_by_viewer_a_set_counts() -> None:
    rule = counter.chain("rig0", "10.220.0.3", Ports(), by_viewer=True)
    assert "add @viewers { udp dport counter } drop" in rule
    assert "counter name" not in rule


def test_covering_other_ports_keeps_what_was_counted() -> None:
    assert "table" not in counter.chain("rig0", "10.220.0.3", Ports(), by_viewer=False).replace(
        "netdev pyforward-rig", ""
    )
    assert "delete table" in counter.table()


class Nft:
    """Answers as nft does, and keeps what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
        self.asked: list[tuple[Sequence[str], str]] = []
        self.answer = answer
        monkeypatch.setattr(counter, "_run", self.run)

    def run(self, arguments: Sequence[str], script: str = "") -> str:
        self.asked.append((arguments, script))
        return json.dumps(self.answer)


async def test_bytes_are_those_of_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"name": "media", "packets": 8, "bytes": 8_224}
    Nft(monkeypatch, {"nftables": [{"metainfo": {}}, {"counter": told}]})
    assert await Counter("10.220.0.3").read() == Count(8, 8_000)
    told["bytes"] = 8_384
    assert await Counter("fd50:5946::3").read() == Count(8, 8_000)


async def test_viewers_are_known_by_their_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    elements = [
        {"elem": {"val": port, "counter": {"packets": packets, "bytes": 1_028 * packets}}}
        for port, packets in ((10_001, 3), (10_002, 5))
    ]
    Nft(monkeypatch, {"nftables": [{"metainfo": {}}, {"set": {"elem": elements}}]})
    found = await Counter("10.220.0.3").read_by_viewer()
    assert found == {10_001: Count(3, 3_000), 10_002: Count(5, 5_000)}


async def test_nobody_was_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    Nft(monkeypatch, {"nftables": [{"metainfo": {}}, {"set": {"name": "viewers"}}]})
    assert await Counter("10.220.0.3").read_by_viewer() == {}


async def test_a_counter_that_counts_viewers_goes_on_so(monkeypatch: pytest.MonkeyPatch) -> None:
    nft = Nft(monkeypatch, {})
    counting = Counter("10.220.0.3")
    await counting.open(by_viewer=True)
    await counting.cover(Ports(10_000, 10_100))
    scripts = [script for _, script in nft.asked]
    assert all("add @viewers" in script for script in scripts)
    assert "delete table" in scripts[0]
    assert "delete table" not in scripts[1]


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    told = counter.missing()
    assert told is not None
    assert "nft" in told


def test_counts_have_differences() -> None:
    assert Count(10, 1_000) - Count(4, 300) == Count(6, 700)
