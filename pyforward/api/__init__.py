"""HTTP in: WHIP, WHEP, the API of operators, the page. It decides nothing but what HTTP asks."""

from pyforward.api.app import make_app, make_runner
from pyforward.api.auth import TokenAuthoriser
from pyforward.api.unread import Unread

__all__ = ["TokenAuthoriser", "Unread", "make_app", "make_runner"]
