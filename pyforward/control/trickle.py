"""PATCH on a session: preconditions (RFC 9725 §4.3.1, RFC 9110 §13.1.1), fragments (RFC 8840)."""

from __future__ import annotations

import re

from pyforward import ice
from pyforward.errors import PreconditionFailed, PreconditionRequired, Unprocessable
from pyforward.state import Session

_ENTITY_TAG = re.compile(r'(W/)?("[^"]*")')


def check_if_match(if_match_untrusted: str | None, etag: str) -> None:
    """The client means the present state of the session. ``*`` means whatever state it has, which
    some players send with every fragment. Nothing ends because of a failure here."""
    if if_match_untrusted is None:
        raise PreconditionRequired
    if if_match_untrusted.strip() == "*":
        return
    # Strong comparison (RFC 9110 §8.8.3.2): a weak tag never matches.
    tags = _ENTITY_TAG.findall(if_match_untrusted)
    if not any(tag == etag and not weak for weak, tag in tags):
        raise PreconditionFailed


def check_fragment(fragment_untrusted: str, session: Session) -> None:
    """The fragment can be read and adds candidates to the present ICE session.

    The candidates are of no use here: an ICE-lite server learns where its peer is by the peer's
    authenticated checks (RFC 8445 §2.5). A restart is a changed ufrag or pwd, never If-Match alone.
    """
    fragment = ice.parse_fragment(fragment_untrusted)
    credentials = session.peer.ice
    if credentials is None:
        return
    if fragment.ufrag not in (None, credentials.remote_ufrag) or fragment.pwd not in (
        None,
        credentials.remote_pwd,
    ):
        raise Unprocessable(
            "ICE restarts are not done here yet: this ufrag or pwd is not the one of the offer. "
            "Delete the session and post a new offer."
        )
