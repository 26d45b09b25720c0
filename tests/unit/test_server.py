"""The composition root, as far as it can be judged without a process; e2e runs the process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyforward import server
from pyforward.api.app import STOP_PATIENCE_S
from pyforward.control.control import STOP_TIME_LIMIT_S
from pyforward.errors import HostError


def test_what_a_stop_may_wait_for_fits_into_the_time_it_has() -> None:
    # First control says its farewells, then HTTP waits for requests to end, and to be cancelled.
    assert STOP_TIME_LIMIT_S + 2 * STOP_PATIENCE_S < server.STOP_LIMIT_S < 2.0


def test_the_ready_file_appears_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    with server._announced(ready, "http://127.0.0.1:1", (("127.0.0.1", 2),)):
        assert json.loads(ready.read_text())["media"] == [{"address": "127.0.0.1", "port": 2}]
        assert list(tmp_path.iterdir()) == [ready]
    assert list(tmp_path.iterdir()) == []


def test_a_ready_file_that_cannot_be_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with (
        pytest.raises(HostError, match="Is a directory"),
        server._announced(folder, "http://127.0.0.1:1", ()),
    ):
        pass
    assert list(tmp_path.iterdir()) == [folder]
