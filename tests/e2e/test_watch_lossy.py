"""``pyforward watch`` over a link that loses packets: what is repaired, and what it says."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.conftest import MISSING_TOOL
from tests.e2e.commands import command
from tests.e2e.namespace import link
from tests.e2e.server import running, wait_for

# Media packets meet the dice, each on its own; checks, handshakes and most reports are shorter.
RULES = """
table inet lossy {
  chain input {
    type filter hook input priority 0;
    meta l4proto udp udp length > 400 @ih,0,1 1 numgen random mod 100 < 5 drop
  }
}
"""


@pytest.mark.namespaces
def test_what_is_lost_is_asked_for_again() -> None:
    if shutil.which("nft") is None:
        pytest.skip(f"{MISSING_TOOL}nft")
    with link(7) as there:
        inside = ("ip", "netns", "exec", there.name)
        # Trains are cut before they are carried over, so that single packets are lost.
        subprocess.run(["ip", "link", "set", there.device, "gso_max_segs", "1"], check=True)
        subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
        made = subprocess.run(
            [*inside, "nft", "-f", "-"], input=RULES, capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            pytest.skip(f"{MISSING_TOOL}nftables that may be used: {made.stderr.strip()}")
        path = "/api/streams/demo/viewers"
        arguments = (
            "--http-allow-open",
            "--auth-admin-token=operator",
            f"--media-bind={there.near}",
        )
        with running(*arguments, command="demo", http=f"{there.near}:0") as server:
            url = f"{server.url}/whep/demo"
            with command("watch", url, "--count=3", "--json", within=inside) as watching:

                def sent() -> bool:
                    asked = server.request("GET", path, authorization="Bearer operator")
                    return sum(int(viewer["packets"]) for viewer in asked.json["items"]) > 3_000

                # Not until so much was sent again: on a lossy way some of that is unasked.
                wait_for("enough to lose some", sent, 60)
                watching.interrupt()
                ended = watching.ended()
    assert ended.code == 0, ended.err
    (video,) = [track for track in ended.figures["tracks"] if track["kind"] == "video"]
    assert video["packets_repaired"] > 20
    # What was asked for last may still have been on its way.
    assert video["packets_lost"] < video["packets_repaired"]
    assert video["packets_received"] + video["packets_lost"] <= video["packets_expected"] + 5
    assert video["keyframes"] > 0
