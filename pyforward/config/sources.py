"""Where values come from: flags before environment before file before defaults.

Written here and not left to pydantic-settings, because a wrong value must be told with its origin:
the line of the file, the variable or the flag. Nothing is guessed and nothing unknown is ignored.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pyforward.config.catalog import VARIABLE_PREFIX, Setting, by_name, sections, settings
from pyforward.config.models import Config, contradictions
from pyforward.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and, for each setting that is not at its default, where it came from."""

    config: Config
    origins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Given:
    value: object
    origin: str


def load(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
) -> Loaded:
    """The effective configuration.

    ``environment`` is ``os.environ`` unless given; ``flags`` maps names (``http.bind``) to text.
    Raises ConfigError with one line for each problem.
    """
    problems: list[str] = []
    given: dict[str, _Given] = {}
    if file is not None:
        given |= _from_file(file, problems)
    given |= _from_environment(os.environ if environment is None else environment, problems)
    for name, text in (flags or {}).items():
        given[name] = _Given(text, by_name()[name].flag)
    if problems:
        raise ConfigError("\n".join(problems))
    return _validated(given)


# The sources -------------------------------------------------------------------------------------


def _from_file(path: Path, problems: list[str]) -> dict[str, _Given]:
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax_error(path, error)) from None
    lines = _lines(text)
    given: dict[str, _Given] = {}
    for section, table in tree.items():
        where = _origin(path, lines, section)
        if section not in sections():
            problems.append(f"{where}: {_unknown_section(section, table)}")
        elif not isinstance(table, dict):
            problems.append(
                f"{where}: {section} is a section; write [{section}] and its keys below"
            )
        else:
            for key, value in table.items():
                name = f"{section}.{key}"
                where = _origin(path, lines, name, section)
                if name in by_name():
                    given[name] = _Given(value, where)
                else:
                    problems.append(f"{where}: {_unknown(name)}")
    return given


def _from_environment(environment: Mapping[str, str], problems: list[str]) -> dict[str, _Given]:
    variables = {setting.variable: setting for setting in settings()}
    misspelt = {v.replace("__", "_"): v for v in variables}
    given: dict[str, _Given] = {}
    for variable, text in sorted(environment.items()):
        setting = variables.get(variable)
        if setting is not None:
            given[setting.name] = _Given(text, variable)
        elif variable.startswith(VARIABLE_PREFIX) and "__" in variable:
            name = variable.removeprefix(VARIABLE_PREFIX).lower().replace("__", ".", 1)
            problems.append(f"{variable}: {_unknown(name, variable=True)}")
        elif variable in misspelt and "://" not in text:
            # A URL is what Kubernetes sets for a service of that name (PYFORWARD_MEDIA_PORT).
            problems.append(
                f"{variable}: not a setting; write {misspelt[variable]}, with two underscores "
                "after the section"
            )
    return given


# Lines of a TOML file ----------------------------------------------------------------------------

_HEADER = re.compile(r"^\s*\[\[?\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(
    r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*="""
)


def _lines(text: str) -> dict[str, int]:
    """The line of each section and of each ``section.key``; tomllib does not tell.

    A line of a multi-line string may look like a key; the first occurrence counts, and an error is
    at worst attributed to a line too early.
    """
    found: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            name = section = _plain(header[1])
        elif key := _KEY.match(line):
            name = f"{section}.{_plain(key[1])}" if section else _plain(key[1])
        else:
            continue
        # Whatever makes a table, such as a header below it, says where that is.
        for end in (match.start() for match in re.finditer(r"\.|$", name)):
            found.setdefault(name[:end], number)
    return found


def _plain(dotted: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in dotted.split("."))


def _origin(path: Path, lines: Mapping[str, int], *names: str) -> str:
    for name in names:
        if name in lines:
            return f"{path}:{lines[name]}"
    return str(path)


def _syntax_error(path: Path, error: tomllib.TOMLDecodeError) -> str:
    message = str(error)
    where = re.search(r"\(at line (\d+), column \d+\)$", message)
    if where is None:
        return f"{path}: {message}"
    return f"{path}:{where[1]}: {message[: where.start()].rstrip()}"


# Checking ----------------------------------------------------------------------------------------


def _validated(given: Mapping[str, _Given]) -> Loaded:
    tree: dict[str, dict[str, object]] = {}
    for name, one in given.items():
        section, _, key = name.partition(".")
        tree.setdefault(section, {})[key] = one.value
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(_wrong_values(error, given))) from None
    wrong = contradictions(config)
    if wrong:
        raise ConfigError(
            "\n".join(
                f"{given[name].origin if name in given else 'default'}: {name}: {what}"
                for name, what in wrong
            )
        )
    return Loaded(config, {name: one.origin for name, one in given.items()})


def _wrong_values(error: ValidationError, given: Mapping[str, _Given]) -> list[str]:
    problems: list[str] = []
    for one in error.errors(include_url=False):
        name = ".".join(str(part) for part in one["loc"][:2])
        setting = by_name()[name]
        cause = one.get("ctx", {}).get("error")
        why = str(cause) if isinstance(cause, ValueError) else _lower(one["msg"])
        shown = "" if setting.secret else f" = {given[name].value!r}"
        problems.append(f"{given[name].origin}: {name}{shown}: {why} ({_help(setting)})")
    return problems


def _help(setting: Setting) -> str:
    unit = f" in {setting.unit}" if setting.unit else ""
    return f"takes {setting.kind}{unit}: {setting.meaning}"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _unknown(name: str, *, variable: bool = False) -> str:
    close = difflib.get_close_matches(name, by_name(), n=1, cutoff=0.6)
    if not close:
        return f"{name} is not a setting; docs/settings.md lists them all"
    right = by_name()[close[0]]
    return f"{name} is not a setting; did you mean {right.variable if variable else right.name}?"


def _unknown_section(section: str, table: object) -> str:
    if not isinstance(table, dict):
        homes = [s.name for s in settings() if s.key == section]
        hint = f"; did you mean {homes[0]}?" if homes else "; keys stand in a section, as [http]"
        return f"{section} is not a setting{hint}"
    close = difflib.get_close_matches(section, sections(), n=1, cutoff=0.6)
    hint = f"; did you mean [{close[0]}]?" if close else f"; there are {', '.join(sections())}"
    return f"[{section}] is not a section{hint}"
