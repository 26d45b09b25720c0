"""The native module by itself: what it takes, what it refuses and in which words, its SRTP."""

from __future__ import annotations

import errno
import os
import select
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pyforward.commands import (
    AddSession,
    AddStream,
    Command,
    Format,
    IceCredentials,
    InjectRtp,
    InstallKeys,
    KeepFarewell,
    Link,
    Publish,
    PublishTrack,
    RemoteCandidate,
    RemoveSession,
    RemoveStream,
    ReportSessions,
    RestartIce,
    SendDtls,
    Stop,
    Subscribe,
    SubscribeTrack,
    Trial,
)
from pyforward.ids import NOWHERE, SessionId, StreamId

native = pytest.importorskip("pyforward._native", reason="the native module is not built")

ICE = IceCredentials("00ab", "p" * 22, "peer", "q" * 22)
VIDEO = PublishTrack(
    kind="video",
    mid="0",
    codec="h264",
    payload_type=96,
    rtx_payload_type=97,
    clock_rate=90_000,
    ssrcs=(1, 0xFFFF_FFFF),
    rtx_ssrcs=((1, 2),),
    rids=("q", "h"),
    extensions=((1, "mid"), (255, "abs_capture_time")),
    feedback_ssrc=7,
    nack=True,
    pli=True,
    fir=False,
    reduced_size=True,
    transport_cc=True,
    remb=False,
    parameter_sets=(b"\x67\x42",),
)
AUDIO = SubscribeTrack(
    kind="audio",
    mid="1",
    clock_rate=48_000,
    ssrc=9,
    rtx_ssrc=None,
    formats=(Format("opus", 111),),
    extensions=(),
    extmap_allow_mixed=False,
    nack=False,
    rrtr=True,
)
PUBLISHER = AddSession(SessionId(2**63 - 1), ICE, Publish(StreamId(1), (VIDEO,)))
VIEWER = AddSession(SessionId(2), None, Subscribe(StreamId(1), (AUDIO,), "cname"))
MEASURING = AddSession(
    SessionId(3),
    ICE,
    Publish(NOWHERE, (VIDEO,)),
    (RemoteCandidate("127.0.0.1", 9, 1),),
    Trial(7, Link(0.05, 3.0, 20_000, 5_000, 0.01, 2**32 - 1), Link(), 100),
)
KEYS = InstallKeys(
    SessionId(1), "SRTP_AEAD_AES_128_GCM", b"k" * 16, b"s" * 12, b"k" * 16, b"s" * 12
)
EVERY_COMMAND: tuple[Command, ...] = (
    AddStream(StreamId(1)),
    PUBLISHER,
    VIEWER,
    MEASURING,
    RestartIce(SessionId(1), replace(ICE, local_ufrag="00cd")),
    SendDtls(SessionId(1), (b"\x16", b"\x17")),
    KEYS,
    KeepFarewell(SessionId(1), b"\x15"),
    InjectRtp(SessionId(1), (b"\x80" + bytes(11),)),
    InjectRtp(SessionId(1), (b"\x80" + bytes(40),), stamped=True),
    ReportSessions(5, (SessionId(1),)),
    RemoveSession(SessionId(1), "deleted"),
    RemoveStream(StreamId(1)),
    Stop(),
)


ARGUMENTS: dict[str, Any] = {
    "addresses": ["127.0.0.1"],
    "port": 0,
    "shards": 2,
    "gso": True,
    "train_packets": 16,
    "padding": True,
    "sendmmsg": True,
    "recvmmsg": True,
    "riders": True,
    "slice_us": 250,
    "short_turns": True,
    "frame_window_us": 4_000,
    "idle_window_us": 4_000,
    "shed_after_us": 200_000,
    "keyframe_interval_ms": 500,
    "silence_ms": 15_000,
    "publisher_bitrate_bps": 20_000_000,
    "max_events": 1_000,
    "source_address": None,
    "pace_bytes_per_second": 0,
    "repeats": True,
    "cores": [],
}


def start(**changed: Any) -> Any:
    return native.Engine(**(ARGUMENTS | changed))


@pytest.fixture
def engine() -> Any:
    engine = start()
    yield engine
    engine.stop()


def test_a_stream_is_told_in_the_words_that_are_announced(engine: Any) -> None:
    engine.submit([AddStream(StreamId(7))])
    until = time.monotonic() + 10
    while not (told := engine.streams()):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert [len(words) for words in told] == [len(native.STREAM_FIGURES)] * len(told)
    assert {words[native.STREAM_FIGURES.index("stream")] for words in told} == {7}
    assert [name for name, _, _ in engine.queues()] == ["events", "commands", "exchanges"]
    assert engine.exemplars() == []


def test_the_words_are_those_that_are_announced(engine: Any) -> None:
    announced = len(native.COUNTERS) + len(native.DISCARDS)
    for bounds in (
        native.TRAIN_BOUNDS,
        native.LATENCY_BOUNDS_US,
        native.TURN_BOUNDS_US,
        native.FAN_OUT_BOUNDS_US,
        native.LOSS_BOUNDS_10000THS,
        native.JITTER_BOUNDS_US,
        native.ROUND_TRIP_BOUNDS_US,
        *[native.STAGE_BOUNDS_US] * len(native.STAGES),
    ):
        announced += len(bounds) + 2
    assert [len(words) for words in engine.stats()] == [announced] * 2


def test_every_command_is_read(engine: Any) -> None:
    assert {type(command).__name__ for command in EVERY_COMMAND} == set(native.COMMANDS)
    engine.submit(EVERY_COMMAND)
    engine.submit(list(EVERY_COMMAND))


@pytest.mark.parametrize(
    ("command", "error", "sentence"),
    [
        ("Stop", TypeError, "str is no command"),
        (ICE, TypeError, "IceCredentials is no command"),
        (AddStream(StreamId(-1)), ValueError, "AddStream.stream must be from 0 to"),
        (AddStream("demo"), TypeError, "AddStream.stream must be an int, not str"),  # type: ignore[arg-type]
        (SendDtls(SessionId(1), (b"", "x")), TypeError, r"SendDtls.datagrams\[1\] must be bytes"),  # type: ignore[arg-type]
        (SendDtls(SessionId(1), b"xy"), TypeError, "SendDtls.datagrams must be a tuple, not bytes"),  # type: ignore[arg-type]
        (replace(KEYS, local_salt=b"s" * 14), ValueError, "InstallKeys .*salt of 12"),
        (
            replace(MEASURING, trial=Trial(1, Link(loss=float("nan")))),
            ValueError,
            "AddSession.trial.inbound.loss must be finite",
        ),
        (replace(KEYS, profile="NULL"), ValueError, "InstallKeys.profile must be one of SRTP_"),  # type: ignore[arg-type]
        (replace(PUBLISHER, media=ICE), TypeError, "AddSession.media must be Publish or Subscribe"),  # type: ignore[arg-type]
        (replace(PUBLISHER, ice="x"), TypeError, "AddSession.ice must be IceCredentials, not str"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_command_is_named_with_its_field(
    engine: Any, command: Any, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        engine.submit([command])


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"codec": "vp10"}, r"codec must be one of vp8, .*, not 'vp10'"),
        ({"payload_type": 128}, r"payload_type must be from 0 to 127, not 128"),
        ({"extensions": ((0, "mid"),)}, r"extensions\[0\]\[0\] must be from 1 to 255, not 0"),
        ({"rtx_ssrcs": ((1, 2), (1,))}, r"rtx_ssrcs\[1\] must be a pair, not tuple"),
        ({"ssrcs": (2**32,)}, r"ssrcs\[0\] must be from 0 to 4294967295, not 4294967296"),
        ({"nack": None}, r"nack must be a bool, not NoneType"),
    ],
)
def test_a_wrong_track_is_named_by_its_place(
    engine: Any, changed: dict[str, Any], sentence: str
) -> None:
    wrong = replace(PUBLISHER, media=Publish(StreamId(1), (VIDEO, replace(VIDEO, **changed))))
    with pytest.raises(
        (TypeError, ValueError), match=r"AddSession\.media\.tracks\[1\]\." + sentence
    ):
        engine.submit([wrong])


def test_one_wrong_command_keeps_the_others_back(engine: Any) -> None:
    with pytest.raises(TypeError, match="str is no command"):
        engine.submit([Stop(), "wrong"])
    assert engine.take_events(10) == []


def test_each_shard_tells_that_it_has_stopped(engine: Any) -> None:
    engine.submit([Stop()])
    told: list[tuple[str, tuple[object, ...]]] = []
    while len(told) < 2:
        readable, _, _ = select.select([engine.event_fd()], [], [], 10)
        assert readable, "in vain"
        told += engine.take_events(1)
    assert sorted(told) == [("Stopped", (0,)), ("Stopped", (1,))]
    engine.stop()
    with pytest.raises(RuntimeError, match="stopped"):
        engine.submit([Stop()])


def test_the_port_is_one_engines_and_the_next_is_told_whose(engine: Any) -> None:
    ((address, port),) = engine.addresses()
    assert address == "127.0.0.1"
    script = textwrap.dedent(f"""
        import sys
        from pyforward import _native
        try:
            _native.Engine(**{ARGUMENTS | {"port": port}})
        except OSError as error:
            print(error.errno, error.strerror)
    """)
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    number, _, sentence = run.stdout.strip().partition(" ")
    assert int(number) == errno.EADDRINUSE
    assert sentence == f"UDP port {port} is held by another pyforward, process {os.getpid()}"


def test_a_shard_that_fails_ends_the_process_and_says_why() -> None:
    # Its sockets become another file, which can always be read, but not as a socket.
    script = textwrap.dedent(f"""
        import os, time
        from pyforward import _native, commands
        engine = _native.Engine(**{ARGUMENTS | {"shards": 1}})
        for name in os.listdir("/proc/self/fd"):
            path = "/proc/self/fd/" + name
            if os.path.exists(path) and os.readlink(path).startswith("socket:"):
                os.dup2(os.open("/dev/null", os.O_RDONLY), int(name))
        engine.submit([commands.AddStream(1)])
        time.sleep(30)
    """)
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 1
    assert run.stderr.startswith("pyforward: shard 0 failed: Socket operation"), run.stderr


def shards_run_on() -> list[set[int]]:
    """The cores of each shard's thread, of the engines that run now."""
    cores = []
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().startswith("shard-"):
            cores.append(os.sched_getaffinity(int(task.name)))
    return cores


def test_shards_run_on_the_cores_that_they_are_given_in_turn() -> None:
    ours = os.sched_getaffinity(0)
    given = sorted(ours)[:2]
    engine = start(shards=3, cores=given)
    try:
        until = time.monotonic() + 10
        wanted = [{given[shard % len(given)]} for shard in range(3)]
        while sorted(shards_run_on(), key=min) != sorted(wanted, key=min):
            assert time.monotonic() < until, shards_run_on()
            time.sleep(0.01)
        assert os.sched_getaffinity(0) == ours, "the thread that starts them is free"
    finally:
        engine.stop()


def test_a_core_that_is_not_ours_stops_the_start() -> None:
    with pytest.raises(OSError, match=r"engine.cores has core 1023, .* may run on [0-9]") as caught:
        start(cores=[1023])
    assert caught.value.errno == errno.EINVAL
    assert shards_run_on() == []


def test_wrong_addresses_are_named() -> None:
    with pytest.raises(ValueError, match="'localhost' is no IP address"):
        start(addresses=["localhost"])
    with pytest.raises(OSError, match=r"192\.0\.2\.1 is no address of this host"):
        start(addresses=["192.0.2.1"])


PACKET = bytes([0x80, 0x60, 0x12, 0x34]) + bytes(4) + b"ssrc" + b"payload"
LENGTHS = {
    "SRTP_AEAD_AES_128_GCM": (16, 12),
    "SRTP_AEAD_AES_256_GCM": (32, 12),
    "SRTP_AES128_CM_SHA1_80": (16, 14),
}


@pytest.mark.parametrize("profile", LENGTHS)
def test_srtp_comes_back_and_only_once(profile: str) -> None:
    key, salt = LENGTHS[profile]
    srtp = native.Srtp(profile, bytes(range(key)), bytes(range(salt)), 64)
    index = 0x1234
    sealed = srtp.protect(index, PACKET)
    assert sealed[:12] == PACKET[:12]
    assert PACKET[12:] not in sealed
    assert srtp.unprotect(sealed) == (index, PACKET)
    with pytest.raises(ValueError, match="srtp_replay"):
        srtp.unprotect(sealed)
    forged = sealed[:2] + b"\x12\x35" + sealed[4:]
    with pytest.raises(ValueError, match="srtp_auth"):
        srtp.unprotect(forged)

    compound = b"\x80\xc9\x00\x01ssrc"
    assert srtp.unprotect_rtcp(srtp.protect_rtcp(compound)) == compound


def test_srtp_says_what_will_not_do() -> None:
    with pytest.raises(ValueError, match="'NULL' is no SRTP profile"):
        native.Srtp("NULL", b"", b"", 64)
    with pytest.raises(ValueError, match="salt of 12"):
        native.Srtp("SRTP_AEAD_AES_128_GCM", bytes(16), bytes(3), 64)
    srtp = native.Srtp("SRTP_AEAD_AES_128_GCM", bytes(16), bytes(12), 64)
    with pytest.raises(ValueError, match="index 1 is not of sequence number 4660"):
        srtp.protect(1, PACKET)
    with pytest.raises(ValueError, match="rtp_short"):
        srtp.unprotect(b"\x80")
    with pytest.raises(ValueError, match="rtcp_malformed"):
        srtp.unprotect_rtcp(b"\x80\xc9")
