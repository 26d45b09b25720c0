"""``pyforward top``: the operator's console on a terminal, from the API of any pyforward server."""

from pyforward.top.run import Server, top

__all__ = ["Server", "top"]
