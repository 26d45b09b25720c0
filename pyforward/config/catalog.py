"""The settings as a flat list, derived from the models: names, variables, flags, texts."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from pyforward.config.models import Config

VARIABLE_PREFIX = "PYFORWARD_"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. ``kind`` is what a person writes: text, number, true/false, list, a choice."""

    section: str
    key: str
    kind: str
    default: object
    unit: str
    meaning: str
    boolean: bool
    secret: bool

    @property
    def name(self) -> str:
        """As messages call it: ``http.bind``."""
        return f"{self.section}.{self.key}"

    @property
    def variable(self) -> str:
        """The environment variable: ``PYFORWARD_HTTP__BIND``."""
        return f"{VARIABLE_PREFIX}{self.section.upper()}__{self.key.upper()}"

    @property
    def flag(self) -> str:
        """The option: ``--http-bind``."""
        return f"--{self.section}-{self.key.replace('_', '-')}"


def sections() -> dict[str, type[BaseModel]]:
    """The sections in the order of the file, with their models."""
    found: dict[str, type[BaseModel]] = {}
    for name, field in Config.model_fields.items():
        assert isinstance(field.annotation, type)
        found[name] = field.annotation
    return found


@cache
def settings() -> tuple[Setting, ...]:
    """Every setting, by section."""
    return tuple(_settings())


@cache
def by_name() -> dict[str, Setting]:
    """Every setting under its name."""
    return {setting.name: setting for setting in settings()}


def _settings() -> Iterator[Setting]:
    for section, model in sections().items():
        for key, field in model.model_fields.items():
            extra = field.json_schema_extra
            yield Setting(
                section=section,
                key=key,
                kind=_kind(field),
                default=field.default,
                unit=str(extra.get("unit", "")) if isinstance(extra, dict) else "",
                meaning=field.description or "",
                boolean=field.annotation is bool,
                secret=field.annotation is SecretStr,
            )


def _kind(field: FieldInfo) -> str:
    annotation = field.annotation
    origin = get_origin(annotation)
    if origin is Literal:
        return " or ".join(str(choice) for choice in get_args(annotation))
    if origin is tuple:
        return "list"
    if origin in (Union, types.UnionType):
        raise TypeError("a setting has one type")
    kinds: dict[object, str] = {
        bool: "true or false",
        int: "whole number",
        float: "number",
        str: "text",
        SecretStr: "secret",
    }
    return kinds[annotation]
