"""The log: structlog on standard error, as readable lines or as JSON objects.

Everything that logs by the standard library (aiohttp, asyncio) comes out in the same form. A log
entry is one line whatever a peer sent, and below it, indented, the traceback of an exception:
without the values of variables, among which are tokens and whatever a stranger sent.

``catalog`` declares every entry of our own, ``bursts`` sums what comes too often.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TextIO

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from pyforward.config import Config
from pyforward.log.bursts import Bursts


def set_up(config: Config, stream: TextIO = sys.stderr) -> Bursts:
    """Sets the process's logging up; may be called again. What it returns is flushed at the end."""
    level = logging.getLevelNamesMapping()[config.log.level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    bursts = Bursts(config.log.lines_per_s)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            bursts,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendered(config, stream),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    return bursts


def _rendered(config: Config, stream: TextIO) -> list[Processor]:
    if config.log.format == "json":
        return [
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(ensure_ascii=True),
        ]
    console = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=_indented_traceback
    )
    return [_one_line, console]


def _one_line(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    """Control characters in values are written as escapes, so that no peer can forge an entry."""
    for key, value in entry.items():
        if isinstance(value, str) and not value.isprintable():
            entry[key] = value.encode("unicode_escape").decode("ascii")
    return entry


def _indented_traceback(stream: TextIO, exc_info: ExcInfo) -> None:
    """No line of it can be taken for an entry, and no control character reaches a terminal."""
    for line in "".join(traceback.format_exception(*exc_info)).splitlines():
        shown = line if line.isprintable() else line.encode("unicode_escape").decode("ascii")
        stream.write(f"\n    {shown}")
