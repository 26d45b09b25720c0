"""Control in numbers: what is counted when sessions come to an end, and from the start."""

from __future__ import annotations

from pyforward.commands import Claimed, CloseReason
from pyforward.control import StreamView
from pyforward.dtls import HELLO_BYTES, POOL_FAILURES
from tests.unit.signalling.offers import offer
from tests.unit.signalling.world import ADDRESS, World

PUBLISH = offer("sendonly")
WATCH = offer("recvonly")


async def test_every_reason_is_told_from_the_start(world: World) -> None:
    view = world.control.view()
    assert set(view.dtls_failures) == set(POOL_FAILURES)
    assert view.closed["watch", "silent"] == 0
    assert sum(view.closed.values()) == sum(view.ice_failures.values()) == 0
    assert set(view.srtp_sessions.values()) == {0}
    assert view.each_stream == ()


async def test_a_handshake_fails_by_its_cause_and_no_keys_is_no_goodbye(world: World) -> None:
    accepted = await world.publish("show", PUBLISH)
    await world.tell(Claimed(accepted.session, 0, ADDRESS))
    world.pool.on_failed(accepted.session, "fingerprint")
    await world.close(accepted.session, "handshake")
    view = world.control.view()
    assert view.dtls_failures["fingerprint"] == 1
    assert view.closed["publish", "handshake"] == 1
    assert sum(view.ice_failures.values()) == 0


async def test_a_handshake_that_takes_too_long_is_a_timeout(world: World) -> None:
    accepted = await world.publish("show", PUBLISH)
    await world.tell(Claimed(accepted.session, 0, ADDRESS))
    world.pass_time(10.0)
    assert world.control.view().dtls_failures["timeout"] == 1


async def test_who_is_never_heard_failed_by_ice_and_who_falls_silent_consents_no_more(
    world: World,
) -> None:
    silent: CloseReason = "silent"
    never = await world.publish("a", PUBLISH)
    await world.close(never.session, "never_connected")
    heard = await world.publish("b", PUBLISH)
    await world.connect(heard.session)
    assert sum(world.control.view().srtp_sessions.values()) == 1
    await world.close(heard.session, silent)
    view = world.control.view()
    assert view.ice_failures == {
        "never_connected": 1,
        "silent": 0,
        "consent_expired": 0,
        "no_socket": 0,
    }
    assert view.consent_expiries == {"publish": 1, "watch": 0}
    assert sum(view.srtp_sessions.values()) == 0


async def test_a_goodbye_with_keys_is_no_failure(world: World) -> None:
    accepted = await world.publish("show", PUBLISH)
    await world.connect(accepted.session)
    world.pool.on_failed(accepted.session, "closed")
    assert sum(world.control.view().dtls_failures.values()) == 0


async def test_streams_and_queues(world: World) -> None:
    await world.publish("b", PUBLISH)
    await world.publish("a", PUBLISH)
    view = world.control.view()
    ids = [stream.id for stream in view.each_stream]
    assert view.each_stream == (
        StreamView(ids[0], "b", 0, True),
        StreamView(ids[1], "a", 0, True),
    )
    assert ids == sorted(ids)
    assert view.publishers == 2
    depths = {queue.name: (queue.depth, queue.limit) for queue in view.queues}
    assert depths["half_open"] == (2, 20_000)
    assert depths["hellos"] == (0, None)
    assert depths["hello_bytes"] == (700, HELLO_BYTES)


async def test_the_time_to_an_answer_is_of_viewers_who_got_one(world: World) -> None:
    with world.control.joining("publish"):
        world.clock.now += 5.0
    with world.control.joining("watch"):
        world.clock.now += 0.02
    answers = world.control.view().answers
    assert sum(answers.buckets) + answers.above == 1
    assert round(answers.sum, 6) == 0.02
