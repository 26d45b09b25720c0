"""``pyforward top`` at a running server: figures, exit codes, and a server that comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.commands import command, run
from tests.e2e.server import Server, running, wait_for

TOKEN = "operator"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("--auth-admin-token", TOKEN, command="demo") as server:
        yield server


def once(server: Server, *more: str, token: str = TOKEN) -> tuple[int, str, str]:
    ended = run("top", server.url, "--once", *more, environment={"PYFORWARD_TOKEN": token})
    return ended.code, ended.out, ended.err


def test_once_for_people_and_for_programs(server: Server) -> None:
    def well() -> bool:
        answer = server.request("GET", "/api/streams/demo", authorization=f"Bearer {TOKEN}")
        return bool(answer.json["health"] == "good")

    wait_for("the demo", well)
    code, out, _ = once(server)
    assert code == 0
    assert "demo" in out
    assert "good" in out
    code, out, _ = once(server, "--stream", "demo", "--json")
    assert code == 0
    (stream,) = json.loads(out)["streams"]
    assert (stream["name"], stream["health"]) == ("demo", "good")


def test_exit_codes(server: Server) -> None:
    assert once(server, "--stream", "nothing")[0] == 1
    code, out, err = once(server, token="wrong")
    assert (code, out) == (1, "")
    assert "403: The token is wrong." in err
    assert run("top", "http://127.0.0.1:1", "--once").code == 1
    assert run("top", "nonsense").code == 2
    ended = run("top", server.url)
    assert ended.code == 1, "no token: waiting mends nothing"
    assert "401" in ended.sentence


def test_it_shows_until_it_is_interrupted(server: Server) -> None:
    def listeners() -> int:
        answer = server.request("GET", "/api/server", authorization=f"Bearer {TOKEN}")
        return int(answer.json["listeners"])

    with command("top", server.url, environment={"PYFORWARD_TOKEN": TOKEN}) as shown:
        wait_for("a listener", lambda: listeners() == 1, 60)
        shown.interrupt()
        ended = shown.ended()
    assert ended.code == 0, ended.err
    assert TOKEN not in ended.out + ended.err
    wait_for("its end", lambda: listeners() == 0)
