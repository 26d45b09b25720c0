"""The boards, in the order in which somebody who is called at night opens them."""

from __future__ import annotations

from grafana.generate.boards import broadcast, engine, joins, load, stream
from grafana.generate.model import Board

BOARDS: tuple[Board, ...] = (
    broadcast.BOARD_BROADCAST,
    stream.BOARD_STREAM,
    joins.BOARD_JOINS,
    engine.BOARD_ENGINE,
    load.BOARD_LOAD,
)
