"""The API keeps what its OpenAPI document promises, whatever schemathesis makes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import Server, running

TOKEN = "operator"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    # A declared stream outlives its end, so that every order of requests finds one.
    asked = ("--auth-admin-token", TOKEN, "--streams-declared", "demo", "--events-listeners", "4")
    with running(*asked, command="demo") as server:
        yield server


def test_what_is_promised_is_kept(server: Server, tmp_path: Path) -> None:
    asked = [
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis as c; c()", "run"),
        f"{server.url}/api/openapi.json",
        f"--header=Authorization: Bearer {TOKEN}",
        # An answer that does not end; the unit tests read it.
        "--exclude-operation-id=listen",
        # A declared stream is there although it was ended.
        "--exclude-checks=use_after_free",
        "--generation-deterministic",
        "--max-examples=30",
        "--request-timeout=30",
        "--no-color",
    ]
    ran = subprocess.run(
        asked,
        cwd=tmp_path,
        env=dict(os.environ) | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    assert "Tested: 6" in ran.stdout, ran.stdout


def test_every_operation_asks_for_the_token(server: Server) -> None:
    document = server.get("/api/openapi.json").json
    names = [
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
    ]
    assert len(set(names)) == len(names) == 7
    for path, methods in document["paths"].items():
        filled = path.format(stream="nobody", session="0" * 16)
        for method in methods:
            assert server.request(method.upper(), filled).status == 401
    answer = server.request("GET", "/api/streams/demo", authorization=f"Bearer {TOKEN}")
    assert answer.status == 200
