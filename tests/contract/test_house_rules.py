"""The house rules that a machine can check; CONTRIBUTING.md has them all."""

from __future__ import annotations

import re
from pathlib import Path

from tests.contract.house import ROOT, name_of, sources, tracked

# In two halves, so that this file may stay in the list.
UNFINISHED = re.compile(
    "|".join(
        (
            r"\bTO" + r"DO\b",
            r"\bFIX" + r"ME\b",
            r"\bXX" + r"X\b",
            r"\bHA" + r"CK\b",
            r"\bunimpl" + r"emented!",
            r"\bto" + r"do!\(",
            r"\bd" + r"bg!\(",
            r"NotImpl" + r"ementedError",
        )
    )
)
PLACES_OF_ONE_MACHINE = re.compile(r"(?<![\w.])/(?:root|home/\w+|work|Users)/")
ROOMS_WITHOUT_A_SUBJECT = {"utils", "util", "common", "helpers", "helper", "misc"}

TEXT = (".py", ".pyi", ".rs", ".toml", ".md", ".js", ".css", ".html", ".in", ".yml", ".sh", "")
MOST_LINES = 600


def test_nothing_is_left_unfinished() -> None:
    found = [
        f"{name_of(path)}:{number}: {line.strip()[:80]}"
        for path in sources(*TEXT)
        for number, line in enumerate(_text(path).splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert found == []


def test_no_file_names_a_place_of_one_machine() -> None:
    found = [
        f"{name_of(path)}:{number}: {line.strip()[:80]}"
        for path in sources(*TEXT)
        for number, line in enumerate(_text(path).splitlines(), 1)
        if PLACES_OF_ONE_MACHINE.search(line)
    ]
    assert found == []


def test_a_file_over_600_lines_says_why() -> None:
    """In its first thirty lines, by the words "600 lines"."""
    silent = []
    for path in sources(".py", ".pyi", ".rs", ".js", ".css"):
        lines = _text(path).splitlines()
        if len(lines) > MOST_LINES and "600 lines" not in "\n".join(lines[:30]):
            silent.append(f"{name_of(path)}: {len(lines)} lines")
    assert silent == []


def test_no_room_without_a_subject() -> None:
    found = [
        name_of(path)
        for path in tracked()
        if ROOMS_WITHOUT_A_SUBJECT & {part.partition(".")[0] for part in path.parts[-3:]}
    ]
    assert found == []


def test_every_module_says_what_it_is() -> None:
    silent = [
        name_of(path)
        for path in sources(".py", ".rs")
        if (text := _text(path).lstrip()) and not text.startswith(('"""', "//!", "#!", "# "))
    ]
    assert silent == []


MAY_WAIT = {
    "tests/unit/test_dtls_handshake.py": "OpenSSL's retransmission timer knows only the real clock",
}


def test_unit_tests_open_no_socket_and_do_not_wait() -> None:
    """What must wait for a real process lives in tests/e2e."""
    waits = re.compile(r"\btime\.sleep\(|\bsocket\.socket\(|\bsubprocess\b")
    found = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in sources(".py")
        if name_of(path).startswith("tests/unit/") and name_of(path) not in MAY_WAIT
        for number, line in enumerate(_text(path).splitlines(), 1)
        if waits.search(line)
    ]
    assert found == []


def test_links_between_documents_lead_somewhere() -> None:
    link = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")
    broken = [
        f"{name_of(path)}: {target}"
        for path in sources(".md")
        for target in link.findall(_text(path))
        if not (path.parent / target).exists()
    ]
    assert broken == []


def test_the_rules_can_fail() -> None:
    assert UNFINISHED.search("# TO" + "DO: later")
    assert PLACES_OF_ONE_MACHINE.search("see /ro" + "ot/thing")
    assert not PLACES_OF_ONE_MACHINE.search(str(ROOT / "work" / "x").replace(str(ROOT), "."))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""
