"""The configuration as text: the effective one as TOML, the catalog as ``docs/settings.md``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from pydantic import SecretStr

from pyforward.config.catalog import Setting, sections, settings
from pyforward.config.models import MASK, Config


def to_toml(config: Config, origins: Mapping[str, str]) -> str:
    """A file that gives this configuration again, except for the secrets, which are masked.

    Behind each value stands where it came from.
    """
    return "\n".join(_toml_lines(config, origins)) + "\n"


def settings_markdown() -> str:
    """The text of ``docs/settings.md``."""
    return "\n".join(_markdown_lines()) + "\n"


def _toml_lines(config: Config, origins: Mapping[str, str]) -> Iterator[str]:
    section = ""
    for setting in settings():
        if setting.section != section:
            if section:
                yield ""
            section = setting.section
            yield f"[{section}]"
        value = getattr(getattr(config, section), setting.key)
        origin = origins.get(setting.name, "default")
        yield f"{setting.key} = {_toml_value(value)}  # {origin}"


def _toml_value(value: object) -> str:
    if isinstance(value, SecretStr):
        return json.dumps(MASK if value.get_secret_value() else "")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, int | float):
        return repr(value)
    # The escapes of JSON are escapes of TOML basic strings too; DEL alone needs help.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


_INTRODUCTION = """\
# Settings

<!-- Written by `python -m pyforward.config docs/settings.md`; change the models instead. -->

A setting comes from a flag, else from an environment variable, else from the one TOML file that
`--config` names, else it has its default. The setting `http.bind` is

- the flag `--http-bind 127.0.0.1:8080`,
- the variable `PYFORWARD_HTTP__BIND=127.0.0.1:8080`,
- the line `bind = "127.0.0.1:8080"` under `[http]` in the file.

Lists are written with commas in flags and variables, as arrays in the file. A switch is turned off
by `--no-engine-gso`, `--engine-gso=false`, `PYFORWARD_ENGINE__GSO=false` or `gso = false`.
`pyforward serve --print-config` shows what is in effect and where each value came from. An unknown
or wrong setting stops the start with exit code 2."""


def _markdown_lines() -> Iterator[str]:
    yield _INTRODUCTION
    for section, model in sections().items():
        yield ""
        yield f"## {section}"
        yield ""
        yield " ".join((model.__doc__ or "").split())
        yield ""
        yield "| key | default | takes | unit | meaning |"
        yield "|---|---|---|---|---|"
        for setting in settings():
            if setting.section == section:
                yield _markdown_row(setting)


def _markdown_row(setting: Setting) -> str:
    default = f"`{_toml_value(setting.default)}`"
    cells = (f"`{setting.key}`", default, setting.kind, setting.unit, setting.meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
