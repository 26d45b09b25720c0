"""What peers there are, and those of somebody's own."""

from __future__ import annotations

import sys

import pytest

from pyforward.errors import ConfigError, RunError
from pyforward_bench.rig.peers.table import TABLE, endpoints_of, given


def test_each_is_there_once() -> None:
    assert [peer.name for peer in TABLE] == ["baseline", "aiortc", "janus"]


def test_ones_own_is_a_name_and_a_program() -> None:
    peer = given(f"mine={sys.executable} server.py '--at={{host}} now' --x=y")
    assert peer.name == "mine"
    assert peer.what.endswith("server.py '--at={host} now' --x=y")
    assert peer.missing() is None


def test_ones_own_that_is_not_there_says_so() -> None:
    assert given("mine=/nowhere/server").missing() == "there is no program /nowhere/server"


@pytest.mark.parametrize("text", ["", "mine", "mine=", "=server", "mine='server"])
def test_what_names_no_program_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="--peer"):
        given(text)


def test_a_program_says_its_endpoints_in_its_first_line() -> None:
    said = '{"whip": "http://a/whip", "whep": "http://a/whep", "more": 1}\nand on it goes\n'
    assert endpoints_of(said, "mine") == {"whip": "http://a/whip", "whep": "http://a/whep"}


@pytest.mark.parametrize("said", ["hello\n", "[]\n", '"whip"\n', '{"whip": "http://a"}\n', "\n"])
def test_a_program_that_says_something_else_is_told(said: str) -> None:
    with pytest.raises(RunError, match="mine did not say"):
        endpoints_of(said, "mine")
