"""HTTP in: WHIP, WHEP, the API of operators, the page. It decides nothing but what HTTP asks."""

from pyforward.api.app import make_app, make_runner
from pyforward.api.auth import TokenAuthoriser

__all__ = ["TokenAuthoriser", "make_app", "make_runner"]
