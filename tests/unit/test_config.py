"""Settings: precedence, origins of errors, contradictions, masks, and the derived texts."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from pyforward.config import Config, load, media_addresses, settings, settings_markdown, to_toml
from pyforward.errors import ConfigError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "pyforward.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(**sources: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(**({"environment": {}} | sources))  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    return str(caught.value)


class TestPrecedence:
    def test_flag_before_environment_before_file_before_default(self, tmp_path: Path) -> None:
        file = written(tmp_path, "[media]\nport = 1\n[log]\nlevel = 'debug'\n[limits]\nviewers = 7")
        loaded = load(
            file=file,
            environment={"PYFORWARD_MEDIA__PORT": "2", "PYFORWARD_LOG__LEVEL": "error"},
            flags={"media.port": "3"},
        )
        config = loaded.config
        assert (config.media.port, config.log.level, config.limits.viewers) == (3, "error", 7)
        assert config.limits.streams == Config().limits.streams
        assert loaded.origins == {
            "media.port": "--media-port",
            "log.level": "PYFORWARD_LOG__LEVEL",
            "limits.viewers": f"{file}:6",
        }

    def test_every_setting_is_read_from_every_source(self, tmp_path: Path) -> None:
        defaults = Config()
        by_variable = {s.variable: text_of(defaults, s.section, s.key) for s in settings()}
        by_flag = {s.name: text_of(defaults, s.section, s.key) for s in settings()}
        assert load(environment=by_variable).config == defaults
        assert load(environment={}, flags=by_flag).config == defaults
        file = written(tmp_path, to_toml(defaults, {}))
        assert load(file=file, environment={}).config == defaults

    def test_a_stream_that_is_declared_twice_is_one_stream(self) -> None:
        flags = {"streams.declared": "stage,lobby,stage"}
        assert load(environment={}, flags=flags).config.streams.declared == ("stage", "lobby")

    def test_lists_and_switches_in_text(self) -> None:
        config = load(
            environment={
                "PYFORWARD_MEDIA__BIND": "10.0.0.1, ::1",
                "PYFORWARD_ENGINE__GSO": "false",
                "PYFORWARD_STREAMS__DECLARED": "a,b",
                "PYFORWARD_ENGINE__CORES": "2, 3",
            }
        ).config
        assert config.media.bind == ("10.0.0.1", "::1")
        assert not config.engine.gso
        assert config.streams.declared == ("a", "b")
        assert config.engine.cores == (2, 3)

    def test_numbers_of_a_list_come_back_from_what_is_printed(self, tmp_path: Path) -> None:
        pinned = load(environment={}, flags={"engine.cores": "2,3"})
        file = written(tmp_path, to_toml(pinned.config, pinned.origins))
        assert load(file=file, environment={}).config == pinned.config


def text_of(config: Config, section: str, key: str) -> str:
    value = getattr(getattr(config, section), key)
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    return ",".join(value) if isinstance(value, tuple) else str(value)


class TestErrorsNameTheirOrigin:
    def test_unknown_key_with_line_and_suggestion(self, tmp_path: Path) -> None:
        file = written(tmp_path, "[http]\n# comment\nbnd = 'x'\n")
        assert refused(file=file) == (
            f"{file}:3: http.bnd is not a setting; did you mean http.bind?"
        )

    def test_unknown_section_and_key_outside_a_section(self, tmp_path: Path) -> None:
        file = written(tmp_path, "port = 5\n\n[medai]\nport = 1\n")
        text = refused(file=file)
        assert f"{file}:1: port is not a setting; did you mean media.port?" in text
        assert f"{file}:3: [medai] is not a section; did you mean [media]?" in text

    def test_wrong_value_with_line_limit_and_meaning(self, tmp_path: Path) -> None:
        file = written(tmp_path, "[log]\nlevel = 'info'\n\n[media]\nport = 70000\n")
        text = refused(file=file)
        assert text.startswith(f"{file}:5: media.port = 70000: ")
        assert "65535" in text
        assert "UDP port of all media" in text

    def test_dotted_and_inline_keys_have_lines(self, tmp_path: Path) -> None:
        file = written(tmp_path, "\nmedia.port = -1\nlog = { level = 'loud' }\n")
        text = refused(file=file)
        assert f"{file}:2: media.port = -1" in text
        assert f"{file}:3: log.level = 'loud'" in text

    @pytest.mark.parametrize(
        ("text", "line", "name"),
        [
            ("\n[[medai]]\nport = 1\n", 2, "medai"),
            ("\n[[media]]\nport = 1\n", 2, "media"),
            ("\n[medai.port]\nlow = 1\n", 2, "medai"),
            ("[media]\n\n[media.port]\nlow = 1\n", 3, "media.port"),
            ("[media]\n\nport.low = 1\n", 3, "media.port"),
            ("[media]\n\nprot.low = 1\n", 3, "media.prot"),
            ('[ "media" ]\n\n"port" = "x"\n', 3, "media.port"),
        ],
    )
    def test_tables_where_none_belong_have_lines(
        self, text: str, line: int, name: str, tmp_path: Path
    ) -> None:
        file = written(tmp_path, text)
        told = refused(file=file)
        assert told.startswith(f"{file}:{line}: ")
        assert name in told

    @pytest.mark.parametrize(
        "url",
        ["http://h:99999/", "http://a..b/x", f"http://{'a' * 70}/", "http://ex ample/", "ftp://h/"],
    )
    def test_an_address_that_cannot_be_one_is_refused_at_once(self, url: str) -> None:
        assert "https://host/path" in refused(flags={"webhooks.urls": url})

    def test_broken_toml_with_line(self, tmp_path: Path) -> None:
        file = written(tmp_path, "[http]\nbind = \n")
        assert refused(file=file).startswith(f"{file}:2: ")

    def test_missing_file(self, tmp_path: Path) -> None:
        assert "No such file" in refused(file=tmp_path / "none.toml")

    def test_variable_and_flag_are_named(self) -> None:
        assert refused(environment={"PYFORWARD_MEDIA__PORT": "x"}).startswith(
            "PYFORWARD_MEDIA__PORT: media.port = 'x': "
        )
        assert refused(flags={"engine.shards": "-1"}).startswith(
            "--engine-shards: engine.shards = '-1': "
        )

    def test_unknown_and_misspelt_variables(self) -> None:
        assert "did you mean PYFORWARD_HTTP__BIND?" in refused(
            environment={"PYFORWARD_HTTP__BNID": "x"}
        )
        assert "write PYFORWARD_MEDIA__PORT" in refused(environment={"PYFORWARD_MEDIA_PORT": "1"})

    def test_foreign_variables_are_left_alone(self) -> None:
        foreign = {"PYFORWARD_PURE": "1", "PYFORWARD_MEDIA_PORT": "udp://10.0.0.1:8189"}
        assert load(environment=foreign).config == Config()

    def test_every_problem_is_told_at_once(self) -> None:
        text = refused(environment={"PYFORWARD_MEDIA__PORT": "x", "PYFORWARD_DTLS__THREADS": "0"})
        assert len(text.splitlines()) == 2

    @pytest.mark.parametrize(
        "bind",
        ["8080", "localhost", "::1:8080", "example.org:80", "127.0.0.1:70000", ":80", "[::1]"],
    )
    def test_binds_that_are_none(self, bind: str) -> None:
        assert "http.bind" in refused(flags={"http.bind": bind})

    def test_true_is_no_port(self, tmp_path: Path) -> None:
        assert "media.port" in refused(file=written(tmp_path, "[media]\nport = true\n"))

    @pytest.mark.parametrize("cores", ["-1", "1024", "0-3", "0,x", "0.5"])
    def test_cores_that_are_none(self, cores: str) -> None:
        assert refused(flags={"engine.cores": cores}).startswith(
            f"--engine-cores: engine.cores = {cores!r}: "
        )

    def test_true_is_no_core(self, tmp_path: Path) -> None:
        assert "engine.cores" in refused(file=written(tmp_path, "[engine]\ncores = [true]\n"))


class TestContradictions:
    def test_open_beyond_loopback_is_refused_and_says_the_ways_out(self) -> None:
        text = refused(flags={"http.bind": "0.0.0.0:8080"})
        assert text.startswith("--http-bind: http.bind: ")
        assert "PYFORWARD_AUTH__PUBLISH_TOKEN" in text
        assert "http.allow_open" in text

    @pytest.mark.parametrize("way", [{"auth.publish_token": "t"}, {"http.allow_open": "true"}])
    def test_each_way_out_works(self, way: dict[str, str]) -> None:
        load(environment={}, flags={"http.bind": "[::]:8080"} | way)

    def test_advertising_what_loopback_cannot_hold(self) -> None:
        assert "media.bind" in refused(flags={"media.advertise": "203.0.113.1"})

    @pytest.mark.parametrize("name", ["http.tls_cert", "http.tls_key", "dtls.cert_file"])
    def test_half_a_certificate(self, name: str) -> None:
        assert f"{name}: a certificate and its key" in refused(flags={name: "x.pem"})


class TestDefaults:
    def test_every_technique_is_on(self) -> None:
        """So that whoever plays what a server sends as it comes plays it with every switch on."""
        engine = Config().engine
        switches = {name: value for name, value in engine if isinstance(value, bool)}
        assert switches == dict.fromkeys(switches, True)
        assert len(switches) >= 4
        assert engine.frame_window_ms > 0
        assert engine.pace_mbps > 0


class TestDerived:
    def test_media_follows_http_onto_loopback(self) -> None:
        def bound(**flags: str) -> tuple[str, ...]:
            named = {name.replace("__", "."): text for name, text in flags.items()}
            return media_addresses(load(environment={}, flags=named).config)

        assert bound() == ("127.0.0.1", "::1")
        assert bound(http__bind="localhost:0") == ("127.0.0.1", "::1")
        assert bound(http__bind="0.0.0.0:0", auth__publish_token="t") == ()
        assert bound(media__bind="192.0.2.1") == ("192.0.2.1",)

    def test_secrets_are_masked_everywhere(self) -> None:
        loaded = load(environment={}, flags={"auth.publish_token": "hush-hush"})
        shown = to_toml(loaded.config, loaded.origins)
        assert tomllib.loads(shown)["auth"] == {
            "publish_token": "********",
            "view_token": "",
            "admin_token": "",
        }
        assert "hush" not in shown + repr(loaded)
        assert "hush" not in refused(flags={"auth.publish_token": "hush hush"})

    def test_the_mask_is_no_token(self) -> None:
        assert "mask" in refused(flags={"auth.view_token": "********"})

    def test_printed_configuration_tells_origins_and_reads_back(self, tmp_path: Path) -> None:
        flags = {"streams.declared": "a,b", "http.public_url": "https://example.org"}
        loaded = load(environment={}, flags=flags)
        shown = to_toml(loaded.config, loaded.origins)
        assert 'declared = ["a", "b"]  # --streams-declared' in shown
        assert load(file=written(tmp_path, shown), environment={}).config == loaded.config

    def test_every_setting_says_what_it_means(self) -> None:
        assert len(settings()) == sum(len(dict(section)) for _, section in Config())
        for setting in settings():
            assert setting.meaning.endswith("."), setting.name
            assert f"| `{setting.key}` |" in settings_markdown()
