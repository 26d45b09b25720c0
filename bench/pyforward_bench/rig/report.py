"""The results of a run as they grow: written after each row, so that nothing of it can be lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pyforward.errors import HostError, RunError
from pyforward_bench import results
from pyforward_bench.host import Usage
from pyforward_bench.measuring import EXIT_INVALID
from pyforward_bench.results import Results
from pyforward_bench.rig.rows.spec import Figure, Spec
from pyforward_bench.rig.strain import Strain

CPU_NOTE = (
    "CPU is utime + stime of the server's processes and of its core's ksoftirqd, so that the "
    "peer's half of the veth pair is inside, for the server as for the ceiling sender; it is held "
    "against the core's busy time in /proc/stat."
)


class Report:
    """What is known by now. ``named``: the rows were asked for by their names."""

    def __init__(self, path: Path, argv: Sequence[str], *, named: bool = False) -> None:
        self._path = path
        self._named = named
        self._argv = tuple(argv)
        self._started = datetime.now(UTC)
        self._commit = results.commit_now()
        self._begun_s = time.monotonic()
        self._figures: list[Figure] = []
        self._notes = [CPU_NOTE]
        self._strain = Strain()
        self._invalid_because: list[str] = []
        self._offloads: dict[str, str] = {}
        self._falls_short = False

    @property
    def exit_code(self) -> int:
        """0 when every row has its figures, on the ground that was asked for, and nothing makes the
        run invalid. What this machine lacks for a row is no failure where nobody asked for that row
        by name, and there is another: it is a figure less, and says so."""
        without = [figure for figure in self._figures if figure.row.value is None]
        if self._invalid_because:
            return EXIT_INVALID
        if any(not figure.lacking for figure in without):
            return RunError.exit_code
        lacks_all = without and (self._named or len(without) == len(self._figures))
        return HostError.exit_code if lacks_all or self._falls_short else 0

    def add(self, figures: Sequence[Figure]) -> None:
        """And they are in the file."""
        self._figures += figures
        shared = Counter(figure.note for figure in figures)
        for figure in figures:
            if figure.note is not None:
                alone = shared[figure.note] == 1 and len(figures) > 1
                part = f", {figure.row.name}" if alone else ""
                self.note(f"{figure.row.row}{part}: {figure.note}")
        self.write()

    def could_not_all(self, specs: Sequence[Spec], why: str, *, lacking: bool = False) -> None:
        """Of these, whatever has no row yet."""
        there = {figure.row.row for figure in self._figures}
        missing = [spec for spec in specs if spec.row not in there]
        self.add([spec.could_not(why, lacking=lacking) for spec in missing])

    def note(self, *notes: str) -> None:
        """What somebody who compares figures must know."""
        self._notes.extend(note for note in notes if note not in self._notes)

    def strained(self, row: str, usages: Sequence[Usage]) -> None:
        """What the harness itself did in this row: the most of all rows is a note."""
        self._strain.add(row, usages)

    def doubt(self, why: Sequence[str]) -> None:
        """Reasons why the run is invalid; told twice they stand once."""
        known = self._invalid_because
        known.extend(each for each in why if each not in known)

    def fall_short(self) -> None:
        """Without namespaces or the counter, which were wanted: what is measured then is something
        else."""
        self._falls_short = True

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
            commit=self._commit,
            rows=[figure.row for figure in self._figures],
            notes=self._all_notes,
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
                *(f"note: {note}" for note in self._all_notes),
                f"results: {self._path}",
            ]
        )

    @property
    def _all_notes(self) -> list[str]:
        """What holds for the rows so far stands last."""
        return [*self._notes, *self._strain.told()]
