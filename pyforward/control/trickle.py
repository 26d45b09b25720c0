"""PATCH on a session: preconditions (RFC 9725 §4.3.1, RFC 9110 §13.1.1), then trickle (§4.3.2) or
restart (§4.3.3) by a fragment (RFC 8840). Nothing here awaits, and nothing ends a session."""

from __future__ import annotations

import re
from dataclasses import dataclass

import structlog

from pyforward import ice
from pyforward.commands import IceCredentials
from pyforward.control.chronicle import named
from pyforward.control.context import Context, new_credentials
from pyforward.errors import PreconditionFailed, PreconditionRequired, Unprocessable
from pyforward.ids import new_etag
from pyforward.state import Session

_log = structlog.get_logger("pyforward.control")

_ENTITY_TAG = re.compile(r'(W/)?("[^"]*")')


@dataclass(frozen=True, slots=True)
class Patched:
    """The session's entity tag after a PATCH, with its quotes, and what answers a restart; None
    where there is nothing to say."""

    etag: str
    answer: str | None = None


def patch(
    context: Context, session: Session, fragment_untrusted: str, if_match_untrusted: str | None
) -> Patched:
    """Takes a fragment: candidates, or a restart.

    The candidates are of no use here: an ICE-lite server learns where its peer is by the peer's
    authenticated checks (RFC 8445 §2.5). A restart is a changed ufrag or pwd, never If-Match alone.
    """
    check_if_match(if_match_untrusted, session.peer.etag)
    fragment = ice.parse_fragment(fragment_untrusted)
    present = session.peer.ice
    if present is None or not _restarts(fragment, present, session.replaced_ice):
        return Patched(session.peer.etag)
    if fragment.ufrag is None or fragment.pwd is None:
        raise Unprocessable("A restart needs both a=ice-ufrag and a=ice-pwd.")
    ufrag, pwd = new_credentials(context)
    etag = new_etag()
    credentials = IceCredentials(ufrag, pwd, fragment.ufrag, fragment.pwd)
    context.commit(context.books.restart_ice(session.id, credentials, etag))
    _log.info("ice_restarts", **named(session))
    return Patched(etag, ice.answer_fragment(fragment, ufrag, pwd, context.candidates))


def check_if_match(if_match_untrusted: str | None, etag: str) -> None:
    """The client means the present state of the session. ``*`` means whatever state it has: who
    restarts says it (RFC 9725 §4.3.3, whose example has it in quotes), and some players say it with
    every fragment."""
    if if_match_untrusted is None:
        raise PreconditionRequired
    if if_match_untrusted.strip() in ("*", '"*"'):
        return
    # Strong comparison (RFC 9110 §8.8.3.2): a weak tag never matches.
    tags = _ENTITY_TAG.findall(if_match_untrusted)
    if not any(tag == etag and not weak for weak, tag in tags):
        raise PreconditionFailed


def _restarts(
    fragment: ice.Fragment, present: IceCredentials, replaced: IceCredentials | None
) -> bool:
    if _names(fragment, present):
        return False
    # A fragment of the ICE session before this one was overtaken by the restart.
    return replaced is None or not _names(fragment, replaced)


def _names(fragment: ice.Fragment, credentials: IceCredentials) -> bool:
    return fragment.ufrag in (None, credentials.remote_ufrag) and fragment.pwd in (
        None,
        credentials.remote_pwd,
    )
