"""Webhooks of a running server: what a receiver gets, and what one that hangs can do: nothing."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyforward.webhooks import key_of, sign
from tests.e2e.commands import command
from tests.e2e.peer import joined
from tests.e2e.sdp import video
from tests.e2e.server import running, wait_for
from tests.e2e.watching import watching

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LATER_S = 3
"""More than a first wait would be by itself."""


@dataclass
class Receiver:
    """Keeps what is posted to it."""

    url: str
    got: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)
    failed_at_s: list[float] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]

    def kinds(self, stream: str) -> list[str]:
        return [one["kind"] for one in self.events if one["stream"] == stream]


@contextlib.contextmanager
def receiver(answer: Callable[[Receiver], int]) -> Iterator[Receiver]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = answer(made)
            if status == 200:
                made.got.append((dict(self.headers), body))
            else:
                made.failed_at_s.append(time.monotonic())
            with contextlib.suppress(OSError):
                self.send_response(status)
                if status == 503:
                    self.send_header("Retry-After", str(LATER_S))
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        made = Receiver(f"http://127.0.0.1:{listener.server_port}/events?key=hush")
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            listener.shutdown()
            thread.join()


def well(_: Receiver) -> int:
    return 200


def test_a_life_of_a_stream_is_delivered_and_signed() -> None:
    def first_it_fails(receiver: Receiver) -> int:
        return 503 if len(receiver.failed_at_s) < 2 else 200

    with receiver(first_it_fails) as hook:
        asked = ("--webhooks-urls", hook.url, "--webhooks-secret", SECRET)
        with running(*asked, "--streams-wait-s", "0.5", "--ice-silence-s", "2") as server:
            with command("publish", "test", f"{server.url}/whip/show", "--loop") as publisher:
                wait_for("its start", lambda: hook.kinds("show"), 60)
                viewer = joined(server, "/whep/show", [video("H264")]).connect()
                viewer.wait_for_rtp(3)
                viewer.drop()
                publisher.process.kill()
                wait_for("its end", lambda: "stream_ended" in hook.kinds("show"), 60)
            log = server.log.read_text()
        assert hook.kinds("show") == [
            "stream_started",
            "viewer_joined",
            *(["viewer_left", "publisher_lost"]),
            "stream_ended",
        ]
    for headers, body in hook.got:
        identity, time_s = headers["webhook-id"], int(headers["webhook-timestamp"])
        assert headers["webhook-signature"] == sign(key_of(SECRET), identity, time_s, body)
        assert json.loads(body)["id"] == identity
        assert headers["Content-Type"] == "application/json"
    assert log.count("webhook_failed") == 2
    first_s, second_s = hook.failed_at_s
    assert second_s - first_s >= LATER_S, "it was left alone for as long as it had asked"
    assert "hush" not in log
    assert SECRET not in log


def test_one_that_hangs_harms_nobody_and_not_the_end() -> None:
    free = threading.Event()

    def hang(_: Receiver) -> int:
        free.wait(60)
        return 200

    with receiver(hang) as stuck, receiver(well) as hook:
        asked = ("--webhooks-urls", f"{stuck.url},{hook.url}", "--webhooks-secret", SECRET)
        with running(*asked, command="demo") as server:
            with watching(server) as viewer:
                wait_for("the viewer", lambda: "viewer_joined" in hook.kinds("demo"))
                viewer.more(30)
            waiting = {
                one["target"]: one["waiting"] for one in server.get("/api/server").json["webhooks"]
            }
            assert sorted(waiting.values())[-1] >= 2
            server.stop()
            assert hook.events[-1]["kind"] in ("stream_ended", "viewer_left")
            assert "stream_ended" in hook.kinds("demo"), "the last events still went"
        free.set()
