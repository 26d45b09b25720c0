"""The configuration: every setting declared once, read from flags, environment and one file."""

from __future__ import annotations

from pyforward.config.catalog import Setting, settings
from pyforward.config.models import (
    MAX_SHARDS,
    Config,
    contradictions,
    media_addresses,
)
from pyforward.config.render import settings_markdown, to_toml
from pyforward.config.sources import Loaded, load

__all__ = [
    "MAX_SHARDS",
    "Config",
    "Loaded",
    "Setting",
    "contradictions",
    "load",
    "media_addresses",
    "settings",
    "settings_markdown",
    "to_toml",
]
