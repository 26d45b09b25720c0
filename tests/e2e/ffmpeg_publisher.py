"""FFmpeg as a publisher: its own WHIP muxer, as PyAV brings it, in a process of its own.

A file goes out as it is and by the clock, as ``ffmpeg -re -i FILE -c copy -f whip URL`` sends it::

    python -m tests.e2e.ffmpeg_publisher film.mp4 http://127.0.0.1:8080/whip/live --active

It prints ``publishing`` once the muxer is connected, a JSON object of :class:`Counts` for each line
on its standard input, and one more when the file is at its end and the session was deleted.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from json import dumps
from pathlib import Path

import av
from av import logging

MUXER = "whip"
LATE_S = 0.1


@dataclass(slots=True)
class Counts:
    """What was sent. ``halts`` are the times that this process came late by itself."""

    frames: int = 0
    sounds: int = 0
    halts: int = 0


def publish(path: Path, url: str, options: dict[str, str], counts: Counts) -> None:
    """From the first packet to the last, each at its time."""
    with av.open(str(path)) as file, av.open(url, "w", format=MUXER, options=options) as out:
        streams = {one.index: out.add_stream_from_template(one) for one in file.streams}
        out.start_encoding()  # writes the header: everything up to the keys
        _say("publishing")
        begun = time.monotonic()
        late = False
        for packet in file.demux():
            if packet.dts is None or packet.time_base is None:
                continue  # the end of a stream
            ahead_s = begun + float(packet.dts * packet.time_base) - time.monotonic()
            time.sleep(max(ahead_s, 0))
            was, late = late, ahead_s < -LATE_S
            counts.halts += late and not was
            if packet.stream.type == "video":
                counts.frames += 1
            else:
                counts.sounds += 1
            packet.stream = streams[packet.stream.index]
            out.mux(packet)


def main(arguments: Sequence[str] | None = None) -> None:
    """As a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("url")
    parser.add_argument("--token", default="")
    parser.add_argument("--certificate", default="", help="PEM; otherwise FFmpeg makes one")
    parser.add_argument("--key", default="")
    parser.add_argument("--active", action="store_true", help="be the client of DTLS")
    asked = parser.parse_args(arguments)
    given = {
        "authorization": asked.token,
        "cert_file": asked.certificate,
        "key_file": asked.key,
        "whip_flags": "dtls_active" if asked.active else "",
    }
    logging.set_libav_level(logging.WARNING)
    counts = Counts()
    threading.Thread(target=_tell_when_asked, args=(counts,), daemon=True).start()
    publish(asked.file, asked.url, {name: text for name, text in given.items() if text}, counts)
    _tell(counts)


def _tell_when_asked(counts: Counts) -> None:
    for _ in sys.stdin:
        _tell(counts)


def _tell(counts: Counts) -> None:
    _say(dumps(dataclasses.asdict(counts)))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
