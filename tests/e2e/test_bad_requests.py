"""Offers, fragments and URLs that nobody should send: refused with the reason, nothing left behind.

A viewer of the same server goes on watching meanwhile, and at the end there are as many sessions
as there were at the beginning.
"""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Iterator

import pytest

from tests.e2e.peer import fingerprint, joined
from tests.e2e.sdp import audio, offer, video
from tests.e2e.server import FRAGMENT, SDP, Server, running, wait_for
from tests.e2e.watching import Watching, watching

LOCAL = ("abcdefgh", "0123456789abcdef0123456789")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("--streams-wait-s", "0.2", command="demo") as server:
        yield server


@pytest.fixture(scope="module")
def good(server: Server) -> Iterator[Watching]:
    with watching(server) as viewer:
        yield viewer


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(server: Server, good: Watching) -> Iterator[None]:
    before = server.sessions(), server.streams()
    yield
    wait_for("an end of all sessions", lambda: server.sessions() == before[0])
    wait_for("an end of all streams", lambda: len(server.streams()) == 1)
    assert server.streams()[0]["viewers"] == before[1][0]["viewers"]
    good.more(3)


def publish_offer() -> str:
    return offer([audio(), video(rtx=97)], "sendonly", LOCAL, fingerprint())


def watch_offer() -> str:
    return offer([audio(), video("H264", rtx=97)], "recvonly", LOCAL, fingerprint())


OFFERS = {"/whip/bad": publish_offer, "/whep/demo": watch_offer}


@pytest.mark.parametrize("path", OFFERS)
def test_offers_cut_anywhere(path: str, server: Server) -> None:
    text = OFFERS[path]()
    cuts = {*range(0, len(text), 23), *(m.start() for m in re.finditer("\r\n|=|:| ", text))}
    refused = 0
    for cut in sorted(cuts):
        answer = server.offer(path, text[:cut])
        if answer.status == 201:  # the last lines are not needed
            assert server.request("DELETE", answer.headers["location"]).status == 200
            continue
        assert answer.status in (400, 422), (cut, answer)
        assert answer.detail
        refused += 1
    assert refused > len(cuts) / 2


@pytest.mark.parametrize("path", OFFERS)
def test_offers_with_any_byte_changed(path: str, server: Server) -> None:
    text = OFFERS[path]().encode()
    draw = random.Random(path)
    for _ in range(150):
        changed = bytearray(text)
        for _ in range(draw.choice([1, 1, 4])):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        answer = server.offer(path, bytes(changed))
        assert answer.status in (201, 400, 422), answer
        if answer.status == 201:
            assert server.request("DELETE", answer.headers["location"]).status == 200


@pytest.mark.parametrize("path", OFFERS)
@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, ""),
        (secrets.token_bytes(2_000), 400, "UTF-8"),
        (b"v=0\r\n" + bytes(1_000), 400, ""),
        ("☃".encode() * 1_000, 400, ""),
        (b"v=0\r\n" * 10_000, 400, ""),
        (b"a" * 65_537, 413, "65536 bytes"),
        (b"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=" + b"x" * 60_000, 400, ""),
    ],
    ids=["empty", "binary", "zeros", "snowmen", "lines", "enormous", "one line"],
)
def test_bodies_that_are_no_offers(
    path: str, body: bytes, status: int, says: str, server: Server
) -> None:
    answer = server.offer(path, body)
    assert answer.status == status, answer
    assert says in answer.detail


@pytest.mark.parametrize("path", OFFERS)
def test_a_thousand_m_lines(path: str, server: Server) -> None:
    head, section, _ = re.split(r"(?=^m=)", OFFERS[path](), flags=re.MULTILINE)
    short = section.partition("a=")[0]
    assert "m-lines" in server.offer(path, head + section + short * 999).detail
    assert "m-lines" in server.offer(path, head + short * 1_000).detail


def test_an_enormous_body_is_refused_before_it_has_come(server: Server) -> None:
    connection = server.connect()
    connection.putrequest("POST", "/whip/bad")
    connection.putheader("Content-Type", SDP)
    connection.putheader("Content-Length", str(1 << 40))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def without(name: str) -> tuple[str, str]:
    return rf"^a={name}.*\r\n", ""


REFUSED = {
    "rtcp-mux": ([without("rtcp-mux")], "rtcp-mux"),
    "ice": ([without("ice-ufrag"), without("ice-pwd")], "ICE credentials"),
    "pwd": ([without("ice-pwd")], "ICE credentials"),
    "ufrag": ([(r"^a=ice-ufrag:.*", "a=ice-ufrag:a b")], "ice-ufrag"),
    "fingerprint": ([without("fingerprint")], "fingerprint"),
    "short fingerprint": ([(r"^(a=fingerprint:sha-256 ..).*", r"\1")], "fingerprint"),
    "weak fingerprint": ([(r"sha-256", "sha-1")], "fingerprint"),
    "plain RTP": ([("UDP/TLS/RTP/SAVPF", "RTP/AVP")], ""),
    "lite": ([(r"^a=group", "a=ice-lite\r\na=group")], "lite"),
    "setup": ([("setup:actpass", "setup:holdconn")], "setup"),
    "codec": (
        [("VP8|H264", "theora"), ("opus", "speex")],
        "codec",
    ),
}


@pytest.mark.parametrize("path", OFFERS)
@pytest.mark.parametrize("what", REFUSED)
def test_what_an_offer_must_not_lack(what: str, path: str, server: Server) -> None:
    text = OFFERS[path]()
    changes, says = REFUSED[what]
    for pattern, replacement in changes:
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert count
    answer = server.offer(path, text)
    assert answer.status in (400, 422), answer
    assert says.lower() in answer.detail.lower()


def test_two_videos(server: Server) -> None:
    text = offer([video(), video(ssrc=3)], "sendonly", LOCAL, fingerprint())
    answer = server.offer("/whip/bad", text)
    assert answer.status == 422
    assert "video" in answer.detail


def test_no_common_codec_names_the_streams(server: Server) -> None:
    text = offer([video("VP8")], "recvonly", LOCAL, fingerprint())
    answer = server.offer("/whep/demo", text)
    assert answer.status == 422
    assert "h264" in answer.json["codecs"]


def test_a_certificate_of_another_ends_the_handshake(server: Server) -> None:
    failed = 'pyforward_joins_total{kind="watch",reason="handshake",result="failed"}'
    liar = joined(
        server, "/whep/demo", [video("H264")], claimed="sha-256 " + bytes(32).hex(":").upper()
    )
    liar.checked()
    for record in liar.hello():
        liar.send(record)
    liar.wait("the end of its session", lambda: server.metrics().get(failed, 0) == 1)
    assert liar.refused, "by an alert"
    assert not liar.rtp
    liar.close()


# Sessions of others ------------------------------------------------------------------------------


def test_a_session_answers_to_its_own_url_alone(server: Server) -> None:
    publisher = joined(server, "/whip/other", [video()])
    viewer = joined(server, "/whep/demo", [audio(), video("H264")])
    secret = viewer.location.rpartition("/")[2]
    assert len(secret) >= 22, "128 bits in base64"
    wrong = [
        viewer.location[:-1] + ("A" if viewer.location[-1] != "A" else "B"),
        viewer.location + "A",
        viewer.location.replace("demo", "other"),
        viewer.location.replace("whep", "whip"),
        publisher.location.replace("whip", "whep"),
        "/whep/demo/" + "A" * len(secret),
        "/whep/demo/" + "%00" * 20,
        "/whep/demo/" + "A" * 3_000,
    ]
    fragment = f"a=ice-ufrag:{viewer.local[0]}\r\na=ice-pwd:{viewer.local[1]}\r\n"
    for location in wrong:
        assert server.request("DELETE", location).status == 404, location
        assert viewer.patch(fragment, location=location).status == 404, location
    assert server.sessions() == 2 + 2
    assert viewer.patch(fragment, publisher.etag).status == 412
    assert viewer.patch(fragment, viewer.etag).status == 204
    without_if_match = server.request("PATCH", viewer.location, fragment, content_type=FRAGMENT)
    assert without_if_match.status == 428
    viewer.connect()
    viewer.wait_for_rtp(3)
    assert viewer.drop().status == publisher.drop().status == 200
    assert server.request("DELETE", viewer.location).status == 404


@pytest.mark.parametrize(
    "fragment",
    [
        "a=candidate:\r\n",
        "\x00" * 100,
        "a=ice-ufrag:x\r\n" * 3_000,
        "m=audio\r\n" * 100,
        "a=" * 100,
    ],
    ids=["candidate", "zeros", "ufrags", "m-lines", "attributes"],
)
def test_fragments_that_are_none_leave_the_session_alone(fragment: str, server: Server) -> None:
    viewer = joined(server, "/whep/demo", [audio(), video("H264")])
    assert viewer.patch(fragment, viewer.etag).status in (204, 400, 413, 422)
    viewer.connect()
    viewer.wait_for_rtp(3)
    viewer.drop()
