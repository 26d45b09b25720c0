"""The results of a run as they grow: written after each row, so that nothing of it can be lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pyforward_bench import results
from pyforward_bench.measuring import EXIT_INVALID
from pyforward_bench.results import Results, Row
from pyforward_bench.rig.rows.spec import Figure, Spec

CPU_NOTE = (
    "CPU is utime + stime of the server's processes and of its core's ksoftirqd, so that the "
    "peer's half of the veth pair is inside, for the server as for the ceiling sender; it is held "
    "against the core's busy time in /proc/stat."
)


class Report:
    """What is known by now."""

    def __init__(self, path: Path, argv: Sequence[str]) -> None:
        self._path = path
        self._argv = tuple(argv)
        self._started = datetime.now(UTC)
        self._begun_s = time.monotonic()
        self._rows: list[Row] = []
        self._notes = [CPU_NOTE]
        self._invalid_because: list[str] = []
        self._offloads: dict[str, str] = {}

    @property
    def exit_code(self) -> int:
        """0 when something could be run and nothing makes the run invalid."""
        if all(row.value is None for row in self._rows):
            return 1
        return EXIT_INVALID if self._invalid_because else 0

    def add(self, figures: Sequence[Figure]) -> None:
        """And they are in the file."""
        self._rows.extend(figure.row for figure in figures)
        shared = Counter(figure.note for figure in figures)
        for figure in figures:
            if figure.note is not None:
                alone = shared[figure.note] == 1 and len(figures) > 1
                part = f", {figure.row.name}" if alone else ""
                self.note(f"{figure.row.row}{part}: {figure.note}")
        self.write()

    def could_not_all(self, specs: Sequence[Spec], why: str) -> None:
        """Of these, whatever has no row yet."""
        there = {row.row for row in self._rows}
        self.add([spec.could_not(why) for spec in specs if spec.row not in there])

    def note(self, *notes: str) -> None:
        """What somebody who compares figures must know."""
        self._notes.extend(note for note in notes if note not in self._notes)

    def doubt(self, why: Sequence[str]) -> None:
        """Reasons why the run is invalid; told twice they stand once."""
        known = self._invalid_because
        known.extend(each for each in why if each not in known)

    def offloads(self, settings: Mapping[str, str]) -> None:
        """As read back from the devices."""
        self._offloads.update(settings)

    def write(self) -> None:
        """Everything so far."""
        results.write(self.results(), self._path)

    def results(self) -> Results:
        """In the one schema."""
        return results.begin(
            command="rig",
            argv=self._argv,
            started=self._started,
            duration_s=time.monotonic() - self._begun_s,
            rows=self._rows,
            notes=self._notes,
            invalid_because=self._invalid_because,
            offloads=self._offloads,
        )

    def told(self) -> str:
        """For the terminal, at the end."""
        offloads = ", ".join(f"{name} {state}" for name, state in self._offloads.items())
        return "\n".join(
            [
                results.table(self.results()),
                f"offload: {offloads}",
                *(f"note: {note}" for note in self._notes),
                f"results: {self._path}",
            ]
        )
