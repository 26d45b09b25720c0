"""The books by themselves: what each change makes the engine hear, and what stays behind."""

from __future__ import annotations

import pytest

from pyforward.commands import (
    AddSession,
    AddStream,
    Command,
    Format,
    IceCredentials,
    Publish,
    RemoveSession,
    RemoveStream,
    RestartIce,
    Subscribe,
    SubscribeTrack,
)
from pyforward.errors import BadRequest
from pyforward.ids import SessionId
from pyforward.sdp import LiveTrack
from pyforward.state import Books, Peer, Phase, Stream, Timing, check_name

TIMING = Timing(connect_s=15.0, handshake_s=10.0, wait_s=30.0)
LIVE = (LiveTrack("video", "vp8"), LiveTrack("audio", "opus"))


def books(*declared: str) -> Books:
    return Books(TIMING, declared=declared, now=0.0)


def peer(number: int, *, expires_at: float | None = None) -> Peer:
    ice = IceCredentials(f"00u{number}", "p" * 24, "peer", "q" * 24)
    return Peer(SessionId(number), f"secret{number}", f'"etag{number}"', ice, expires_at=expires_at)


def formats(*codecs: str) -> tuple[SubscribeTrack, ...]:
    accepted = tuple(Format(codec, 96) for codec in codecs)  # type: ignore[arg-type]
    return (SubscribeTrack("video", "0", 90_000, 1, None, accepted, (), False, True, False),)


def named(book: Books, name: str) -> Stream:
    stream = book.stream(name)
    assert stream is not None
    return stream


def live_with_viewers(*viewers: int) -> tuple[Books, Stream]:
    """Session 1 publishes ``show``; the numbers watch it."""
    book = books()
    book.publish("show", peer(1), (), LIVE, 0.0)
    stream = named(book, "show")
    for number in viewers:
        book.watch(stream, peer(number), formats("vp8"), "cname", 0.0)
    return book, stream


def connect(book: Books, *numbers: int) -> None:
    """Their handshakes are over, and nothing is due of them."""
    for number in numbers:
        book.claimed(SessionId(number), 0, ("192.0.2.1", 1), 0.0)
        book.keyed(SessionId(number), "SRTP_AEAD_AES_128_GCM")


def test_first_publisher_makes_the_stream() -> None:
    book = books()
    commands = book.publish("show", peer(1), (), LIVE, 5.0)
    stream = named(book, "show")
    assert commands == [
        AddStream(stream.id),
        AddSession(SessionId(1), peer(1).ice, Publish(stream.id, ())),
    ]
    assert (stream.state, stream.live, stream.created_at) == ("live", LIVE, 5.0)
    assert book.half_open_count == 1


def test_declared_streams_exist_waiting_from_the_start() -> None:
    book = books("a", "b")
    assert book.opening() == [AddStream(named(book, "a").id), AddStream(named(book, "b").id)]
    assert named(book, "a").state == "waiting"
    assert book.next_deadline() is None
    commands = book.publish("a", peer(1), (), LIVE, 0.0)
    assert [type(command) for command in commands] == [AddSession]


def test_viewer_is_added_and_counted() -> None:
    book, stream = live_with_viewers()
    commands = book.watch(stream, peer(2), formats("vp8", "h264"), "cname", 0.0)
    assert commands == [
        AddSession(SessionId(2), peer(2).ice, Subscribe(stream.id, formats("vp8", "h264"), "cname"))
    ]
    assert book.viewer_count == 1
    assert list(stream.viewers) == [2]


def test_demand_counts_present_viewers_only() -> None:
    book, stream = live_with_viewers()
    for number, codecs in ((2, ("vp8",)), (3, ("h264", "vp8")), (4, ("h264",)), (5, ("h264",))):
        book.watch(stream, peer(number), formats(*codecs), "c", 0.0)
    assert stream.codecs_by_demand() == ("h264", "vp8")
    book.end_session(SessionId(4), "deleted", 0.0)
    book.end_session(SessionId(5), "deleted", 0.0)
    assert stream.codecs_by_demand() == ("vp8", "h264")
    book.end_session(SessionId(2), "deleted", 0.0)
    book.closed(SessionId(3), "silent", 0.0)
    assert stream.codecs_by_demand() == ()


def arrive(book: Books, number: int) -> list[Command]:
    """Its keys are there, and then its media: what has to end."""
    connect(book, number)
    session = book.session(SessionId(number))
    assert session is not None
    ended = book.overtake(session)
    book.flowing(SessionId(number), 0.0)
    return ended + book.overtake(session)


def test_the_present_publisher_is_replaced_when_media_of_the_next_one_flows() -> None:
    book, stream = live_with_viewers(2)
    assert arrive(book, 1) == []
    commands = book.publish("show", peer(3), (), LIVE[:1], 1.0)
    assert commands == [AddSession(SessionId(3), peer(3).ice, Publish(stream.id, ()))]
    newcomer = book.session(SessionId(3))
    assert newcomer is not None
    connect(book, 3)
    assert book.overtake(newcomer) == []
    assert (stream.publisher, stream.live) == (book.session(SessionId(1)), LIVE)
    assert book.flowing(SessionId(3), 0.0) is newcomer
    assert book.overtake(newcomer) == [RemoveSession(SessionId(1), "replaced")]
    assert book.overtake(newcomer) == []
    assert book.closed(SessionId(1), "replaced", 1.0) == []
    assert (stream.publisher, stream.live) == (newcomer, LIVE[:1])
    assert (stream.state, list(stream.viewers), stream.newcomers) == ("live", [2], {})


def test_newcomer_that_never_connects_changes_nothing() -> None:
    book, stream = live_with_viewers(2)
    arrive(book, 1)
    book.publish("show", peer(3), (), LIVE, 1.0)
    assert book.half_open_count == 2
    assert book.end_session(SessionId(3), "never_connected", 16.0) == [
        RemoveSession(SessionId(3), "never_connected")
    ]
    assert stream.publisher is book.session(SessionId(1))
    assert (stream.newcomers, stream.waiting_since) == ({}, None)
    assert (book.half_open_count, book.is_ufrag_taken("00u3")) == (1, False)


def test_publisher_that_has_no_keys_is_replaced_by_one_that_has() -> None:
    book, stream = live_with_viewers(2)
    for number in (3, 4, 5):
        book.publish("show", peer(number), (), LIVE, 1.0)
    assert arrive(book, 4) == [RemoveSession(SessionId(n), "replaced") for n in (1, 3)]
    assert stream.publisher is book.session(SessionId(4))
    assert list(stream.newcomers) == [5]
    assert arrive(book, 5) == [RemoveSession(SessionId(4), "replaced")]


def test_of_the_newcomers_one_has_keys() -> None:
    book, stream = live_with_viewers(2)
    arrive(book, 1)
    for number in (3, 4, 5):
        book.publish("show", peer(number), (), LIVE, 1.0)
    for number, ended in ((3, []), (5, [3, 4])):
        connect(book, number)
        session = book.session(SessionId(number))
        assert session is not None
        assert book.overtake(session) == [RemoveSession(SessionId(n), "replaced") for n in ended]
    assert stream.publisher is book.session(SessionId(1))
    assert list(stream.newcomers) == [5]


@pytest.mark.parametrize(("connected", "follows"), [((3,), 3), ((), 4)])
def test_when_the_publisher_goes_the_furthest_newcomer_follows(
    connected: tuple[int, ...], follows: int
) -> None:
    book, stream = live_with_viewers(2)
    arrive(book, 1)
    for number in (3, 4):
        book.publish("show", peer(number), (), LIVE, 1.0)
    connect(book, 2, *connected)
    assert book.closed(SessionId(1), "silent", 2.0) == []
    assert stream.publisher is book.session(SessionId(follows))
    assert (stream.state, stream.waiting_since) == ("live", None)
    book.closed(SessionId(3), "silent", 3.0)
    book.closed(SessionId(4), "silent", 4.0)
    assert (stream.state, stream.waiting_since) == ("waiting", 4.0)
    assert book.next_deadline() == 34.0


def test_the_end_of_a_stream_is_the_end_of_its_newcomers() -> None:
    book, stream = live_with_viewers(2)
    book.publish("show", peer(3), (), LIVE, 1.0)
    assert book.end_stream(stream, "deleted", 2.0) == [
        RemoveSession(SessionId(1), "deleted"),
        RemoveSession(SessionId(3), "deleted"),
        RemoveSession(SessionId(2), "stream_ended"),
    ]
    for number in (1, 2):
        assert book.closed(SessionId(number), "deleted", 3.0) == []
    assert book.closed(SessionId(3), "deleted", 3.0) == [RemoveStream(stream.id)]


def test_closed_alone_frees_the_entry() -> None:
    book, stream = live_with_viewers(2)
    assert book.end_session(SessionId(2), "deleted", 1.0) == [
        RemoveSession(SessionId(2), "deleted")
    ]
    session = book.session(SessionId(2))
    assert session is not None
    assert session.phase is Phase.CLOSING
    assert book.by_secret("secret2") is None
    assert book.end_session(SessionId(2), "deleted", 1.0) == []
    assert book.closed(SessionId(2), "deleted", 2.0) == []
    assert book.session(SessionId(2)) is None
    assert book.closed(SessionId(2), "deleted", 2.0) == []
    assert stream.unclosed == {1}


@pytest.mark.parametrize("how", ["deleted by its peer", "told by the engine"])
def test_stream_waits_for_a_publisher_then_ends(how: str) -> None:
    book, stream = live_with_viewers(2)
    connect(book, 1, 2)
    if how == "told by the engine":
        assert book.closed(SessionId(1), "silent", 100.0) == []
    else:
        book.end_session(SessionId(1), "deleted", 100.0)
        book.closed(SessionId(1), "deleted", 101.0)
    assert (stream.state, stream.waiting_since, stream.live) == ("waiting", 100.0, ())
    assert list(stream.viewers) == [2], "viewers stay"
    assert list(book.take_due(129.9)) == []
    (((what, _), entry),) = book.take_due(130.0)
    assert (what, entry) == ("stream", stream)
    assert book.end_stream(stream, "stream_ended", 130.0) == [
        RemoveSession(SessionId(2), "stream_ended")
    ]
    assert book.stream("show") is None
    assert book.closed(SessionId(2), "stream_ended", 131.0) == [RemoveStream(stream.id)]
    assert (book.stream_count, book.session_count, book.viewer_count) == (0, 0, 0)


def test_publisher_that_comes_back_ends_the_wait() -> None:
    book, stream = live_with_viewers(2)
    book.closed(SessionId(1), "silent", 100.0)
    book.publish("show", peer(3), (), LIVE, 120.0)
    connect(book, 2, 3)
    assert stream.state == "live"
    assert book.next_deadline() is None


def test_name_is_free_while_the_ended_stream_still_closes() -> None:
    book, old = live_with_viewers(2)
    book.end_stream(old, "deleted", 1.0)
    commands = book.publish("show", peer(3), (), LIVE, 2.0)
    new = named(book, "show")
    assert new.id != old.id
    assert commands[0] == AddStream(new.id)
    gone: list[Command] = []
    for number in (1, 2):
        gone += book.closed(SessionId(number), "deleted", 3.0)
    assert gone == [RemoveStream(old.id)]
    assert book.stream("show") is new


def test_declared_stream_outlives_its_end() -> None:
    book = books("show")
    stream = named(book, "show")
    book.publish("show", peer(1), (), LIVE, 0.0)
    book.watch(stream, peer(2), formats("vp8"), "c", 0.0)
    assert book.end_stream(stream, "deleted", 1.0) == [
        RemoveSession(SessionId(1), "deleted"),
        RemoveSession(SessionId(2), "stream_ended"),
    ]
    for number in (1, 2):
        assert book.closed(SessionId(number), "deleted", 1.0) == []
    assert book.stream("show") is stream
    assert stream.state == "waiting"
    assert book.next_deadline() is None


def test_publisher_that_never_arrived_leaves_nothing_to_wait_for() -> None:
    book, stream = live_with_viewers()
    assert book.end_session(SessionId(1), "never_connected", 15.0) == [
        RemoveSession(SessionId(1), "never_connected")
    ]
    assert book.stream("show") is None
    assert book.closed(SessionId(1), "never_connected", 15.0) == [RemoveStream(stream.id)]


def test_phases_have_their_deadlines() -> None:
    book, _ = live_with_viewers()
    one = SessionId(1)
    assert book.next_deadline() == 15.0
    book.claimed(one, 1, ("192.0.2.1", 9), 3.0)
    assert book.next_deadline() == 13.0
    assert book.half_open_count == 1
    book.keyed(one, "SRTP_AEAD_AES_128_GCM")
    assert book.next_deadline() is None
    assert book.half_open_count == 0


def test_phases_never_go_back() -> None:
    book, _ = live_with_viewers()
    one = SessionId(1)
    assert book.claimed(one, 1, ("192.0.2.1", 9), 3.0) is not None
    assert book.keyed(one, "SRTP_AEAD_AES_128_GCM") is not None
    assert book.flowing(one, 0.0) is not None
    assert book.claimed(one, 0, ("192.0.2.2", 9), 5.0) is None
    assert book.keyed(one, "SRTP_AEAD_AES_256_GCM") is None
    session = book.session(one)
    assert session is not None
    assert (session.phase, session.shard) == (Phase.FLOWING, 1)
    book.end_session(one, "deleted", 6.0)
    assert book.flowing(one, 0.0) is None
    assert session.phase is Phase.CLOSING
    assert book.half_open_count == 0


def test_claims_run_out() -> None:
    book, stream = live_with_viewers()
    book.closed(SessionId(1), "silent", 0.0)
    book.publish("show", peer(2, expires_at=5.0), (), LIVE, 0.0)
    (((what, number), _),) = book.take_due(5.0)
    assert (what, number) == ("expiry", 2)
    assert stream.publisher is not None


def test_ufrag_is_taken_until_the_session_ends() -> None:
    book, _ = live_with_viewers()
    assert book.is_ufrag_taken("00u1")
    book.end_session(SessionId(1), "deleted", 0.0)
    assert not book.is_ufrag_taken("00u1")


def test_a_restart_changes_credentials_and_etag_and_keeps_both_ufrags_taken() -> None:
    book, _ = live_with_viewers()
    session = book.session(SessionId(1))
    assert session is not None
    first = session.peer.ice
    assert first is not None
    for number in (2, 3):
        ice = IceCredentials(f"00r{number}", "p" * 24, "peer", "q" * 24)
        assert book.restart_ice(SessionId(1), ice, f'"{number}"') == [RestartIce(SessionId(1), ice)]
        assert (session.peer.ice, session.peer.etag) == (ice, f'"{number}"')
    taken = {u for u in (first.local_ufrag, "00r2", "00r3") if book.is_ufrag_taken(u)}
    assert taken == {"00r2", "00r3"}
    book.end_session(SessionId(1), "deleted", 0.0)
    assert not book.is_ufrag_taken("00r2")
    assert not book.is_ufrag_taken("00r3")
    assert book.restart_ice(SessionId(1), first, '"4"') == []


@pytest.mark.parametrize("name", ["a", "Show-1_~.x", "0" * 128, "-"])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "ä", "a b", "a\n", "0" * 129, "%41"])
def test_bad_names(name: str) -> None:
    with pytest.raises(BadRequest, match="128 letters"):
        check_name(name)


def test_a_publisher_that_comes_back_is_counted_with_the_time_it_was_away() -> None:
    book = books()
    book.publish("show", peer(1), (), LIVE, 0.0)
    connect(book, 1)
    book.flowing(SessionId(1), 10.0)
    book.end_session(SessionId(1), "bye", 20.0)
    book.publish("show", peer(2), (), LIVE, 21.0)
    connect(book, 2)
    assert (book.reconnects, book.gaps_s) == (0, 0.0), "nothing has come yet"
    book.flowing(SessionId(2), 23.5)
    assert (book.reconnects, book.gaps_s) == (1, 3.5)


def test_sessions_with_keys_are_counted_by_profile_until_they_close() -> None:
    book = books()
    book.publish("show", peer(1), (), LIVE, 0.0)
    connect(book, 1)
    (profile,) = book.keyed_counts
    assert book.keyed_counts == {profile: 1}
    book.end_session(SessionId(1), "bye", 2.0)
    book.closed(SessionId(1), "bye", 3.0)
    assert book.keyed_counts == {profile: 0}
