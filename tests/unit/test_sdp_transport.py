"""The transport of an offer: what is missing or malformed is refused with its reason."""

from __future__ import annotations

import pytest

from pyforward import sdp
from pyforward.errors import BadOffer, RequestError, Unprocessable
from tests.unit.offers import changed, offer

CHROMIUM = "chromium-watch.sdp"
FINGERPRINT = r"^a=fingerprint:.*\r\n"


def test_chromium() -> None:
    peer = sdp.offer_transport(offer("chromium-publish.sdp"))
    assert (peer.ufrag, peer.pwd) == ("KNrB", "A9yl6N7Xs17itY2fIb9ruVQP")
    assert (peer.setup, peer.our_setup, peer.trickle) == ("actpass", "passive", True)
    ((algorithm, digest),) = peer.fingerprints
    assert (algorithm, digest[:3].hex(), len(digest)) == ("sha-256", "bc08a3", 32)
    assert len(peer.candidates) == 4


def test_session_level_is_found() -> None:
    peer = sdp.offer_transport(offer("encoder-publish-sprop.sdp"))
    assert (peer.ufrag, peer.pwd) == ("enc0", "ENCODERENCODERENCODER00")
    assert not peer.trickle


def test_several_fingerprints_and_unknown_hashes() -> None:
    lines = f"a=fingerprint:SHA-512 {'aB:' * 63}cd\r\na=fingerprint:sha-1 00:11\r\na=setup:"
    peer = sdp.offer_transport(changed(CHROMIUM, (r"^a=setup:", lines)))
    assert [algorithm for algorithm, _ in peer.fingerprints] == ["sha-256", "sha-512"]


@pytest.mark.parametrize("setup", ["active", "passive", "actpass"])
def test_we_are_passive_unless_the_offer_is(setup: str) -> None:
    peer = sdp.offer_transport(changed(CHROMIUM, (r"^a=setup:.*\r$", f"a=setup:{setup}\r")))
    assert peer.our_setup == ("active" if setup == "passive" else "passive")


def test_without_setup_the_peer_takes_either_role() -> None:
    assert sdp.offer_transport(changed(CHROMIUM, (r"^a=setup:.*\r\n", ""))).setup == "actpass"


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ((r"^a=ice-(ufrag|pwd):.*\r\n", ""), Unprocessable, "ICE credentials"),
        ((r"^a=ice-pwd:.*\r\n", ""), Unprocessable, "ICE credentials"),
        ((r"^a=ice-ufrag:.*\r$", "a=ice-ufrag:abc\r"), BadOffer, "ice-ufrag"),
        ((r"^a=ice-ufrag:.*\r$", "a=ice-ufrag:ab:cd\r"), BadOffer, "ice-ufrag"),
        ((r"^a=ice-pwd:.*\r$", "a=ice-pwd:short\r"), BadOffer, "ice-pwd"),
        ((FINGERPRINT, ""), Unprocessable, "fingerprint"),
        ((FINGERPRINT, "a=fingerprint:md5 00:11\r\n"), Unprocessable, "fingerprint"),
        ((FINGERPRINT, "a=fingerprint:sha-256 00:11\r\n"), BadOffer, "sha-256"),
        ((FINGERPRINT, "a=fingerprint\r\n"), Unprocessable, "fingerprint"),
        ((r"^a=fingerprint:sha-256 ..", "a=fingerprint:sha-256 XY"), BadOffer, "sha-256"),
        ((r"^a=setup:.*\r$", "a=setup:holdconn\r"), BadOffer, "holdconn"),
        ((r"^t=0 0", "t=0 0\r\na=ice-lite"), Unprocessable, "ice-lite"),
    ],
)
def test_refused_with_a_reason(
    change: tuple[str, str], error: type[RequestError], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        sdp.offer_transport(changed(CHROMIUM, change))
