"""The baseline forwarder as a process: packets in at one socket, out to others under their keys."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

from pylibsrtp import Policy, Session

from pyforward_bench.baseline import key_of
from tests.e2e.server import ROOT

PACKETS = 20


def test_packets_in_and_out() -> None:
    with bound("127.0.0.2") as first, bound("127.0.0.3", first.getsockname()[1]) as second:
        port = first.getsockname()[1]
        with forwarding("--to", f"127.0.0.2:{port}", "--count=2") as (process, address):
            assert process.stdout is not None
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as publisher:
                for sequence in range(PACKETS):
                    publisher.sendto(packet(sequence), address)
            for number, sink in enumerate((first, second)):
                policy = Policy(
                    key_of(number),
                    Policy.SSRC_ANY_INBOUND,
                    srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
                )
                opener = Session(policy)
                got = [opener.unprotect(sink.recv(2048)) for _ in range(PACKETS)]
                assert got == [packet(sequence) for sequence in range(PACKETS)]
            process.send_signal(signal.SIGTERM)
            told = json.loads(process.stdout.readline())
            assert process.wait(10) == 0
    assert (told["received"], told["sent"], told["dropped"]) == (PACKETS, 2 * PACKETS, 0)
    assert told["cpu_s"] > 0


def test_it_can_be_ended_at_once() -> None:
    with forwarding("--to=127.0.0.2:9") as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def bound(host: str, port: int = 0) -> socket.socket:
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.settimeout(10)
    sink.bind((host, port))
    return sink


def packet(sequence: int) -> bytes:
    return bytes((0x80, 96)) + sequence.to_bytes(2, "big") + bytes(8) + b"payload" * 100


@contextlib.contextmanager
def forwarding(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], tuple[str, int]]]:
    """A process, and where it listens."""
    path = f"{ROOT}:{ROOT / 'bench'}"
    program = [sys.executable, "-m", "pyforward_bench.baseline", *arguments]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": path}
    ) as process:
        try:
            assert process.stdout is not None
            host, port = json.loads(process.stdout.readline())["listen"]
            yield process, (host, port)
        finally:
            process.kill()
