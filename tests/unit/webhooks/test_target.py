"""Deliveries: in order, signed, sent again, given up; a queue that has a bound."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import random
from collections.abc import AsyncIterator, Mapping

import pytest
from structlog.testing import capture_logs

from pyforward.config.models import Webhooks as Settings
from pyforward.feed import Told
from pyforward.webhooks import Answer, Target, key_of, sign
from pyforward.webhooks.target import LONGEST_ASKED_S

KEY = b"a key of the operator"
URL = "https://hooks.example:8443/secret/path?token=hush"


def told(number: int) -> Told:
    return Told(f"run-{number}", "stream_ended", "show", json.dumps({"number": number}))


class Receiver:
    """Answers as the script says, and 200 when it is over. An exception is raised."""

    def __init__(self, *script: int | Answer | Exception) -> None:
        self.script = list(script)
        self.got: list[tuple[int, Mapping[str, str]]] = []
        self.waited: list[float] = []
        self.now = 1_700_000_000.0
        self.hangs = asyncio.Event()
        self.hangs.set()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        assert url == URL
        await self.hangs.wait()
        answer = self.script.pop(0) if self.script else 200
        if isinstance(answer, Exception):
            raise answer
        self.got.append((json.loads(body)["number"], headers))
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        mac = base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
        assert headers["webhook-signature"] == f"v1,{mac}"
        assert headers["webhook-timestamp"] == str(int(self.now))
        return Answer(answer) if isinstance(answer, int) else answer

    async def sleep(self, wait_s: float) -> None:
        self.waited.append(wait_s)
        self.now += wait_s
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def running(receiver: Receiver, **more: object) -> AsyncIterator[Target]:
    settings = Settings.model_validate({"secret": KEY.decode().replace(" ", "-"), **more})
    target = Target(
        URL,
        KEY,
        settings,
        receiver.post,
        sleep=receiver.sleep,
        rng=random.Random(1),
        wall=lambda: receiver.now,
    )
    task = asyncio.create_task(target.run())
    try:
        yield target
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_every_event_is_delivered_in_order() -> None:
    receiver = Receiver()
    async with running(receiver) as target:
        for number in range(5):
            target.offer(told(number))
        assert target.stats().waiting == 5
        await target.wait_idle()
        assert [number for number, _ in receiver.got] == [0, 1, 2, 3, 4]
        assert receiver.got[3][1]["webhook-id"] == "run-3"
        stats = target.stats()
    assert (stats.delivered, stats.waiting, stats.failed, stats.dropped) == (5, 0, 0, 0)
    assert stats.target == "https://hooks.example:8443"


async def test_what_fails_is_sent_again_later_each_time_under_the_same_id() -> None:
    receiver = Receiver(500, OSError(), TimeoutError(), 302, 429)
    async with running(receiver) as target:
        with capture_logs() as lines:
            target.offer(told(1))
            target.offer(told(2))
            await target.wait_idle()
    assert [number for number, _ in receiver.got] == [1, 1, 1, 1, 2]
    assert {headers["webhook-id"] for _, headers in receiver.got[:4]} == {"run-1"}
    assert all(
        0.5 * most <= waited <= most
        for most, waited in zip((1, 2, 4, 8, 16), receiver.waited, strict=True)
    )
    assert [line["reason"] for line in lines] == [
        "http_500",
        "unreachable",
        "timeout",
        "http_302",
        "http_429",
    ]
    assert target.stats().failed == 5
    assert "hush" not in str(lines)
    assert "secret" not in str(lines)


async def test_what_cannot_be_delivered_is_given_up_and_the_next_one_goes() -> None:
    receiver = Receiver(*[500] * 3)
    async with running(receiver, attempts=3) as target:
        with capture_logs() as lines:
            target.offer(told(1))
            target.offer(told(2))
            await target.wait_idle()
    assert [number for number, _ in receiver.got] == [1, 1, 1, 2]
    assert (target.stats().delivered, target.stats().dropped) == (1, 1)
    assert lines[-1]["event"] == "webhook_given_up"


async def test_waits_have_an_end() -> None:
    receiver = Receiver(*[500] * 99)
    async with running(receiver, attempts=100) as target:
        target.offer(told(1))
        await target.wait_idle()
    assert len(receiver.waited) == 99
    assert 30 <= max(receiver.waited) <= 60


async def test_a_receiver_is_left_alone_for_as_long_as_it_asks_within_bounds() -> None:
    receiver = Receiver(Answer(429, 7.0), Answer(503, 86_400.0), Answer(503, 0.0), Answer(429, 3.0))
    async with running(receiver) as target:
        target.offer(told(1))
        target.offer(told(2))
        await target.wait_idle()
    assert [number for number, _ in receiver.got] == [1, 1, 1, 1, 1, 2]
    asked, too_long, nothing, less_than_ours = receiver.waited
    assert asked == 7.0
    assert too_long == LONGEST_ASKED_S
    assert 2 <= nothing <= 4
    assert 4 <= less_than_ours <= 8


async def test_a_target_that_hangs_holds_a_bounded_number() -> None:
    receiver = Receiver()
    receiver.hangs.clear()
    async with running(receiver, queue=10) as target:
        target.offer(told(0))
        await asyncio.sleep(0)  # the first one is under way
        for number in range(1, 10_001):
            target.offer(told(number))
        assert target.stats().waiting == 11
        assert target.stats().dropped == 9990
        receiver.hangs.set()
        await target.wait_idle()
        assert [number for number, _ in receiver.got] == [0, *range(9991, 10_001)]


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        ("whsec_" + base64.b64encode(KEY).decode(), KEY),
        ("plain-text", b"plain-text"),
        ("whsec_not*base64", b"whsec_not*base64"),
    ],
)
def test_keys(secret: str, key: bytes) -> None:
    assert key_of(secret) == key


def test_the_vector_of_the_specification() -> None:
    """From its own libraries' tests."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )
