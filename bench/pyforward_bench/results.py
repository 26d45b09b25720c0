"""What every command of the harness writes: one schema, rows of figures and what they hold for.

``bench/results/schema.json`` is made from it, and the README's table from a file of it::

    python -m pyforward_bench.results bench/results/schema.json
    python -m pyforward_bench.results README.md bench/results/RUN.json
"""

from __future__ import annotations

import errno
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    ValidationError,
    model_validator,
)

import pyforward
from pyforward.errors import ConfigError, HostError

BEGIN: Final = "<!-- bench:begin -->"
END: Final = "<!-- bench:end -->"

# Whose versions a figure may depend on, beside ours; those of crates are known in a checkout.
PACKAGES: Final = ("aiohttp", "aioice", "cryptography", "pyopenssl", "uvloop")
CRATES: Final = ("aes", "pyo3", "ring")

ALL_ROWS: Final = frozenset(f"r{number:02}" for number in range(1, 17))
"""Of a full run of the rig."""

STOPPED: Final = "the run was stopped before"
"""Why a row has no value that the run did not get to."""

ROOT: Final = Path(__file__).resolve().parents[2]
"""Of the checkout, when this is one."""

LATENCY: Final = "ms"
"""The unit of figures that are told in times of the ceiling sender's and not as a share of it: how
much later its viewers have something is what their reader asks."""

Text = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    """No other fields, no other types, no NaN; and nothing changes afterwards."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True
    )


class Machine(_Strict):
    """What the figures were measured on."""

    kernel: Text
    cpu: Text
    cores: Annotated[int, Field(ge=1)]
    memory_mib: Annotated[int, Field(ge=1)]
    offloads: dict[str, str] = {}
    """Settings of devices, as read back from them."""
    versions: dict[str, str]
    """Of Python and of packages."""


class Row(_Strict):
    """One figure: the median of its rounds with their range; or why there is none."""

    row: Text
    """Which of the harness's questions it answers: ``r01``, or a command's name."""
    name: Text
    value: float | None = None
    unit: str
    median: float | None = None
    low: float | None = None
    high: float | None = None
    rounds: NonNegativeInt = 0
    ceiling: float | None = None
    """What a bare sender reached in the same run, in the same unit."""
    share_of_ceiling: float | None = None
    """1 is as good as the bare sender: the median of the rounds, each held against the sender's
    round beside it. Less is worse, also of a cost, of which it is the sender's as a share of the
    value; but of a latency (:data:`LATENCY`) it is how many times the sender's it is."""
    share_low: float | None = None
    share_high: float | None = None
    """The range of that; older files have none."""
    target: Text | None = None
    met: bool | None = None
    why: Text | None = None

    @model_validator(mode="after")
    def _is_a_figure_or_says_why(self) -> Self:
        figures = (self.value, self.median, self.low, self.high, self.share_of_ceiling)
        if self.value is None:
            if self.why is None:
                raise ValueError("a row without a value says why")
            if self.rounds or self.met is not None or set(figures) != {None}:
                raise ValueError("a row without a value has no figures")
        elif self.why is not None or self.rounds < 1:
            raise ValueError("a row with a value has rounds, and no reason to have none")
        elif self.low is None or self.median is None or self.high is None:
            raise ValueError("a row with a value has a median and a range")
        elif not self.low <= self.median <= self.high:
            raise ValueError("the median lies in the range")
        return self

    @model_validator(mode="after")
    def _has_a_share_with_its_range(self) -> Self:
        share, low, high = self.share_of_ceiling, self.share_low, self.share_high
        if (low is None) != (high is None) or (share is None and low is not None):
            raise ValueError("a share has both ends of its range, and without it there is none")
        if share is not None and low is not None and high is not None and not low <= share <= high:
            raise ValueError("the share lies in its range")
        return self


class Results(_Strict):
    """A run of one command."""

    schema_: Literal["pyforward-bench/1"] = Field(alias="schema")
    command: Text
    argv: list[str]
    started: Annotated[AwareDatetime, Field(strict=False)]
    duration_s: NonNegativeFloat
    commit: Text
    """Of the checkout as the run began, ``-dirty`` where it was changed by then; outside of one the
    package's version."""
    machine: Machine
    valid: bool
    invalid_because: list[Text]
    """Why the figures do not speak of the server: empty in a valid run."""
    notes: list[Text]
    rows: list[Row]

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.valid == bool(self.invalid_because):
            raise ValueError("an invalid run says why, and a valid one has no reason")
        names = [(row.row, row.name) for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError("no two rows have the same row and name")
        return self


# Making them -------------------------------------------------------------------------------------


def begin(
    *,
    command: str,
    argv: Sequence[str],
    started: datetime,
    duration_s: float,
    commit: str,
    rows: Sequence[Row] = (),
    notes: Sequence[str] = (),
    invalid_because: Sequence[str] = (),
    offloads: Mapping[str, str] | None = None,
) -> Results:
    """The results of a run so far, with what is known of this machine; ``commit`` is what
    :func:`commit_now` said when it began."""
    return Results(
        schema="pyforward-bench/1",
        command=command,
        argv=list(argv),
        started=started,
        duration_s=duration_s,
        commit=commit,
        machine=machine(offloads or {}),
        valid=not invalid_because,
        invalid_because=list(invalid_because),
        notes=list(notes),
        rows=list(rows),
    )


def row_of(
    row: str,
    name: str,
    unit: str,
    values: Sequence[float],
    *,
    ceilings: Sequence[float] = (),
    less_is_better: bool = False,
    target: str | None = None,
    met: bool | None = None,
) -> Row:
    """A figure of one value a round; ``ceilings`` are in the same unit, one beside each value, or
    none. ValueError without values."""
    if not values:
        raise ValueError("a row without values is one that could not be run")
    median = statistics.median(values)
    shares = shares_of(values, ceilings, less_is_better=less_is_better) if ceilings else []
    return Row(
        row=row,
        name=name,
        value=median,
        unit=unit,
        median=median,
        low=min(values),
        high=max(values),
        rounds=len(values),
        ceiling=statistics.median(ceilings) if ceilings else None,
        share_of_ceiling=statistics.median(shares) if shares else None,
        share_low=min(shares, default=None),
        share_high=max(shares, default=None),
        target=target,
        met=met,
    )


def shares_of(
    values: Sequence[float], ceilings: Sequence[float], *, less_is_better: bool = False
) -> list[float]:
    """Each value as a share of the ceiling beside it; of a cost, the ceiling's as a share of the
    value. ValueError where they are no pairs."""
    pairs = zip(values, ceilings, strict=True)
    return [ceiling / value if less_is_better else value / ceiling for value, ceiling in pairs]


def could_not(row: str, name: str, unit: str, why: str) -> Row:
    """A row that could not be run; ``why`` is a sentence."""
    return Row(row=row, name=name, unit=unit, why=why)


def machine(offloads: Mapping[str, str]) -> Machine:
    """This one."""
    return Machine(
        kernel=platform.release(),
        cpu=_line_of("/proc/cpuinfo", "model name") or platform.machine() or "unknown",
        cores=os.cpu_count() or 1,
        memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        offloads=dict(offloads),
        versions=_versions(),
    )


def commit_now() -> str:
    """Of the checkout, ``-dirty`` where it is changed; outside of one the package's version. Asked
    as a run begins, because whoever edits a file meanwhile changes nothing of what is measured."""
    if (ROOT / ".git").exists():
        git = ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
        try:
            answer = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
        except OSError:  # there is a checkout and no git
            return pyforward.__version__
        if answer.returncode == 0:
            return answer.stdout.strip()
    return pyforward.__version__


# Files -------------------------------------------------------------------------------------------


def write(results: Results, path: Path) -> None:
    """Whole or not at all: whoever reads meanwhile finds the file before or the one after.

    HostError where it cannot be written.
    """
    text = json.dumps(results.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with fresh.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise HostError(f"The results cannot be written to {path}: {error.strerror}.") from error


def check(path: Path) -> None:
    """HostError where results cannot be written there: asked before a run, which may take hours."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.touch()
        fresh.unlink()
    except OSError as error:
        raise HostError(
            f"The results could not be written to {path}: {error.strerror}. "
            "Say with --output where they may go."
        ) from error


def read(path: Path) -> Results:
    """ConfigError where the file cannot be read or is not of the schema."""
    try:
        return Results.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ConfigError(f"{path} holds no results: {where}: {first['msg']}.") from error


def schema() -> str:
    """The text of ``bench/results/schema.json``."""
    made = Results.model_json_schema(mode="serialization")
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


# The table ---------------------------------------------------------------------------------------


def table(results: Results) -> str:
    """All rows in Markdown, and below them what they were measured on."""
    lines = [
        "| row | what | median | range | rounds | of the ceiling | target |",
        "|---|---|---|---|---|---|---|",
        *(_cells(row) for row in results.rows),
        "",
        _origin(results),
    ]
    if not results.valid:
        lines += ["", "**Invalid**: " + " ".join(results.invalid_because)]
    return "\n".join(lines) + "\n"


def in_readme(readme: str, results: Results) -> str:
    """The README's text with the table of these results between its two markers.

    ConfigError where it does not have both once, in their order, or these are not the results of
    a full run, or of one that is invalid.
    """
    reached = {row.row for row in results.rows if row.why != STOPPED}
    if "--quick" in results.argv or ALL_ROWS - reached:
        raise ConfigError("These are not the results of a full run, which is: pyforward-bench rig.")
    if not results.valid:
        raise ConfigError(f"This run is invalid: {' '.join(results.invalid_because)}")
    before, begins, rest = readme.partition(BEGIN)
    _, ends, after = rest.partition(END)
    if not begins or not ends or BEGIN in rest or END in before or END in after:
        raise ConfigError(f"The README needs one line {BEGIN}, and after it one line {END}.")
    return f"{before}{BEGIN}\n{table(results)}{END}{after}"


def _origin(results: Results) -> str:
    on = results.machine
    return (
        f"{results.started:%Y-%m-%d}, commit {results.commit}, {on.cores} cores of {on.cpu}, "
        f"{on.memory_mib / 1024:.0f} GiB, Linux {on.kernel}, "
        f"`pyforward-bench {' '.join(results.argv)}`."
    )


def _cells(row: Row) -> str:
    if row.value is None or row.low is None or row.high is None:
        cells = [row.row, row.name, f"not run: {row.why}", "", "", "", row.target or ""]
    else:
        met = {True: " ✓", False: " ✗", None: ""}[row.met]
        cells = [
            row.row,
            row.name,
            f"{number(row.value, row.target)} {row.unit}".rstrip(),
            f"{number(row.low)} – {number(row.high)}" if row.low < row.high else "",
            str(row.rounds),
            f"{share(row)} times" if row.ceiling and row.unit == LATENCY else share(row),
            f"{row.target or ''}{met}".strip(),
        ]
    # A bar would end the cell, a line break the row.
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


def beside_ceiling(row: Row) -> str:
    """What the number of :func:`share` says of the row."""
    return "times the ceiling sender's" if row.unit == LATENCY else "of the ceiling"


def share(row: Row) -> str:
    """Of the ceiling, or times it, with its range where there is one: 0.87 (0.83–0.91). Empty
    without."""
    if row.share_of_ceiling is None:
        return ""
    told = ratio(row.share_of_ceiling, row.target)
    if row.share_low is None or row.share_high is None or row.share_low == row.share_high:
        return told
    return f"{told} ({ratio(row.share_low)}–{ratio(row.share_high)})"


def number(value: float, target: str | None = None) -> str:
    """With three digits that say something, and thousands apart: 0.123, 12.3, 1,234. With as many
    more as show on which side of its target a figure is: 99.876 of 99.9 is 99.88."""
    if value == 0:
        return "0"
    return _rounded(value, max(0, 2 - int(f"{value:.2e}".partition("e")[2])), target)


def ratio(value: float, target: str | None = None) -> str:
    """The same of a share or a multiple of the ceiling's: with two digits behind the point."""
    return _rounded(value, 2, target)


def _rounded(value: float, digits: int, target: str | None) -> str:
    """To so many digits behind the point at least. The numbers of a target stand in its words, and
    "within 3 %" means both signs; one that is about something else is out of reach."""
    words = re.findall(r"\d[\d,]*(?:\.\d+)?", target or "")
    limits = [sign * float(word.replace(",", "")) for word in words for sign in (-1, 1)]
    while any(_side(round(value, digits), each) != _side(value, each) for each in limits):
        digits += 1
    return f"{value:,.{digits}f}"


def _side(value: float, limit: float) -> int:
    """-1 below the limit, 1 above it; 0 on it, but for what floats leave over."""
    if math.isclose(value, limit, rel_tol=1e-9):
        return 0
    return 1 if value > limit else -1


# This machine and this checkout ------------------------------------------------------------------


def _line_of(path: str, key: str) -> str:
    """The first value of a key in a file of ``/proc``."""
    try:
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    except OSError:
        pass
    return ""


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "pyforward": pyforward.__version__}
    found |= {name: metadata.version(name) for name in PACKAGES}
    lock = ROOT / "native" / "Cargo.lock"
    if lock.exists():
        for package in tomllib.loads(lock.read_text(encoding="utf-8"))["package"]:
            if package["name"] in CRATES:
                found[package["name"]] = package["version"]
    return found


def _main(arguments: Sequence[str]) -> None:
    match arguments:
        case [path]:
            Path(path).write_text(schema(), encoding="utf-8")
        case [readme, path]:
            text = Path(readme).read_text(encoding="utf-8")
            Path(readme).write_text(in_readme(text, read(Path(path))), encoding="utf-8")
        case _:
            raise ConfigError("Give SCHEMA.json to write, or README.md and RESULTS.json.")


if __name__ == "__main__":
    try:
        _main(sys.argv[1:])
    except (ConfigError, OSError) as error:
        sys.exit(f"pyforward-bench: {error}")
