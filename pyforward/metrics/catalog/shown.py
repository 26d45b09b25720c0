"""Who shows a metric: panels as ``board/panel``, recording rules as ``record/…``, alerts as
``alert/…``. ``tests/contract/test_boards.py`` holds this against every query, both ways."""

from __future__ import annotations

from collections.abc import Mapping

SHOWN: Mapping[str, tuple[str, ...]] = {}
