"""Where IPv6 sockets are for IPv6 alone, a shard has two sockets on the one port.

Linux lets any socket serve both families, so that a library in front of libc refuses it here.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import MISSING_TOOL
from tests.e2e.peer import joined
from tests.e2e.sdp import audio, video
from tests.e2e.server import running

REFUSING = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

int setsockopt(int fd, int level, int name, const void *value, socklen_t len) {
    if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY && *(const int *)value == 0) {
        errno = EINVAL;
        return -1;
    }
    int (*next)(int, int, int, const void *, socklen_t) = dlsym(RTLD_NEXT, "setsockopt");
    return next(fd, level, name, value, len);
}
"""


@pytest.fixture
def refusing(tmp_path: Path) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip(f"{MISSING_TOOL}C compiler")
    source, library = tmp_path / "refusing.c", tmp_path / "refusing.so"
    source.write_text(REFUSING)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def test_both_families_are_served_by_two_sockets(refusing: Path) -> None:
    within = ("env", f"LD_PRELOAD={refusing}")
    everywhere = ("--http-allow-open", "--engine-shards=2")
    with running(*everywhere, command="demo", within=within, http="0.0.0.0:0") as server:
        (_, port), *_ = server.media
        assert list(server.media) == [("::", port), ("0.0.0.0", port)]
        tracks = [audio(), video("H264")]
        for address in ("127.0.0.1", "::1"):
            # From several ports, so that each shard hears of some.
            viewers = [
                joined(server, "/whep/demo", tracks, address=(address, port)) for _ in range(4)
            ]
            for viewer in viewers:
                viewer.connect()
                viewer.wait_for_rtp(3)
            for viewer in viewers:
                viewer.drop()
