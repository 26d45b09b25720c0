"""Text to tree and back; everything that is no session description is a BadOffer with its line."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyforward import sdp
from pyforward.errors import BadOffer
from pyforward.sdp.grammar import MAX_TEXT_BYTES, number
from tests.unit.offers import OFFERS, offer_text

HEAD = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"


@pytest.mark.parametrize("name", OFFERS)
def test_a_vector_survives_the_round_trip(name: str) -> None:
    tree = sdp.parse(offer_text(name))
    assert sdp.parse(tree.write()) == tree
    # Nothing is lost either: fields come before attributes, otherwise it is the same text.
    assert sorted(tree.write().split()) == sorted(offer_text(name).split())


def test_line_feeds_alone_end_lines_too() -> None:
    text = offer_text("chromium-watch.sdp")
    assert sdp.parse(text.replace("\r\n", "\n")) == sdp.parse(text)


def test_attributes_are_found_by_name_and_keep_their_lines() -> None:
    tree = sdp.parse(HEAD + "a=x:1\r\na=flag\r\na=x:2:3\r\nm=audio 9 RTP/AVP 0\r\na=x:4\r\n")
    assert [item.value for item in tree.attributes.every("x")] == ["1", "2:3"]
    assert "flag" in tree.attributes
    assert tree.attributes.value("flag") is None
    first = tree.media[0].attributes.first("x")
    assert first is not None
    assert (first.value, first.line) == ("4", 9)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", None),
        ("hello", 1),
        ("hello\r\n", 1),
        ("a=x\r\n", None),
        ("v=1\r\no=-\r\ns=-\r\nt=0 0\r\n", 1),
        ("v=0\r\ns=-\r\nt=0 0\r\n", None),
        (HEAD + "v=0\r\n", 5),
        (HEAD + "m=audio 9\r\n", 5),
        (HEAD + "m=audio x RTP/AVP 0\r\n", 5),
        (HEAD + "m=audio 65536 RTP/AVP 0\r\n", 5),
        (HEAD + "m=audio 9 RTP/AVP  0\r\n", 5),
        (HEAD + "m=audio 9 RTP/AVP 0\r\nt=0 0\r\n", 6),
        (HEAD + "\r\n", 5),
        (HEAD + "a=\r\n", 5),
        (HEAD + "a=b\x00c\r\n", 5),
        (HEAD + "a=b\rc\r\n", 5),
        (HEAD + "A=b\r\n", 5),
        (HEAD + "a:b\r\n", 5),
        (HEAD + "m=audio 9 RTP/AVP " + " ".join(["0"] * 129) + "\r\n", 5),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int | None) -> None:
    with pytest.raises(BadOffer) as caught:
        sdp.parse(text)
    assert caught.value.line == line


@pytest.mark.parametrize("name", OFFERS)
def test_cut_off_in_the_middle_of_a_line(name: str) -> None:
    text = offer_text(name)
    for length in range(0, len(text), 13):
        if not text[:length].endswith("\n"):
            with pytest.raises(BadOffer):
                sdp.parse(text[:length])


def test_a_thousand_m_lines() -> None:
    with pytest.raises(BadOffer, match="more than 64 m-lines") as caught:
        sdp.parse(HEAD + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n" * 1000)
    assert caught.value.line == 4 + 65


def test_enormous_texts_are_refused_unread() -> None:
    with pytest.raises(BadOffer, match="at most"):
        sdp.parse(HEAD + "a=x:" + "y" * MAX_TEXT_BYTES + "\r\n")
    with pytest.raises(BadOffer, match="at most"):  # few characters, many bytes
        sdp.parse(HEAD + "a=x:" + "\u20ac" * (MAX_TEXT_BYTES // 3) + "\r\n")
    with pytest.raises(BadOffer, match="lines"):
        sdp.parse(HEAD + "a=\r\n" * 5000)


def test_binary() -> None:
    source = random.Random(1)
    for size in (1, 10, 1000, 60000):
        with pytest.raises(BadOffer):
            sdp.parse(source.randbytes(size).decode("latin-1"))


def test_numbers_are_plain_digits() -> None:
    assert number("0065535", 65535) == 65535
    for text in ("", "-1", "+1", " 1", "1_0", "\u0663", "65536", "9" * 5000):
        assert number(text, 65535) is None


_VALUE = st.text(" :=;/,.-_azAZ09\u00e9\u20ac\U0001f3a5", max_size=30)
_NAME = st.text("abcxyz019-", min_size=1, max_size=20)
_ATTRIBUTE = st.tuples(_NAME, st.none() | _VALUE).map(
    lambda pair: f"a={pair[0]}" if pair[1] is None else f"a={pair[0]}:{pair[1]}"
)
_SECTION = st.tuples(
    st.sampled_from(["audio", "video", "application"]),
    st.integers(0, 65535),
    st.lists(st.integers(0, 127), min_size=1, max_size=5),
    st.lists(_ATTRIBUTE, max_size=5),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(_ATTRIBUTE, max_size=5), st.lists(_SECTION, max_size=4))
def test_whatever_is_written_is_read_again(
    attributes: list[str], media: list[tuple[str, int, list[int], list[str]]]
) -> None:
    lines = [*HEAD.split("\r\n")[:-1], *attributes]
    for kind, port, formats, own in media:
        lines += [f"m={kind} {port} UDP/TLS/RTP/SAVPF {' '.join(map(str, formats))}", *own]
    text = "\r\n".join(lines) + "\r\n"
    assert sdp.parse(text).write() == text


OWN = HEAD + (
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:{0}\r\na=ssrc:{1} cname:c\r\n"
    "a=msid\r\na=ssrc:{2} cname:c\r\n"
)


def test_texts_of_a_crowd_have_one_shape_and_their_own_values() -> None:
    first, second = (sdp.parse(OWN.format(*values)) for values in (("abcd", 1, 2), ("efgh", 3, 4)))
    assert first.shape is second.shape
    for tree, ufrag, ssrcs in ((first, "abcd", [1, 2]), (second, "efgh", [3, 4])):
        attributes = tree.media[0].attributes
        assert attributes.value("ice-ufrag") == ufrag
        assert [item.value for item in attributes.every("ssrc")] == [f"{n} cname:c" for n in ssrcs]
        assert "msid" in attributes
        assert attributes.value("msid") is None
        assert [str(item) for item in attributes][1] == f"a=ice-ufrag:{ufrag}"
        assert sdp.parse(tree.write()) == tree
    assert sdp.parse(OWN.format("abcd", 1, 2).replace("mid:0", "mid:1")).shape is not first.shape


def test_what_is_wrong_in_a_line_of_ones_own_is_told_with_its_number() -> None:
    sdp.parse(OWN.format("abcd", 1, 2))
    for wrong in ("ab\x00cd", "ab\rcd"):
        with pytest.raises(BadOffer) as caught:
            sdp.parse(OWN.format(wrong, 1, 2))
        assert caught.value.detail.startswith("line 7: a control character")


def test_what_no_browser_sends_is_not_remembered() -> None:
    text = HEAD + "a=x:y\r\n" * 600
    assert sdp.parse(text).shape is not sdp.parse(text).shape
