"""What the command lines of this house have in common: how they begin, options derived from the
settings, those that name a server, and one line and an exit code for each error.

The options of the settings are derived from the models; none is written by hand here.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

import pyforward
from pyforward.config import Setting, load, settings
from pyforward.errors import ConfigError, PyforwardError

CLIENT_SECTIONS: Final = ("ice", "dtls", "engine", "log")
"""The settings that mean something to a process which serves nobody."""

if TYPE_CHECKING:
    from pyforward.client import Target


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


@dataclass(frozen=True)
class Access:
    """How a server is asked: what every command that joins one takes."""

    token: Token = None
    header: Header = None
    ca_file: CaFile = None
    insecure: Insecure = False
    patience: Patience = 30.0

    def target(self, url: str) -> Target:
        """The server at this address. Raises ConfigError for a header that is none."""
        # Imported late: --help needs no native module.
        from pyforward.client import Target

        headers = dict(map(_header, self.header or ()))
        return Target(url, self.token, headers, self.ca_file, self.insecure, self.patience)


def say(message: str, /, *, err: bool = False) -> None:
    """Prints a line."""
    typer.echo(message, err=err)


# Command lines -----------------------------------------------------------------------------------


def application(program: str, about: str) -> typer.Typer:
    """A command line with ``--version`` and no command yet."""
    app = typer.Typer(
        name=program,
        help=about,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback(help=about)(_root)
    return app


def arguments(given: Sequence[str] | None = None) -> Sequence[str]:
    """These, or those of the process."""
    return sys.argv[1:] if given is None else given


def start(app: typer.Typer, program: str, asked: Sequence[str]) -> None:
    """Does what was asked, and ends the process."""
    app(args=switches(asked), prog_name=program)


def command(
    body: Callable[..., int], program: str, sections: Sequence[str] | None = None
) -> Callable[..., None]:
    """The body as a command with ``--config`` and every setting of these sections, or of all,
    beside its own options. It is given the configuration first; what it returns, or the error that
    it raises, becomes the exit code, and each line of an error begins with the program's name.

    A parameter of the body whose type is a dataclass, such as :class:`Access`, stands for an option
    for each of its fields."""
    ours = [s for s in settings() if sections is None or s.section in sections]
    names = {f"{s.section}_{s.key}": s.name for s in ours}
    own = _parameters(body)[1:]
    groups = {p.name: p.annotation for p in own if _is_group(p.annotation)}

    def run(config: Path | None, **options: Any) -> None:
        asked = {name: options.pop(parameter) for parameter, name in names.items()}
        for name, group in groups.items():
            options[name] = group(**{p.name: options.pop(p.name) for p in _parameters(group)})
        flags = {name: text for name, text in asked.items() if text is not None}
        try:
            code = body(load(file=config, flags=flags), **options)
        except PyforwardError as error:
            for line in str(error).splitlines():
                say(f"{program}: {line}", err=True)
            code = error.exit_code
        raise typer.Exit(code)

    parameters = [
        _parameter("config", ConfigFile, None),
        *(_parameter(p.name, p.annotation, p.default) for p in _flat(own)),
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


def _version(context: typer.Context, asked: bool) -> None:
    if asked:
        say(f"{context.info_name} {pyforward.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What stands before a command."""


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise ConfigError(f"--header {line!r}: write it as 'Name: value'.")
    return name.strip(), value.strip()


def _is_group(annotation: object) -> bool:
    return is_dataclass(annotation)


def _parameters(of: Callable[..., object]) -> list[inspect.Parameter]:
    """Of a function, or the fields of a dataclass."""
    return list(inspect.signature(of, eval_str=True).parameters.values())


def _flat(parameters: Sequence[inspect.Parameter]) -> Iterator[inspect.Parameter]:
    """Each by itself, in the place of its group."""
    for parameter in parameters:
        if _is_group(parameter.annotation):
            yield from _parameters(parameter.annotation)
        else:
            yield parameter


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
            metavar=_metavar(setting.kind),
            rich_help_panel=setting.section,
        ),
    ]


def _metavar(kind: str) -> str:
    """Words to choose from as they have to be written; what is to be filled in, in capitals."""
    words = kind.split(" or ")
    return "|".join(words) if len(words) > 1 else kind.upper().replace(" ", "-")
