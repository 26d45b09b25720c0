"""Credentials, our candidates, the peer's candidates and fragments."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pyforward import ice
from pyforward.errors import BadOffer
from pyforward.ice.candidates import MAX_CANDIDATES
from pyforward.ice.fragment import MAX_FRAGMENT_BYTES, MAX_FRAGMENT_CANDIDATES
from tests.unit.mutation import corpus, mutations
from tests.unit.offers import VECTORS

HOST = "1 1 udp 2130706431 192.0.2.3 5000 typ host"


# Credentials -------------------------------------------------------------------------------------


def test_credentials_start_with_the_node_and_differ() -> None:
    pairs = [ice.new_credentials("a+") for _ in range(200)]
    assert all(ufrag.startswith("a+") and len(ufrag) >= 8 for ufrag, _ in pairs)
    assert all(len(pwd) >= 22 for _, pwd in pairs)  # RFC 8839 §5.4
    assert len({ufrag for ufrag, _ in pairs}) == len({pwd for _, pwd in pairs}) == 200


@pytest.mark.parametrize("node", ["", "0", "000", "0:", "é0"])
def test_a_node_is_two_ice_chars(node: str) -> None:
    with pytest.raises(ValueError, match="node"):
        ice.new_credentials(node)


# Our candidates ----------------------------------------------------------------------------------


def _hosts(candidates: Sequence[ice.Candidate]) -> list[tuple[str, int]]:
    return [(item.host, item.port) for item in candidates]


def test_ipv4_first_loopback_last() -> None:
    candidates = ice.host_candidates(
        [("::1", 1), ("127.0.0.1", 1), ("2001:db8::1", 1), ("192.0.2.1", 1), ("192.0.2.1", 1)]
    )
    assert _hosts(candidates) == [
        ("192.0.2.1", 1),
        ("2001:db8::1", 1),
        ("127.0.0.1", 1),
        ("::1", 1),
    ]
    priorities = [item.priority for item in candidates]
    assert priorities == sorted(set(priorities), reverse=True)
    # RFC 8445 §5.1.2.1 with type preference 126, local preference 65535, component 1.
    assert priorities[0] == 2130706431
    assert len({item.foundation for item in candidates}) == len(candidates)
    assert candidates[0].to_sdp() == "1 1 udp 2130706431 192.0.2.1 1 typ host"


def test_advertised_addresses_stand_in_for_the_bound_ones() -> None:
    candidates = ice.host_candidates(
        [("10.0.0.5", 8189), ("127.0.0.1", 8189)], ["2001:db8::7", "203.0.113.9", "203.0.113.8"]
    )
    assert _hosts(candidates) == [
        ("203.0.113.9", 8189),
        ("203.0.113.8", 8189),
        ("2001:db8::7", 8189),
    ]


def test_unspecified_addresses_mean_the_machines() -> None:
    def machine() -> list[str]:
        return ["127.0.0.1", "::1", "fe80::1", "10.0.0.5", "2001:db8::5", "224.0.0.1"]

    everything = [("10.0.0.5", 9), ("2001:db8::5", 9), ("127.0.0.1", 9), ("::1", 9)]
    assert _hosts(ice.host_candidates([("::", 9)], machine_addresses=machine)) == everything
    only_ipv4 = ice.host_candidates([("0.0.0.0", 9)], machine_addresses=machine)
    assert _hosts(only_ipv4) == [("10.0.0.5", 9), ("127.0.0.1", 9)]
    both = ice.host_candidates([("0.0.0.0", 9), ("::", 9)], machine_addresses=machine)
    assert _hosts(both) == everything


def test_the_machine_is_really_asked() -> None:
    assert ("127.0.0.1", 9) in _hosts(ice.host_candidates([("0.0.0.0", 9)]))


def test_candidates_are_bounded() -> None:
    addresses = [(f"192.0.2.{n}", 9) for n in range(100)]
    assert len(ice.host_candidates(addresses)) == MAX_CANDIDATES


# The peer's candidates ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        HOST,
        "1 1 UDP 2130706431 192.0.2.3 5000 typ host generation 0 ufrag KNrB network-cost 999",
        "2 1 udp 1694498815 192.0.2.3 5000 typ srflx raddr 192.0.2.1 rport 8998",
        "1 1 tcp 1518214911 192.0.2.10 9 typ host tcptype active generation 0",
        "8 1 udp 1 2cf0b2c0-0842-4fe3-aaa0-4556a2dfbadc.local 52200 typ host",
        "1 1 udp 1 2001:db8::1 5000 typ relay",
    ],
)
def test_candidates_of_real_peers(value: str) -> None:
    assert ice.parse_candidate(value).type in value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1 1 udp 1 192.0.2.3 5000 typ",
        HOST.replace("5000", "70000"),
        HOST.replace("5000", "\u0665"),
        HOST.replace(" 1 udp", " 0 udp"),
        HOST.replace(" 1 udp", " 999 udp"),
        HOST.replace("udp", "u\0p"),
        HOST.replace("host", "ghost"),
        HOST.replace("2130706431", "9" * 5000),
        HOST.replace("192.0.2.3", "a" * 300),
        HOST + " generation x",
        HOST + " rport 99999",
        HOST + " odd",
        "x" * 513,
    ],
)
def test_what_is_no_candidate(value: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ice.parse_candidate(value)


# Fragments ---------------------------------------------------------------------------------------


def _fragment(name: str) -> str:
    return (VECTORS / "trickle" / name).read_bytes().decode()


def test_the_fragment_of_rfc_8840() -> None:
    fragment = ice.parse_fragment(_fragment("rfc8840.sdpfrag"))
    assert (fragment.ufrag, fragment.pwd) == ("8hhY", "asd88fgpdd777uzjYhagZg")
    assert [item.port for item in fragment.candidates] == [5000, 5001, 5000]
    assert fragment.end_of_candidates


def test_the_fragment_of_chromium() -> None:
    fragment = ice.parse_fragment(_fragment("chromium.sdpfrag"))
    assert [item.transport for item in fragment.candidates] == ["udp", "tcp"]
    assert fragment.candidates[0].host.endswith(".local")
    assert not fragment.end_of_candidates


def test_the_answer_to_a_restart_speaks_of_the_same_section() -> None:
    asked = ice.parse_fragment(_fragment("chromium.sdpfrag").replace("m=audio", "m=video"))
    candidates = ice.host_candidates([("192.0.2.1", 8189), ("2001:db8::1", 8189)])
    text = ice.answer_fragment(asked, "00ufrag", "p" * 24, candidates)
    assert text.split("\r\n")[:5] == [
        "a=ice-lite",
        "m=video 9 UDP/TLS/RTP/SAVPF 0",
        "a=mid:0",
        "a=ice-ufrag:00ufrag",
        "a=ice-pwd:" + "p" * 24,
    ]
    read = ice.parse_fragment(text)
    assert (read.ufrag, read.pwd, read.kind, read.mid) == ("00ufrag", "p" * 24, "video", "0")
    assert [item.host for item in read.candidates] == ["192.0.2.1", "2001:db8::1"]
    assert read.end_of_candidates


@pytest.mark.parametrize("section", ["", "m=audio 9 X 0\na=mid:two words", "a=mid:" + "x" * 65])
def test_the_answer_to_a_restart_without_a_section_has_none(section: str) -> None:
    asked = ice.parse_fragment(f"a=ice-ufrag:8hhY\n{section}")
    text = ice.answer_fragment(asked, "00ufrag", "p" * 24, ())
    assert not any(line.startswith(("m=", "a=mid")) for line in text.split("\r\n"))


def test_credentials_and_candidates_may_be_missing() -> None:
    fragment = ice.parse_fragment("a=end-of-candidates")
    assert (fragment.ufrag, fragment.pwd, fragment.candidates) == (None, None, ())
    assert fragment.end_of_candidates


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("hello", 1),
        ("a=ice-ufrag:8hhY\r\na=candidate:x", 2),
        ("a=ice-ufrag:ab", 1),
        ("a=ice-pwd:short", 1),
        ("a=ice-ufrag:8hhY\na=ice-ufrag:other", 2),
        ("a=x\0y", 1),
        (f"a=candidate:{HOST}\n" * (MAX_FRAGMENT_CANDIDATES + 1), MAX_FRAGMENT_CANDIDATES + 1),
        ("a=x\n" * MAX_FRAGMENT_BYTES, None),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int | None) -> None:
    with pytest.raises(BadOffer) as caught:
        ice.parse_fragment(text)
    assert caught.value.line == line


def test_mutated_fragments() -> None:
    read = refused = 0
    real = [_fragment("rfc8840.sdpfrag").encode(), _fragment("chromium.sdpfrag").encode()]
    for data in mutations([*real, *corpus("trickle")]):
        try:
            fragment = ice.parse_fragment(data.decode("utf-8", "replace"))
        except BadOffer:
            refused += 1
            continue
        read += 1
        assert len(fragment.candidates) <= MAX_FRAGMENT_CANDIDATES
        for candidate in fragment.candidates:
            assert ice.parse_candidate(candidate.to_sdp()).to_sdp() == candidate.to_sdp()
            assert 0 <= candidate.port <= 65535
    assert read > 10
    assert refused > 10


# Writing ------------------------------------------------------------------------------------------


def test_a_fragment_of_ours_reads_back() -> None:
    candidates = tuple(ice.host_candidates([("192.0.2.1", 5000), ("2001:db8::1", 5000)]))
    ours = ice.Fragment("ufra", "p" * 24, candidates, True, "video", "1")
    text = ours.write()
    assert text.startswith("m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\na=ice-ufrag:ufra\r\n")
    assert text.endswith("a=end-of-candidates\r\n")
    read = ice.parse_fragment(text)
    assert read.write() == text
    assert (read.ufrag, read.pwd, read.kind, read.mid) == ("ufra", "p" * 24, "video", "1")
    assert ice.Fragment(None, None, (), False).write() == ""


@pytest.mark.parametrize("name", ["rfc8840.sdpfrag", "chromium.sdpfrag"])
def test_fragments_of_others_survive_the_round_trip(name: str) -> None:
    read = ice.parse_fragment(_fragment(name))
    again = ice.parse_fragment(read.write())
    assert again.write() == read.write()
    assert [item.to_sdp() for item in again.candidates] == [
        item.to_sdp() for item in read.candidates
    ]
