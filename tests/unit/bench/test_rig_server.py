"""The server's flags, and what is read out of its metrics."""

from __future__ import annotations

import sys

import pytest

from pyforward.errors import ConfigError
from pyforward_bench.rig import launch
from pyforward_bench.rig.child import last_words
from pyforward_bench.rig.server import Serving, change, total, train_lengths

METRICS = {
    'pyforward_packets_total{direction="in",transmission="first"}': 100.0,
    'pyforward_packets_total{direction="out",transmission="first"}': 9_000.0,
    'pyforward_packets_total{direction="out",transmission="retransmission"}': 7.0,
    'pyforward_train_packets_bucket{le="1.0"}': 10.0,
    'pyforward_train_packets_bucket{le="2.0"}': 10.0,
    'pyforward_train_packets_bucket{le="8.0"}': 40.0,
    'pyforward_train_packets_bucket{le="16.0"}': 100.0,
    'pyforward_train_packets_bucket{le="+Inf"}': 101.0,
    "pyforward_sessions": 3.0,
}


def test_settings_become_flags() -> None:
    serving = Serving((("engine.gso", "false"), ("ice.silence_s", "600")))
    assert serving.arguments() == ["--engine-gso=false", "--ice-silence-s=600"]


def test_a_setting_that_does_not_exist_is_told() -> None:
    with pytest.raises(ConfigError, match=r"no setting engine\.warp"):
        Serving((("engine.warp", "9"),)).arguments()


def test_samples_are_summed_by_their_labels() -> None:
    assert total(METRICS, "pyforward_packets_total") == 9_107
    assert total(METRICS, "pyforward_packets_total", 'direction="out"') == 9_007
    assert total(METRICS, "pyforward_sessions") == 3
    assert total(METRICS, "pyforward_none") == 0


def test_what_appeared_counts_from_zero() -> None:
    assert change({"a": 1.0}, {"a": 3.0, "b": 2.0}) == {"a": 2.0, "b": 2.0}


def test_trains_by_the_bounds_of_their_lengths() -> None:
    assert train_lengths(METRICS) == {1: 10, 8: 30, 16: 60}


def test_a_program_is_begun_by_a_file_that_imports_nothing() -> None:
    words = launch.words(["true", "--flag"], netns=7, cores=(0, 1))
    assert words[:3] == [sys.executable, "-I", "-S"]
    assert words[-3:] == ["--", "true", "--flag"]
    assert "--netns" in words
    assert words[words.index("--cores") + 1] == "0,1"
    assert not {"--netns", "--fresh"} & set(launch.words(["true"]))
    words = launch.words(["true"], fresh="user-net")
    assert words[words.index("--fresh") + 1] == "user-net"


@pytest.mark.parametrize(
    ("said", "quoted"),
    [
        ("", "it said nothing"),
        ("pyforward: HTTP on 0:1: the port is in use.\n", "HTTP on 0:1: the port is in use"),
        ("Traceback …\npyforward-bench: unshare: no space\n\n", "unshare: no space"),
        ("RuntimeError: pyforward: no", "RuntimeError: pyforward: no"),
    ],
)
def test_the_last_words_of_a_program_fit_into_a_sentence(said: str, quoted: str) -> None:
    assert last_words(said) == quoted
