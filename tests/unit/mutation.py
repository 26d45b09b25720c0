"""Seeded mutation of texts and bytes. A test runs for a fraction of a second;
``PYFORWARD_FUZZ_SECONDS`` prolongs it. The seed is fixed, so a failure comes again."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

SECONDS = float(os.environ.get("PYFORWARD_FUZZ_SECONDS", "0.5"))
SEED = int(os.environ.get("PYFORWARD_FUZZ_SEED", "20261123"))

CORPORA = Path(__file__).parents[1] / "vectors" / "fuzz-corpus"

_NUMBERS = (b"0", b"-1", b"65536", b"4294967296", b"9" * 5000, b"\xd9\xa3", b"1_0", b"")
_PIECES = (b"\r\n", b"\n", b" ", b":", b"=", b"/", b";", b",", b"\x00", b"\xff", "ſ".encode())


def corpus(parser: str) -> list[bytes]:
    """What was hard for this parser once, or lies at an edge."""
    files = sorted((CORPORA / parser).iterdir())
    assert files
    return [file.read_bytes() for file in files]


def mutations(seeds: Sequence[bytes]) -> Iterator[bytes]:
    """The seeds, then endlessly changed copies of them until the time is over; at least 1,000, so
    that a busy machine shows what they find as well."""
    yield from seeds
    source = random.Random(SEED)
    end = time.monotonic() + SECONDS
    count = 0
    while count < 1_000 or time.monotonic() < end:
        data = bytearray(source.choice(seeds))
        for _ in range(source.randint(1, 4)):
            _mutate(data, source, seeds)
        count += 1
        yield bytes(data)


def _mutate(data: bytearray, source: random.Random, seeds: Sequence[bytes]) -> None:
    if not data:
        data += source.choice(seeds)
    start = source.randrange(len(data))
    end = min(len(data), start + source.randint(1, 40))
    match source.randrange(8):
        case 0:
            data[start] ^= 1 << source.randrange(8)
        case 1:
            del data[start:end]
        case 2:
            data[start:start] = data[start:end] * source.randint(1, 20)
        case 3:
            del data[start:]
        case 4:
            data[start:end] = source.choice(_NUMBERS)
        case 5:
            data[start:start] = source.choice(_PIECES)
        case 6:
            other = source.choice(seeds)
            cut = source.randrange(len(other))
            data[start:] = other[cut:]
        case _:
            lines = bytes(data).split(b"\n")
            source.shuffle(lines)
            data[:] = b"\n".join(lines)
