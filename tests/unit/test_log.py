"""The log: one line an entry, the form and the level that are set."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from pyforward import log
from pyforward.config import load


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def written(stream: io.StringIO, **flags: str) -> None:
    named = {f"log.{key}": value for key, value in flags.items()}
    log.set_up(load(environment={}, flags=named).config, stream)


def test_json_holds_fields_of_both_kinds_of_loggers() -> None:
    stream = io.StringIO()
    written(stream, format="json")
    structlog.get_logger("pyforward.test").info("joined", session=7)
    logging.getLogger("other").warning("odd %s", "thing")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["event"], first["session"], first["level"]) == ("joined", 7, "info")
    assert (second["event"], second["level"], second["logger"]) == ("odd thing", "warning", "other")


def test_nothing_a_peer_sends_makes_a_second_line() -> None:
    for form in ("text", "json"):
        stream = io.StringIO()
        written(stream, format=form)
        structlog.get_logger().info("refused", reason="x\n2026 forged\x1b[2J")
        logging.getLogger("other").warning("refused %s", "x\n2026 forged\x1b[2J")
        assert stream.getvalue().count("\n") == 2
        assert "\x1b[2J" not in stream.getvalue()


def test_the_level_holds() -> None:
    stream = io.StringIO()
    written(stream, level="warning")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


def test_a_traceback_shows_no_values_and_forges_no_entry() -> None:
    for form in ("text", "json"):
        stream = io.StringIO()
        written(stream, format=form)
        for logger in (structlog.get_logger("pyforward.test"), logging.getLogger("other")):
            authorization = "Bearer hunter2"
            try:
                raise ValueError(f"{len(authorization)} characters\n2026 forged\x1b[2J")
            except ValueError:
                logger.exception("broke")
        assert "ValueError" in stream.getvalue()
        assert "14 characters" in stream.getvalue()
        assert "hunter2" not in stream.getvalue()
        assert "\n2026 forged" not in stream.getvalue()
        assert "\x1b[2J" not in stream.getvalue()
