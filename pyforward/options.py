"""What the commands of this house have in common: options derived from the settings, those that
name a server, and one line and an exit code for each error.

The options of the settings are derived from the models; none is written by hand here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pyforward.config import Setting, load, settings
from pyforward.errors import ConfigError, PyforwardError

CLIENT_SECTIONS: Final = ("ice", "dtls", "engine", "log")
"""The settings that mean something to a process which serves nobody."""


# Options of whoever asks a server ----------------------------------------------------------------

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="PATH", help="TOML file with settings.")
]
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
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON at the end.")]


def headers(lines: Sequence[str] | None) -> dict[str, str]:
    """What ``--header`` was given. Raises ConfigError."""
    found = {}
    for line in lines or []:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ConfigError(f"--header {line!r}: write it as 'Name: value'.")
        found[name.strip()] = value.strip()
    return found


def say(message: str, /, *, err: bool = False) -> None:
    """Prints a line."""
    typer.echo(message, err=err)


# Commands ----------------------------------------------------------------------------------------


def command(
    body: Callable[..., int], program: str, sections: Sequence[str] | None = None
) -> Callable[..., None]:
    """The body as a command with ``--config`` and every setting of these sections, or of all,
    beside its own options. It is given the configuration first; what it returns, or the error that
    it raises, becomes the exit code, and each line of an error begins with the program's name."""
    ours = [s for s in settings() if sections is None or s.section in sections]
    names = {f"{s.section}_{s.key}": s.name for s in ours}

    def run(config: Path | None, **options: Any) -> None:
        asked = {name: options.pop(parameter) for parameter, name in names.items()}
        flags = {name: text for name, text in asked.items() if text is not None}
        try:
            code = body(load(file=config, flags=flags), **options)
        except PyforwardError as error:
            for line in str(error).splitlines():
                say(f"{program}: {line}", err=True)
            code = error.exit_code
        raise typer.Exit(code)

    own = list(inspect.signature(body, eval_str=True).parameters.values())[1:]
    parameters = [
        _parameter("config", ConfigFile, None),
        *(_parameter(p.name, p.annotation, p.default) for p in own),
        *(_parameter(f"{s.section}_{s.key}", _option(s), None) for s in ours),
    ]
    # Typer reads a command's options from these two.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    run.__doc__ = body.__doc__
    return run


def switches(arguments: Sequence[str]) -> list[str]:
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


# Private -----------------------------------------------------------------------------------------


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
