"""The command line: arguments to a Config, errors to one line each and an exit code.

The options of the settings are derived from the models; none is written by hand here.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import pyforward
from pyforward.config import Loaded, Setting, load, settings, to_toml
from pyforward.errors import ConfigError, PyforwardError

app = typer.Typer(
    name="pyforward",
    help="One live WebRTC stream in, thousands of viewers per core out.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="PATH", help="TOML file with settings.")
]
ReadyFile = Annotated[
    Path | None,
    typer.Option(
        "--ready-file", metavar="PATH", help="Write URL, media addresses and pid here once ready."
    ),
]
PrintConfig = Annotated[
    bool, typer.Option("--print-config", help="Print the effective configuration and end.")
]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command ``pyforward``; ends the process."""
    app(args=_switches(sys.argv[1:] if arguments is None else arguments), prog_name="pyforward")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"pyforward {pyforward.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """One live WebRTC stream in, thousands of viewers per core out."""


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
        typer.echo(f"pyforward: open {url}/ in a browser; Ctrl-C stops it")

    return serve(loaded.config, ready_file=ready_file, demo=demo, on_ready=tell if demo else None)


Url = Annotated[str, typer.Argument(metavar="URL", help="The server's WHIP or WHEP address.")]
Duration = Annotated[
    float | None, typer.Option("--duration", metavar="SECONDS", min=0, help="End after so long.")
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token", metavar="TOKEN", envvar="PYFORWARD_TOKEN", help="Bearer token of the server."
    ),
]
Header = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="'NAME: VALUE'", help="With each request."),
]
CaFile = Annotated[
    Path | None, typer.Option("--ca-file", metavar="PATH", help="PEM file of authorities to trust.")
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Trust whatever certificate the server has.")
]
Patience = Annotated[
    float,
    typer.Option(
        "--patience", metavar="SECONDS", min=0, help="Wait so long for a stream to begin."
    ),
]


def _watch(
    loaded: Loaded,
    url: Url,
    count: Annotated[int, typer.Option("--count", min=1, help="How many viewers.")] = 1,
    duration: Duration = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON at the end.")] = False,
    token: Token = None,
    header: Header = None,
    ca_file: CaFile = None,
    insecure: Insecure = False,
    patience: Patience = 30.0,
) -> int:
    """Watch a stream of any WHEP server, with one viewer or many."""
    from pyforward.client import Target, run

    target = Target(url, token, _headers(header), ca_file, insecure, patience)
    return run.watch(
        loaded.config, target, count=count, duration_s=duration, as_json=as_json, say=_say
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
    token: Token = None,
    header: Header = None,
    ca_file: CaFile = None,
    insecure: Insecure = False,
    patience: Patience = 30.0,
) -> int:
    """Publish a media file, as it is, to any WHIP server."""
    from pyforward.client import Target, run
    from pyforward.media import open_source

    target = Target(url, token, _headers(header), ca_file, insecure, patience)
    return run.publish(
        loaded.config,
        target,
        open_source(source, loop=loop),
        bursty=bursty,
        duration_s=duration,
        say=_say,
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
    return top(server, stream=stream, once=once, as_json=as_json, say=typer.echo)


def _say(message: str, /, *, err: bool = False) -> None:
    typer.echo(message, err=err)


def _headers(lines: list[str] | None) -> dict[str, str]:
    headers = {}
    for line in lines or []:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ConfigError(f"--header {line!r}: write it as 'Name: value'.")
        headers[name.strip()] = value.strip()
    return headers


# Options derived from the settings ---------------------------------------------------------------


# The settings that mean something to a process which serves nobody.
_CLIENT_SECTIONS = ("ice", "dtls", "engine", "log")


def _command(
    body: Callable[..., int], sections: Sequence[str] | None = None
) -> Callable[..., None]:
    """The body as a command with ``--config`` and every setting of these sections, or of all,
    beside its own options."""
    ours = [s for s in settings() if sections is None or s.section in sections]
    names = {f"{s.section}_{s.key}": s.name for s in ours}

    def command(config: Path | None, **options: Any) -> None:
        asked = {name: options.pop(parameter) for parameter, name in names.items()}
        flags = {name: text for name, text in asked.items() if text is not None}
        try:
            code = body(load(file=config, flags=flags), **options)
        except PyforwardError as error:
            for line in str(error).splitlines():
                typer.echo(f"pyforward: {line}", err=True)
            code = error.exit_code
        raise typer.Exit(code)

    own = list(inspect.signature(body, eval_str=True).parameters.values())[1:]
    parameters = [
        _parameter("config", ConfigFile, None),
        *(_parameter(p.name, p.annotation, p.default) for p in own),
        *(_parameter(f"{s.section}_{s.key}", _option(s), None) for s in ours),
    ]
    # Typer reads a command's options from these two.
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = body.__doc__
    return command


def _parameter(name: str, annotation: object, default: object) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _option(setting: Setting) -> object:
    notes = [setting.unit] if setting.unit else []
    if not setting.secret and setting.default not in ("", ()):
        shown = str(setting.default)
        notes.append(f"default {shown.lower() if setting.boolean else shown}")
    return Annotated[
        str | None,
        typer.Option(
            setting.flag,
            help=f"{setting.meaning} ({', '.join(notes)})" if notes else setting.meaning,
            metavar=setting.kind.upper().replace(" OR ", "|").replace(" ", "-"),
            rich_help_panel=setting.section,
        ),
    ]


def _switches(arguments: Sequence[str]) -> list[str]:
    """``--engine-gso`` alone means true and ``--no-engine-gso`` false: written out, so that
    switches are settings like all others."""
    flags = {s.flag for s in settings() if s.boolean}
    written: list[str] = []
    for index, argument in enumerate(arguments):
        following = arguments[index + 1] if index + 1 < len(arguments) else "--"
        if argument in flags and following.startswith("--"):
            written.append(f"{argument}=true")
        elif argument.startswith("--no-") and f"--{argument[5:]}" in flags:
            written.append(f"--{argument[5:]}=false")
        else:
            written.append(argument)
    return written


app.command("serve")(_command(_serve))
app.command("demo")(_command(_demo))
app.command("watch")(_command(_watch, sections=_CLIENT_SECTIONS))
app.command("publish")(_command(_publish, sections=_CLIENT_SECTIONS))
app.command("top")(_command(_top, sections=()))
