"""Questions to the engine about the figures of sessions, and the futures that wait for answers.

Every shard answers every question. An answer that does not come in time is done without: a shard
that is busy forwarding matters more than the page that shows how busy it is.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pyforward.commands import Report, ReportSessions, SessionReport
from pyforward.ids import SessionId

REPORT_TIME_LIMIT_S = 1.0


@dataclass(slots=True)
class _Question:
    shards_left: set[int]
    done: asyncio.Future[None]
    rows: dict[SessionId, SessionReport] = field(default_factory=dict)


class Reports:
    """Pairs ``Report`` events with those who asked."""

    def __init__(
        self,
        submit: Callable[[ReportSessions], None],
        shards: int,
        time_limit_s: float = REPORT_TIME_LIMIT_S,
    ) -> None:
        self._submit = submit
        self._shards = shards
        self._time_limit_s = time_limit_s
        self._tickets = itertools.count(1)
        self._questions: dict[int, _Question] = {}

    async def ask(self, sessions: Iterable[SessionId]) -> dict[SessionId, SessionReport]:
        """The figures of those sessions that a shard owns and told of in time."""
        wanted = tuple(sessions)
        if not wanted:
            return {}
        ticket = next(self._tickets)
        question = _Question(set(range(self._shards)), asyncio.get_running_loop().create_future())
        self._questions[ticket] = question
        try:
            self._submit(ReportSessions(ticket, wanted))
            async with asyncio.timeout(self._time_limit_s):
                await question.done
        except TimeoutError:
            pass
        finally:
            del self._questions[ticket]
        return question.rows

    def answered(self, report: Report) -> None:
        """One shard's part; late ones find nobody waiting."""
        question = self._questions.get(report.ticket)
        if question is None:
            return
        question.rows.update((row.session, row) for row in report.rows)
        question.shards_left.discard(report.shard)
        if not question.shards_left and not question.done.done():
            question.done.set_result(None)
