"""The command ``pyforward-bench``: arguments to a measurement, errors to one line each and an exit
code."""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from yarl import URL

from pyforward import options
from pyforward.config import Loaded
from pyforward.config.models import MASK, split_bind
from pyforward.errors import HostError
from pyforward.options import Access, AsJson, Duration
from pyforward_bench import compare, guard, joins, load, loss, publish, traces
from pyforward_bench.measuring import PROGRAM, Output
from pyforward_bench.rig import command as rig

app = options.application(
    PROGRAM, "Capacity, latency and repair of WHIP and WHEP servers, measured from outside."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command ``pyforward-bench``; ends the process."""
    asked = options.arguments(arguments)
    _asked.set(tuple(asked))
    options.start(app, PROGRAM, asked)


# What arguments are written as -------------------------------------------------------------------
# Typer may hand them an option's default, too, which is a number already.


def share(given: str | float) -> float:
    """``5%`` or ``0.05``; ValueError for what is neither."""
    text = str(given)
    value = _number(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= value <= 1:
        raise ValueError(f"{text} is no share: write it as 5% or 0.05")
    return value


def milliseconds(given: str | float) -> float:
    """``40ms`` or ``40``, from 0 to 10,000."""
    value = _number(str(given).removesuffix("ms"))
    if not 0 <= value <= 10_000:
        raise ValueError(f"{given} is no time from 0 to 10,000 ms: write it as 40ms")
    return value


def a_second(given: str | float) -> float:
    """``300/s`` or ``300``, above 0."""
    value = _number(str(given).removesuffix("/s"))
    if not 0 < value <= 1e6:
        raise ValueError(f"{given} is no rate above 0: write it as 300/s")
    return value


def burst(given: str | float) -> float:
    """The mean length of a run, at least 1."""
    value = _number(str(given))
    if not 1 <= value <= 1e3:
        raise ValueError(f"{given} is no mean length from 1 to 1,000")
    return value


def without_secrets(arguments: Sequence[str]) -> tuple[str, ...]:
    """The arguments as they may stand in a file that is shown around: what is sent to a server is
    masked, and of addresses the origin is left, because paths and queries are often secrets."""
    shown: list[str] = []
    before = ""
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if before in _SECRET:
            shown.append(MASK)
        elif name in _SECRET and equals:
            shown.append(f"{name}={MASK}")
        else:
            shown.append(_without_path(argument))
        before = argument
    return tuple(shown)


Whep = Annotated[str, typer.Argument(metavar="URL", help="The server's WHEP address.")]
Viewers = Annotated[int, typer.Option("--viewers", metavar="N", min=1, help="How many viewers.")]
Rate = Annotated[
    float,
    typer.Option("--rate", metavar="R/s", parser=a_second, help="Joins a second, as 300/s."),
]
Ramp = Annotated[
    float | None,
    typer.Option(
        "--ramp",
        metavar="R/s",
        parser=a_second,
        help="Joins a second; without it they come as fast as they can.",
    ),
]
Allowed = Annotated[
    bool,
    typer.Option(guard.OPTION, help="The target is not this machine, and may be loaded."),
]
Metrics = Annotated[
    Any,
    typer.Option(
        "--metrics",
        metavar="ADDRESS:PORT",
        parser=split_bind,
        help="Answer Prometheus there while it runs, for the board Load test.",
    ),
]
ResultsFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="PATH",
        help="Where the results go; by default a new file in bench/results.",
    ),
]


@dataclass(frozen=True)
class Saved:
    """Where the results of a command go."""

    output: ResultsFile = None
    as_json: AsJson = False

    def to(self) -> Output:
        """The same, with what was asked for."""
        return Output(without_secrets(_asked.get()), options.say, self.output, self.as_json)


# Commands ----------------------------------------------------------------------------------------


def _load(
    loaded: Loaded,
    url: Whep,
    viewers: Viewers,
    ramp: Ramp = None,
    duration: Duration = None,
    probes: Annotated[
        int | None,
        typer.Option(
            "--probes",
            metavar="P",
            min=0,
            help=f"Viewers checked packet by packet (default {load.DEFAULT_PROBES}, or all).",
        ),
    ] = None,
    allowed: Allowed = False,
    metrics: Metrics = None,
    *,
    saved: Saved,
    access: Access,
) -> int:
    """Load any WHEP server with viewers, and check what they receive."""
    asked = load.Options(viewers, ramp, duration, probes, allowed, metrics)
    return load.run(loaded.config, access.target(url), asked, saved.to())


def _joins(
    loaded: Loaded,
    url: Whep,
    rate: Rate,
    count: Annotated[int, typer.Option("--count", metavar="N", min=1, help="How many joins.")],
    hold: Annotated[
        float,
        typer.Option(
            "--hold", metavar="SECONDS", min=0, help="Each stays so long after its keyframe."
        ),
    ] = 0.0,
    probes: Annotated[
        int,
        typer.Option(
            "--probes", metavar="P", min=0, help="Viewers that watch before and during the storm."
        ),
    ] = joins.DEFAULT_PROBES,
    allowed: Allowed = False,
    metrics: Metrics = None,
    *,
    saved: Saved,
    access: Access,
) -> int:
    """A storm of joins at any WHEP server: how long each stage takes, and what others feel."""
    asked = joins.Options(rate, count, hold, probes, allowed, metrics)
    return joins.run(loaded.config, access.target(url), asked, saved.to())


def _loss(
    loaded: Loaded,
    url: Whep,
    lost: Annotated[
        float,
        typer.Option(
            "--loss", metavar="SHARE", parser=share, help="Datagrams lost each way, as 5%."
        ),
    ],
    run_length: Annotated[
        float,
        typer.Option("--burst", metavar="N", parser=burst, help="Mean length of a run of losses."),
    ] = 1.0,
    rtt: Annotated[
        float,
        typer.Option(
            "--rtt", metavar="MS", parser=milliseconds, help="Round trip that is added, as 40ms."
        ),
    ] = 0.0,
    jitter: Annotated[
        float,
        typer.Option(
            "--jitter", metavar="MS", parser=milliseconds, help="At most so much more, each way."
        ),
    ] = 0.0,
    reorder: Annotated[
        float,
        typer.Option(
            "--reorder", metavar="SHARE", parser=share, help="Datagrams overtaken, as 1%."
        ),
    ] = 0.0,
    viewers: Viewers = loss.DEFAULT_VIEWERS,
    duration: Annotated[
        float, typer.Option("--duration", metavar="SECONDS", min=0, help="Watch so long.")
    ] = loss.DEFAULT_DURATION_S,
    audio: Annotated[
        bool, typer.Option("--audio", help="Audio too, of which nothing can be repaired.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the dice.")] = 1,
    allowed: Allowed = False,
    *,
    saved: Saved,
    access: Access,
) -> int:
    """Viewers on a bad way at any WHEP server: what is repaired, how soon, and what that costs."""
    asked = loss.Options(
        lost, run_length, rtt, jitter, reorder, viewers, duration, audio, seed, allowed
    )
    return loss.run(loaded.config, access.target(url), asked, saved.to())


_PUBLISH: Final = publish.Options()


def _publish(
    loaded: Loaded,
    url: Annotated[str, typer.Argument(metavar="URL", help="The server's WHIP address.")],
    trace: Annotated[
        Path | None,
        typer.Option("--trace", metavar="FILE", help="A packet trace: CSV, or rtpdump."),
    ] = None,
    profile: Annotated[
        str,
        typer.Option("--profile", metavar="|".join(traces.PROFILES), help="A trace from here."),
    ] = _PUBLISH.profile,
    bitrate: Annotated[
        float | None,
        typer.Option(
            "--bitrate",
            metavar="KBIT/S",
            help="Video made on the fly, of this rate, without a trace.",
        ),
    ] = None,
    fps: Annotated[
        float, typer.Option("--fps", metavar="N", help="With --bitrate: frames a second.")
    ] = _PUBLISH.fps,
    video_only: Annotated[
        bool, typer.Option("--video-only", help="Without the trace's sound.")
    ] = False,
    paced: Annotated[
        bool,
        typer.Option(
            "--paced/--bursty", help="Spread each frame as libwebrtc does, or send it at once."
        ),
    ] = False,
    rate: Annotated[
        float, typer.Option("--rate", metavar="X", help="Play it so many times as fast.")
    ] = _PUBLISH.rate,
    duration: Duration = None,
    allowed: Allowed = False,
    *,
    saved: Saved,
    access: Access,
) -> int:
    """Publish a packet trace to any WHIP server, each payload with its time and a checksum."""
    asked = publish.Options(
        trace=trace,
        profile=profile,
        bitrate_kbps=bitrate,
        fps=fps,
        video_only=video_only,
        paced=paced,
        rate=rate,
        duration_s=duration,
        allowed=allowed,
    )
    return publish.run(loaded.config, access.target(url), asked, saved.to())


def _rig(
    loaded: Loaded,
    rows: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ROW …]", help="Such as r01; all of them without any."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few viewers and short rounds: minutes in all.")
    ] = False,
    rounds: Annotated[
        int | None, typer.Option("--rounds", metavar="N", min=1, help="Of each row.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="S", min=0.5, help="Of each round.")
    ] = None,
    output: ResultsFile = None,
    ceiling: Annotated[
        Path | None,
        typer.Option(
            "--ceiling", metavar="PATH", help="The program pyforward-ceiling, not to be built."
        ),
    ] = None,
    loopback: Annotated[
        bool, typer.Option("--loopback", help="Try for no network namespaces.")
    ] = False,
    ipv6: Annotated[bool, typer.Option("--ipv6", help="Let everything go by IPv6.")] = False,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            "--peer",
            metavar="NAME=PROGRAM",
            help="One more forwarder of the row peers; {host} is where it is to serve.",
        ),
    ] = None,
) -> int:
    """Measure the rows of the table on this machine, server on one core, harness on another."""
    asked = rig.Options(
        rows=tuple(rows or ()),
        quick=quick,
        rounds=rounds,
        seconds=seconds,
        output=output,
        ceiling=ceiling,
        loopback=loopback,
        ipv6=ipv6,
        peers=tuple(peer or ()),
        argv=without_secrets(_asked.get()),
    )
    return rig.run(loaded.config, asked, options.say)


def _compare(
    loaded: Loaded,
    first: Annotated[Path, typer.Argument(metavar="FILE", help="Results of a run.")],
    second: Annotated[Path, typer.Argument(metavar="FILE", help="Those of another one.")],
) -> int:
    """Say whether two results agree within their ranges."""
    return compare.run(first, second, options.say)


# Private -----------------------------------------------------------------------------------------


def _number(text: str) -> float:
    """NaN for what is none, which is in no range."""
    try:
        return float(text)
    except ValueError:
        return math.nan


_SECRET: Final = frozenset(("--token", "--header"))

# Typer's context is not click's in every version of it.
_asked: ContextVar[tuple[str, ...]] = ContextVar("asked", default=())


def _without_path(argument: str) -> str:
    name, equals, value = (
        argument.partition("=") if argument.startswith("-") else ("", "", argument)
    )
    if "://" not in value:
        return argument
    try:
        return f"{name}{equals}{URL(value).origin()}/…"
    except ValueError:
        return f"{name}{equals}{MASK}"


def _command(body: Callable[..., int]) -> Callable[..., None]:
    """The body as a command that says so where the extra is missing."""

    @functools.wraps(body)
    def checked(*arguments: Any, **named: Any) -> int:
        if importlib.util.find_spec("pylibsrtp") is None:
            raise HostError("needs pylibsrtp: pip install 'pyforward[bench]'")
        return body(*arguments, **named)

    return options.command(checked, PROGRAM, options.CLIENT_SECTIONS)


app.command("load")(_command(_load))
app.command("joins")(_command(_joins))
app.command("loss")(_command(_loss))
app.command("publish")(_command(_publish))
app.command("rig")(_command(_rig))
app.command("compare")(options.command(_compare, PROGRAM, ()))
