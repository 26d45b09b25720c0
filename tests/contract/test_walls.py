"""The walls stand: floors of the package, one door to Rust, crates in one direction."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.house import NATIVE, PACKAGE, ROOT, name_of

NATIVE_MODULE = "pyforward._native"


# Python ------------------------------------------------------------------------------------------


def test_a_floor_imports_only_what_is_below_it() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def imported_modules(source: str, package: str) -> Iterator[str]:
    """Every module, and every name that could be one, that a source text imports."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)
            case ast.Constant(value=str(text)) if text == NATIVE_MODULE:
                yield text  # import_module("…"), find_spec("…")


def importers_of_native() -> set[str]:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        package = ".".join(path.relative_to(ROOT).parent.parts)
        if NATIVE_MODULE in imported_modules(path.read_text(), package):
            found.add(name_of(path))
    return found


def test_only_the_engine_imports_native() -> None:
    assert importers_of_native() == {"pyforward/engine.py"}


@pytest.mark.parametrize(
    "source",
    [
        "import pyforward._native",
        "import pyforward._native as n",
        "from pyforward import _native",
        "from pyforward._native import Engine",
        "from .. import _native",
        "from .._native import Engine",
        "importlib.import_module('pyforward._native')",
    ],
)
def test_every_way_to_import_it_is_seen(source: str) -> None:
    assert NATIVE_MODULE in imported_modules(source, "pyforward.state")


# Rust --------------------------------------------------------------------------------------------


def dependencies(crate: str) -> set[str]:
    manifest = tomllib.loads((NATIVE / crate / "Cargo.toml").read_text())
    assert "target" not in manifest, "a dependency for one platform would go unseen here"
    return set(manifest["dependencies"]) | set(manifest.get("build-dependencies", {}))


def test_crates_depend_in_one_direction() -> None:
    assert dependencies("core") & {"pyforward-io", "pyforward-py"} == set()
    assert "pyforward-core" in dependencies("io")
    assert "pyforward-py" not in dependencies("io")
    assert {"pyforward-core", "pyforward-io"} <= dependencies("py")


def test_core_depends_on_nothing_that_does_input_or_output() -> None:
    allowed = {
        "aes",
        "arrayvec",
        "crc32fast",
        "ctr",
        "foldhash",
        "hmac",
        "ring",
        "rtcp-types",
        "rtp-types",
        "sha1",
        "slab",
        "stun-types",
    }
    assert dependencies("core") - allowed == set()


def test_only_py_knows_python() -> None:
    assert "pyo3" not in dependencies("core") | dependencies("io")
    assert "pyo3" in dependencies("py")


# `std::net` has the address types; sockets are not among what core may name.
NOT_IN_CORE = re.compile(
    r"std::(?:thread|fs|io|process|env)\b|Instant::now|SystemTime|UdpSocket|TcpStream|pyo3"
)


def without_tests(source: str) -> str:
    """What comes before a file's test module; tests come last in every file."""
    return source.split("#[cfg(test)]")[0]


def rust_files(crate: str) -> list[Path]:
    return sorted((NATIVE / crate / "src").rglob("*.rs"))


def test_core_has_no_clock_no_thread_and_no_socket() -> None:
    lines = [
        f"{name_of(path)}: {line.strip()}"
        for path in rust_files("core")
        for line in without_tests(path.read_text()).splitlines()
        if NOT_IN_CORE.search(line.split("//")[0])
    ]
    assert lines == []


def test_what_locks_is_control_s() -> None:
    """Core has no lock, and no shard waits for one of io's."""
    lock = re.compile(r"\b(?:Mutex|RwLock|Condvar|OnceLock|LazyLock)\b")
    lockers = {
        name_of(path)
        for crate in ("core", "io")
        for path in rust_files(crate)
        if lock.search(without_tests(path.read_text()))
    }
    # Where control hands commands out and takes events, and snapshots that shards try to leave.
    assert lockers == {f"native/io/src/{name}.rs" for name in ("engine", "outbox", "published")}


def test_only_io_is_unsafe() -> None:
    unsafe = re.compile(r"\bunsafe\s*(?:\{|fn|impl|extern)|allow\(unsafe_code\)")
    elsewhere = [
        name_of(path)
        for crate in ("core", "py")
        for path in rust_files(crate)
        if unsafe.search(path.read_text())
    ]
    assert elsewhere == []
    workspace = tomllib.loads((NATIVE / "Cargo.toml").read_text())["workspace"]
    assert workspace["lints"]["rust"]["unsafe_code"] == "deny"
