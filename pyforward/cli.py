"""The command line: arguments to a Config, errors to one line each and an exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from pyforward import options
from pyforward.config import Loaded, to_toml
from pyforward.errors import ConfigError
from pyforward.health import READY_FILE
from pyforward.options import Access, AsJson, CaFile, Duration, Insecure, Url

PROGRAM = "pyforward"

app = options.application(PROGRAM, "One live WebRTC stream in, thousands of viewers per core out.")

ReadyFile = Annotated[
    Path | None,
    typer.Option(
        "--ready-file",
        metavar="PATH",
        envvar=READY_FILE,
        help="Write URL, media addresses and pid here once ready.",
    ),
]
PrintConfig = Annotated[
    bool, typer.Option("--print-config", help="Print the effective configuration and end.")
]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command ``pyforward``; ends the process."""
    options.start(app, PROGRAM, options.arguments(arguments))


# Commands ----------------------------------------------------------------------------------------


def _serve(loaded: Loaded, ready_file: ReadyFile = None, print_config: PrintConfig = False) -> int:
    """Run the server."""
    if print_config:
        typer.echo(to_toml(loaded.config, loaded.origins), nl=False)
        return 0
    return _run(loaded, ready_file, demo=False)


def _demo(loaded: Loaded, ready_file: ReadyFile = None) -> int:
    """Run the server with a built-in publisher on the stream "demo"."""
    return _run(loaded, ready_file, demo=True)


def _run(loaded: Loaded, ready_file: Path | None, *, demo: bool) -> int:
    # Imported late: --help, --version and --print-config need no native module and no event loop.
    from pyforward.server import serve

    def tell(url: str) -> None:
        # By itself and in bold: the log's lines are around it, and more will come.
        page = typer.style(f"{url}/", bold=True)
        typer.echo(f"\n    Open {page} in a browser. Ctrl-C stops the demo.\n")

    return serve(loaded.config, ready_file=ready_file, demo=demo, on_ready=tell if demo else None)


def _watch(
    loaded: Loaded,
    url: Url,
    count: Annotated[int, typer.Option("--count", min=1, help="How many viewers.")] = 1,
    duration: Duration = None,
    as_json: AsJson = False,
    *,
    access: Access,
) -> int:
    """Watch a stream of any WHEP server, with one viewer or many."""
    from pyforward.client import run

    return run.watch(
        loaded.config,
        access.target(url),
        count=count,
        duration_s=duration,
        as_json=as_json,
        say=options.say,
    )


def _publish(
    loaded: Loaded,
    source: Annotated[
        str, typer.Argument(metavar="FILE|test", help="A media file, or the built-in recording.")
    ],
    url: Url,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end of FILE.")] = False,
    bursty: Annotated[
        bool, typer.Option("--bursty", help="Send each frame at once instead of pacing it.")
    ] = False,
    duration: Duration = None,
    *,
    access: Access,
) -> int:
    """Publish a media file, as it is, to any WHIP server."""
    from pyforward.client import run
    from pyforward.media import open_source

    return run.publish(
        loaded.config,
        access.target(url),
        open_source(source, loop=loop),
        bursty=bursty,
        duration_s=duration,
        say=options.say,
    )


def _top(
    _loaded: Loaded,
    url: Annotated[str, typer.Argument(metavar="URL", help="The server, as https://host:8080.")],
    stream: Annotated[
        str | None, typer.Option("--stream", metavar="NAME", help="Show one stream closely.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print the figures once and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --once: print JSON.")] = False,
    token: Annotated[
        str | None,
        typer.Option(
            "--token", metavar="TOKEN", envvar="PYFORWARD_TOKEN", help="The server's admin token."
        ),
    ] = None,
    ca_file: CaFile = None,
    insecure: Insecure = False,
) -> int:
    """Show the streams, viewers and events of a server on the terminal."""
    from pyforward.top import Server, top

    if as_json and not once:
        raise ConfigError("--json goes with --once: one object, and not a screen.")
    server = Server(url, token, ca_file, insecure)
    return top(server, stream=stream, once=once, as_json=as_json, say=options.say)


def _command(
    body: Callable[..., int], sections: Sequence[str] | None = None
) -> Callable[..., None]:
    return options.command(body, PROGRAM, sections)


app.command("serve")(_command(_serve))
app.command("demo")(_command(_demo))
app.command("watch")(_command(_watch, sections=options.CLIENT_SECTIONS))
app.command("publish")(_command(_publish, sections=options.CLIENT_SECTIONS))
app.command("top")(_command(_top, sections=()))
