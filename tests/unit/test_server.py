"""The composition root, as far as it can be judged without a process; e2e runs the process."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization

from pyforward import server
from pyforward.api.app import STOP_PATIENCE_S
from pyforward.config import Config
from pyforward.control.control import STOP_TIME_LIMIT_S
from pyforward.dtls import Certificate
from pyforward.errors import ConfigError, HostError, RunError


def test_what_a_stop_may_wait_for_fits_into_the_time_it_has() -> None:
    # First control says its farewells, then HTTP waits for requests to end, and to be cancelled.
    assert STOP_TIME_LIMIT_S + 2 * STOP_PATIENCE_S < server.STOP_LIMIT_S < 2.0


def test_the_ready_file_appears_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    with server._announced(ready, "http://127.0.0.1:1", (("127.0.0.1", 2),)):
        assert json.loads(ready.read_text())["media"] == [{"address": "127.0.0.1", "port": 2}]
        assert list(tmp_path.iterdir()) == [ready]
    assert list(tmp_path.iterdir()) == []


def test_a_ready_file_that_cannot_be_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with (
        pytest.raises(HostError, match="Is a directory"),
        server._announced(folder, "http://127.0.0.1:1", ()),
    ):
        pass
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("error", [ValueError("a bug"), None])
async def test_a_server_that_hears_no_more_events_has_failed(error: Exception | None) -> None:
    async def events() -> None:
        if error is not None:
            raise error

    with pytest.raises(RunError, match="a bug" if error else "no error") as failed:
        await server._until(asyncio.Event(), asyncio.create_task(events()))
    assert failed.value.exit_code == 1


async def test_who_is_told_to_stop_has_not_failed() -> None:
    stop = asyncio.Event()
    stop.set()
    events = asyncio.create_task(asyncio.Event().wait())
    await server._until(stop, events)  # type: ignore[arg-type]
    events.cancel()


async def test_every_address_means_both_families() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no sockets for both families")
    config = Config.model_validate({"http": {"bind": "[::]:0", "allow_open": True}})
    runner = web.AppRunner(web.Application())
    await runner.setup()
    try:
        url = await server._listen(config, runner, None)
        assert url.startswith("http://[::1]:")
        port = int(url.rpartition(":")[2])
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), timeout=5).close()
        taken = Config.model_validate({"http": {"bind": f"[::]:{port}", "allow_open": True}})
        with pytest.raises(HostError, match="port is in use"):
            await server._listen(taken, runner, None)
    finally:
        await runner.cleanup()


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    made = Certificate.generate()
    pem, traditional = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(made.certificate.public_bytes(pem))
    paths = {"http": {"tls_cert": str(certificate), "tls_key": str(key)}}
    key.write_bytes(made.key.private_bytes(pem, traditional, serialization.NoEncryption()))
    assert server._tls(Config.model_validate(paths)) is not None
    locked = serialization.BestAvailableEncryption(b"secret")
    key.write_bytes(made.key.private_bytes(pem, traditional, locked))
    with pytest.raises(ConfigError, match="unencrypted PEM key"):
        server._tls(Config.model_validate(paths))
