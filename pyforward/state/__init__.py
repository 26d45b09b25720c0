"""The books: who publishes what, who watches it, and what is due when.

Pure: no I/O, no clock (``now`` is an argument, in seconds of a monotonic clock), no randomness.
Methods that change a book return the commands that make the engine agree with it.
"""

from pyforward.state.books import Books, Timing
from pyforward.state.deadlines import Deadlines
from pyforward.state.names import check_name
from pyforward.state.sessions import DtlsRole, Peer, Phase, Role, Session
from pyforward.state.streams import Stream

__all__ = [
    "Books",
    "Deadlines",
    "DtlsRole",
    "Peer",
    "Phase",
    "Role",
    "Session",
    "Stream",
    "Timing",
    "check_name",
]
