"""What is secret stays out of the text of things, because that is what ends up in a log."""

from __future__ import annotations

import pytest

from pyforward import dtls
from pyforward.commands import IceCredentials, InstallKeys, SrtpProfile
from pyforward.control import Accepted, AccessRequest
from pyforward.ids import SessionId
from pyforward.state import Peer

SESSION = SessionId(1)
KEYS = (b"hunter2" * 2, b"hunter2", b"hunter2" * 2, b"hunter2")
PROFILE: SrtpProfile = "SRTP_AEAD_AES_128_GCM"
ICE = IceCredentials("ours", "hunter2", "theirs", "hunter2")


@pytest.mark.parametrize(
    "holder",
    [
        dtls.Keys(PROFILE, *KEYS),
        InstallKeys(SESSION, PROFILE, *KEYS),
        ICE,
        Peer(SESSION, "hunter2", '"etag"', ICE),
        AccessRequest("publish", "show", "hunter2", None),
        Accepted(SESSION, "hunter2", '"etag"', "v=0"),
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_no_secret_is_shown(holder: object) -> None:
    assert "hunter2" not in repr(holder)
